# SPDX-License-Identifier: Apache-2.0
"""The engine `ort-wasm`: onnxruntime-web on WebAssembly."""

from __future__ import annotations

from pathlib import Path

import attrs

from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Context

from .hookspecs.engine import EngineModule


@attrs.frozen(kw_only=True)
class OrtWasmSettings:
    """Configure onnxruntime-web on WebAssembly."""

    #: Threads that share one run. Unset: chosen in the page by a short measurement.
    threads: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(1))
    )


class OrtWasmPlugin:
    """Offer onnxruntime-web to the backend `wasm`."""

    name = "ort-wasm"
    settings = OrtWasmSettings

    @hookimpl
    def engine_create(self, settings: OrtWasmSettings | None, ctx: Context) -> EngineModule:
        """Return the engine's files."""
        return EngineModule(
            name=self.name,
            folder=Path(__file__).parent / "static" / self.name,
            options=attrs.asdict(settings or OrtWasmSettings()),
        )
