# SPDX-License-Identifier: Apache-2.0
"""Processors by kind. A new kind is one module and one line in each of the two tables here."""

from __future__ import annotations

from pathlib import Path

from accelerate_core.assets import AssetStore
from accelerate_core.errors import ModelError
from accelerate_core.protocols import Processor
from accelerate_core.types import ProcessorSpec

from ..facts import Facts
from ..files import SourceFiles
from . import embedding_files
from .prepared import Prepared


def prepare_processor(
    task: str, directory: Path, files: SourceFiles, facts: Facts, *, max_positions: int
) -> Prepared:
    """Read what the processor of a task needs from a model's directory; ModelError otherwise."""
    if task == "text_embedding":
        return embedding_files.prepare(directory, files, facts, max_positions)
    raise ModelError(f"no processor for task {task!r}", accepted=("text_embedding",))


def prepare_processor_beside(directory: Path, files: SourceFiles, facts: Facts) -> Prepared | None:
    """Return the processor for an ONNX file if the files that lie beside it make one."""
    return embedding_files.prepare_beside(directory, files, facts)


def build_processor(spec: ProcessorSpec, assets: AssetStore) -> Processor:
    """Build a processor; ModelError for a kind this distribution does not know."""
    if spec.kind == "text_embedding":
        from .text_embedding import TextEmbedding

        return TextEmbedding(spec, assets)
    raise ModelError(f"no processor of kind {spec.kind!r}", accepted=("text_embedding",))
