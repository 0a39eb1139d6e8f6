# SPDX-License-Identifier: Apache-2.0
"""WebNN in real browsers: the backend `webnn` and its engine `ort`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs
from accelerate_browser.backend import BrowserBackend
from accelerate_browser.hookspecs.engine import EngineModule
from accelerate_browser.settings import BrowserSettings
from accelerate_browser.traits import Traits

from accelerate_core.errors import ModelError
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Backend, Context
from accelerate_core.types import LoadOptions, ModelSpec, WorkerInfo

__all__ = ["OrtWebNnEnginePlugin", "OrtWebNnSettings", "WebNnPlugin", "check_load"]

_LACKING = {
    "firefox": "Firefox has no WebNN",
    "safari": "Safari has no WebNN",
    "webkitgtk": "WebKitGTK has no WebNN",
}

_REMEDY = (
    "A browser that computes WebNN on the CPU: accel browsers install chromium-headless-shell, "
    "then webnn:chromium-headless-shell."
)


class WebNnPlugin:
    """Offer the backend `webnn`: the neural network API of a browser."""

    name = "webnn"
    settings = BrowserSettings

    @hookimpl
    def backend_create(self, settings: BrowserSettings | None, ctx: Context) -> Backend:
        """Return the backend; starts no browser."""
        traits = Traits(
            name=self.name,
            lacking=_LACKING,
            remedy=_REMEDY,
            needs_static_shapes=True,
            check_load=check_load,
        )
        return BrowserBackend(traits, settings or BrowserSettings(), ctx)


def check_load(spec: ModelSpec, options: LoadOptions, info: WorkerInfo) -> None:
    """Refuse free dimensions: with them onnxruntime-web would run on WebAssembly, silently."""
    free = {size for tensor in spec.inputs for size in tensor.shape if isinstance(size, str)}
    missing = sorted(free - set(options.dimensions))
    if missing:
        raise ModelError(
            f"WebNN needs static shapes, and no size is given for {', '.join(missing)}",
            where=f"model {spec.name} on {info.target}",
            accepted=sorted(free),
            hint="Give each free dimension a size in LoadOptions.dimensions.",
        )


@attrs.frozen(kw_only=True)
class OrtWebNnSettings:
    """Configure onnxruntime-web on WebNN."""

    #: Kinds of device to ask for, best first; one that computes elsewhere is passed over while
    #: another does not. Unset: npu, gpu, cpu. What really ran is recorded as the device type.
    device_types: tuple[Literal["cpu", "gpu", "npu"], ...] | None = None
    #: What to favour where there are several devices. Unset: as the browser likes.
    power_preference: Literal["high-performance", "low-power"] | None = None
    #: Let operators that WebNN lacks run on WebAssembly. Otherwise such a model is refused.
    allow_partial: bool = False


class OrtWebNnEnginePlugin:
    """Offer onnxruntime-web to the backend `webnn`."""

    name = "ort-webnn"
    settings = OrtWebNnSettings

    @hookimpl
    def engine_create(self, settings: OrtWebNnSettings | None, ctx: Context) -> EngineModule:
        """Return the engine's files."""
        return EngineModule(
            name=self.name,
            folder=Path(__file__).parent / "static",
            options=attrs.asdict(settings or OrtWebNnSettings()),
        )
