# SPDX-License-Identifier: Apache-2.0
"""The one implementation behind `file:`, `dir:` and `package:`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs

from accelerate_core.errors import ModelError
from accelerate_core.protocols import Context, ModelSource, Processor
from accelerate_core.types import PRECISIONS, ModelSpec, ProcessorSpec

from .cache import AssetBatch, Index
from .files import SourceFiles
from .wanted import Wanted, split_part


class Source(ModelSource):
    """Resolve references to specs, from the cache where nothing changed. Thread-safe."""

    def __init__(self, ctx: Context, locate: Callable[[str], Path]) -> None:
        self._ctx = ctx
        self._locate = locate
        self._index = Index(ctx.cache_dir / "models", ctx.assets)

    def resolve(self, reference: str, *, name: str, precision: str = "fp32") -> ModelSpec:
        """Return the model, its assets in the store; ModelError when it is not usable."""
        if precision not in PRECISIONS:
            raise ModelError(f"{precision!r} is not a precision", accepted=PRECISIONS)
        place, part = split_part(reference.partition(":")[2])
        wanted = Wanted(self._locate(place), precision, part)
        try:
            spec = self._index.find(wanted) or self._create(wanted)
        except OSError as error:
            raise ModelError(
                f"reading the model or storing it failed: {error}",
                where=str(wanted.path),
                hint=f"Check rights and free space, also of {self._ctx.cache_dir}.",
            ) from error
        return attrs.evolve(spec, name=name, source=reference)

    def processor(self, spec: ProcessorSpec) -> Processor:
        """Build the processor a spec of this source asks for."""
        from .processors import build_processor

        return build_processor(spec, self._ctx.assets)

    def _create(self, wanted: Wanted) -> ModelSpec:
        files = SourceFiles()
        with AssetBatch(self._ctx.assets) as batch:
            if wanted.path.is_dir():
                from .directory import from_directory

                spec = from_directory(wanted, files, batch, self._ctx.plugins)
            else:
                from .onnx_file import from_onnx

                spec = from_onnx(wanted, files, batch)
            files.check_unchanged()
            self._index.remember(wanted, files.stamps, spec)
        return spec
