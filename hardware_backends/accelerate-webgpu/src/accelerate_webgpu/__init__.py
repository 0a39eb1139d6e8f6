# SPDX-License-Identifier: Apache-2.0
"""WebGPU in real browsers: the backend `webgpu` and its engine `ort`.

The engines `plan` and `auto` are in `plan.py`.
"""

from __future__ import annotations

from pathlib import Path

import attrs
from accelerate_browser.backend import BrowserBackend
from accelerate_browser.hookspecs.engine import EngineModule
from accelerate_browser.settings import BrowserSettings
from accelerate_browser.traits import Traits

from accelerate_core.errors import Unsupported
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Backend, Context
from accelerate_core.types import LoadOptions, ModelSpec, WorkerInfo

from .settings import WebGpuEngineSettings

__all__ = ["OrtWebGpuEnginePlugin", "WebGpuPlugin", "check_load"]


class WebGpuPlugin:
    """Offer the backend `webgpu`: the GPU as a browser gives it to a page."""

    name = "webgpu"
    settings = BrowserSettings

    @hookimpl
    def backend_create(self, settings: BrowserSettings | None, ctx: Context) -> Backend:
        """Return the backend; starts no browser."""
        traits = Traits(
            name=self.name,
            lacking={"webkitgtk": "WebKitGTK has no WebGPU"},
            remedy="The browser says why on its page chrome://gpu (about:support in Firefox); "
            "without a GPU set software = true in the launcher's settings.",
            check_load=check_load,
        )
        return BrowserBackend(traits, settings or BrowserSettings(), ctx)


def check_load(spec: ModelSpec, options: LoadOptions, info: WorkerInfo) -> None:
    """Refuse fp16 models where the adapter has no 16-bit floats in shaders; plans need none."""
    needs_f16 = spec.precision == "fp16" and spec.format != "plan"
    if needs_f16 and "shader-f16" not in info.features:
        adapter = info.adapter
        named = " ".join(filter(None, (adapter.vendor, adapter.architecture))) if adapter else ""
        raise Unsupported(
            f"the adapter {named or 'of this browser'} has no shader-f16, which fp16 models need",
            where=f"model {spec.name} on {info.target}",
            hint="Use precision fp32 here, or another browser or GPU.",
        )


class OrtWebGpuEnginePlugin:
    """Offer onnxruntime-web to the backend `webgpu`."""

    name = "ort-webgpu"
    settings = WebGpuEngineSettings

    @hookimpl
    def engine_create(self, settings: WebGpuEngineSettings | None, ctx: Context) -> EngineModule:
        """Return the engine's files."""
        return EngineModule(
            name=self.name,
            folder=Path(__file__).parent / "static",
            needs_gpu=True,
            options=attrs.asdict(settings or WebGpuEngineSettings()),
        )
