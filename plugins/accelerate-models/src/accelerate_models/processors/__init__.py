# SPDX-License-Identifier: Apache-2.0
"""Processors by kind. A new kind is a module or two, and one line in `_KINDS`.

The module that prepares reads a model's directory and has
`prepare(directory, files, facts, details) -> Prepared`; the class is made of a ProcessorSpec and
the asset store. Both are imported when they are used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate_core.assets import AssetStore
from accelerate_core.errors import ModelError
from accelerate_core.protocols import Processor
from accelerate_core.types import ProcessorSpec

from ..facts import Facts
from ..files import SourceFiles
from .prepared import Prepared

#: Kind -> module that prepares it, module and class that run it.
_KINDS = {
    "audio_embedding": ("audio_embedding_files", "audio_embedding", "AudioEmbedding"),
    "image_classification": (
        "image_classification",
        "image_classification",
        "ImageClassification",
    ),
    "image_text": ("image_text", "image_text", "ImageText"),
    "image_text_matching": ("image_text_matching", "image_text_matching", "ImageTextMatching"),
    "object_detection": ("object_detection", "object_detection", "ObjectDetection"),
    "speech_ctc": ("speech_ctc_files", "speech_ctc", "SpeechCtc"),
    "speech_to_text": ("speech_to_text_files", "speech_to_text", "SpeechToText"),
    "text_embedding": ("embedding_files", "text_embedding", "TextEmbedding"),
    "text_generation": ("generation_files", "text_generation", "TextGeneration"),
    "text_to_text": ("generation_files", "text_to_text", "TextToText"),
}


def prepare_processor(
    kind: str, directory: Path, files: SourceFiles, facts: Facts, details: Mapping[str, Any]
) -> Prepared:
    """Read what a kind of processor needs from a model's directory; ModelError otherwise.

    `details` is what the builder said of the graph.
    """
    module, _, _ = _kind(kind)
    prepared: Prepared = _import(module).prepare(directory, files, facts, details)
    return prepared


def prepare_processor_beside(directory: Path, files: SourceFiles, facts: Facts) -> Prepared | None:
    """Return the processor for an ONNX file if the files that lie beside it make one."""
    prepared: Prepared | None = _import("embedding_files").prepare_beside(directory, files, facts)
    return prepared


def build_processor(spec: ProcessorSpec, assets: AssetStore) -> Processor:
    """Build a processor; ModelError for a kind this distribution does not know."""
    _, module, name = _kind(spec.kind)
    processor: Processor = getattr(_import(module), name)(spec, assets)
    return processor


def _kind(kind: str) -> tuple[str, str, str]:
    if kind not in _KINDS:
        raise ModelError(f"no processor of kind {kind!r}", accepted=sorted(_KINDS))
    return _KINDS[kind]


def _import(module: str) -> Any:
    return importlib.import_module(f"{__name__}.{module}")
