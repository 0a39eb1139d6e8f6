# SPDX-License-Identifier: Apache-2.0
"""The engines `plan` and `auto`: models compiled to plans on the host and replayed in the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs
from accelerate_browser.hookspecs.engine import EngineModule, Prepared
from accelerate_browser.traits import check_format

from accelerate_core import __version__
from accelerate_core.errors import Unsupported
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Context
from accelerate_core.types import ModelSpec, WorkerInfo

from .settings import WebGpuEngineSettings

FORMATS = ("onnx", "plan")


@attrs.frozen(kw_only=True)
class PlanSettings(WebGpuEngineSettings):
    """Configure the engines that replay plans."""

    #: A plan is for fixed sizes. How many sizes of one model stay loaded in a page.
    keep_sizes: int = attrs.field(default=4, validator=attrs.validators.ge(1))


class PlanWebGpuEnginePlugin:
    """Offer our own WGSL kernels to the backend `webgpu`."""

    name = "plan-webgpu"
    settings = PlanSettings

    @hookimpl
    def engine_create(self, settings: PlanSettings | None, ctx: Context) -> EngineModule:
        """Return the engine's files."""
        return attrs.evolve(_module(self.name, settings), formats=("plan",), prepare=compile_plan)


class AutoWebGpuEnginePlugin:
    """Offer our own kernels where they cover a model, and onnxruntime-web where they do not."""

    name = "auto-webgpu"
    settings = PlanSettings

    @hookimpl
    def engine_create(self, settings: PlanSettings | None, ctx: Context) -> EngineModule:
        """Return the engine's files."""
        return attrs.evolve(_module(self.name, settings), formats=FORMATS, prepare=compile_or_pass)


def compile_plan(
    spec: ModelSpec, sizes: Mapping[str, int], info: WorkerInfo, ctx: Context
) -> Prepared:
    """Compile an ONNX model for a page's adapter; a plan stays as it is.

    Unsupported names the operator that no kernel does.
    """
    check_format(spec, FORMATS, info.target)
    if spec.format == "plan":
        return Prepared(spec)
    from accelerate_plan.devices import device_of
    from accelerate_plan.planning import plan_for

    return Prepared(plan_for(spec, sizes, device_of(info), ctx))


def compile_or_pass(
    spec: ModelSpec, sizes: Mapping[str, int], info: WorkerInfo, ctx: Context
) -> Prepared:
    """Compile an ONNX model, or leave it to onnxruntime-web where the kernels do not cover it."""
    try:
        return compile_plan(spec, sizes, info, ctx)
    except Unsupported as error:
        if spec.format not in FORMATS:
            raise
        ctx.log.warning("%s runs on onnxruntime-web: %s", spec.name, error.info.message)
        return Prepared(spec, {"not_plan_because": error.info.message})


def _module(name: str, settings: PlanSettings | None) -> EngineModule:
    chosen = settings or PlanSettings()
    return EngineModule(
        name=name,
        folder=Path(__file__).parent / "static",
        entry=f"{name.partition('-')[0]}.js",
        needs_gpu=True,
        keep_sizes=chosen.keep_sizes,
        options={**attrs.asdict(chosen), "version": __version__},
    )
