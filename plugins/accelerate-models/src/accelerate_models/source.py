# SPDX-License-Identifier: Apache-2.0
"""The one implementation behind `file:`, `dir:` and `package:`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import attrs

from accelerate_core.errors import ModelError
from accelerate_core.protocols import Context, ModelSource, Processor
from accelerate_core.serial import to_plain
from accelerate_core.types import PRECISIONS, ModelSpec, ProcessorSpec

from .cache import AssetBatch, Index
from .files import SourceFiles, stamp
from .wanted import BUILT, CONVERTIBLE, Wanted, split_part


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
        if wanted.path.is_dir() and precision in CONVERTIBLE and precision not in BUILT:
            wanted = attrs.evolve(wanted, precision="fp32")
        try:
            spec = self._resolve(wanted)
            if spec.precision != precision:
                spec = self._variant(spec, precision)
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

    def _resolve(self, wanted: Wanted) -> ModelSpec:
        """Return the model as near to the precision asked for as its source has it."""
        return self._index.find(wanted) or self._create(wanted)

    def _create(self, wanted: Wanted) -> ModelSpec:
        files = SourceFiles()
        with AssetBatch(self._ctx.assets) as batch:
            if wanted.path.is_dir():
                from .directory import from_directory

                spec = from_directory(wanted, files, batch, self._ctx.plugins)
                if spec.precision != "fp32":
                    original = self._resolve(attrs.evolve(wanted, precision="fp32"))
                    spec = self._judged(original, spec)
            else:
                from .onnx_file import from_onnx

                spec = from_onnx(wanted, files, batch)
            files.check_unchanged()
            self._index.remember(wanted, files.stamps, spec)
        return spec

    def _variant(self, original: ModelSpec, precision: str) -> ModelSpec:
        """Return a variant of an fp32 model, made again when anything about that changed."""
        identity = json.dumps(to_plain(original), sort_keys=True)
        wanted = Wanted(Path(hashlib.sha256(identity.encode()).hexdigest()), precision)
        if (known := self._index.find(wanted)) is not None:
            return known
        from .variants import make_variant

        with AssetBatch(self._ctx.assets) as batch:
            spec = make_variant(original, precision, batch, self._ctx.assets)
            spec = self._judged(original, spec)
            # Made of assets: once those are pruned, so is the variant.
            paths = [self._ctx.assets.path(asset.sha256) for asset in original.assets]
            self._index.remember(wanted, {str(path): stamp(path) for path in paths}, spec)
        return spec

    def _judged(self, original: ModelSpec, variant: ModelSpec) -> ModelSpec:
        from .variants_error import measure_error

        error = measure_error(original, variant, self._ctx.assets, self._ctx.cache_dir)
        return attrs.evolve(variant, metadata={**variant.metadata, "error": error})
