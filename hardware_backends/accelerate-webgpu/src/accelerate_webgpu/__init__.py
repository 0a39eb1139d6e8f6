# SPDX-License-Identifier: Apache-2.0
"""WebGPU in real browsers: the backend `webgpu` and its engine `ort`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs
from accelerate_browser.backend import BrowserBackend
from accelerate_browser.hookspecs.engine import EngineModule
from accelerate_browser.settings import BrowserSettings
from accelerate_browser.traits import Traits, check_format

from accelerate_core.errors import Unsupported
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Backend, Context
from accelerate_core.types import LoadOptions, ModelSpec, WorkerInfo

__all__ = ["OrtWebGpuEnginePlugin", "OrtWebGpuSettings", "WebGpuPlugin", "check_load"]


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
    """Refuse fp16 models where the adapter has no 16-bit floats in shaders."""
    check_format(spec, options, info)
    if spec.precision == "fp16" and "shader-f16" not in info.features:
        adapter = info.adapter
        named = " ".join(filter(None, (adapter.vendor, adapter.architecture))) if adapter else ""
        raise Unsupported(
            f"the adapter {named or 'of this browser'} has no shader-f16, which fp16 models need",
            where=f"model {spec.name} on {info.target}",
            hint="Use precision fp32 here, or another browser or GPU.",
        )


@attrs.frozen(kw_only=True)
class OrtWebGpuSettings:
    """Configure onnxruntime-web on WebGPU."""

    #: Poll the queue while a readback waits, without which Firefox answers every 100 ms only.
    #: "auto": in Firefox.
    readback_poll: bool | Literal["auto"] = "auto"
    #: Which adapter to ask for where there are several. Unset: as the browser likes.
    power_preference: Literal["high-performance", "low-power"] | None = None


class OrtWebGpuEnginePlugin:
    """Offer onnxruntime-web to the backend `webgpu`."""

    name = "ort-webgpu"
    settings = OrtWebGpuSettings

    @hookimpl
    def engine_create(self, settings: OrtWebGpuSettings | None, ctx: Context) -> EngineModule:
        """Return the engine's files."""
        return EngineModule(
            name=self.name,
            folder=Path(__file__).parent / "static",
            needs_gpu=True,
            options=attrs.asdict(settings or OrtWebGpuSettings()),
        )
