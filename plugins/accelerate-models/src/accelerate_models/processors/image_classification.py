# SPDX-License-Identifier: Apache-2.0
"""Images to labels with scores, or to embeddings where a model has no labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accelerate_core.assets import AssetStore
from accelerate_core.errors import ModelError
from accelerate_core.protocols import Processor
from accelerate_core.types import ProcessorSpec

from ..facts import Facts
from ..files import SourceFiles
from .image_files import image_settings, labels_of, read_labels
from .images import rgb_images, sample_images
from .pixels import pixel_values
from .prepared import Prepared

if TYPE_CHECKING:
    from accelerate_core.types import Array

_SHOWN = 5


def prepare(
    directory: Path, files: SourceFiles, facts: Facts, details: Mapping[str, Any]
) -> Prepared:
    """Return the processor of a directory; ModelError for files that are missing or wrong."""
    labels = details.get("labels")
    return Prepared(
        task="vision",
        kind="image_classification",
        settings={"image": image_settings(directory, files, facts, "ViTImageProcessor")},
        contents={} if labels is None else labels_of(directory, files, labels),
    )


class ImageClassification(Processor):
    """Prepare images as the model's own file says, and name what is seen. Thread-safe."""

    def __init__(self, spec: ProcessorSpec, assets: AssetStore) -> None:
        self._image = spec.settings["image"]
        self._labels = read_labels(spec, assets) if spec.assets else None

    def encode(
        self, raw: Any, *, sequence_length: int | None = None, **options: Any
    ) -> Mapping[str, Array]:
        """Return `pixel_values`, float32 [batch, 3, height, width], for one image or a list.

        See `images.rgb_images` for what an image may be. `sequence_length` is for texts: it
        changes nothing. ModelError for anything else.
        """
        refuse_options(options)
        return {"pixel_values": pixel_values(rgb_images(raw), self._image)}

    def decode(self, outputs: Mapping[str, Array], encoded: Mapping[str, Array]) -> Any:
        """Return for each image its five best labels, `{"label": ..., "score": ...}`, best first.

        Scores are probabilities. Without labels: the class token's embedding, normalised, float32
        [batch, hidden]. ModelError when the outputs lack what is needed.
        """
        labels = self._labels
        if labels is None:
            return normalised(output(outputs, "last_hidden_state")[:, 0])
        return [
            [{"label": labels[i], "score": float(row[i])} for i in np.argsort(-row)[:_SHOWN]]
            for row in softmax(output(outputs, "logits"))
        ]

    def sample(self, batch_size: int, sequence_length: int | None) -> list[Array]:
        """Return images as uint8 arrays, the same ones every time."""
        return sample_images(batch_size)


def refuse_options(options: Mapping[str, Any], *accepted: str) -> None:
    """Raise ModelError for options that no processor of this kind has."""
    if options:
        raise ModelError(
            f"unknown options: {sorted(options)}", accepted=("sequence_length", *accepted)
        )


def output(outputs: Mapping[str, Array], name: str) -> Array:
    """Return an output in float32; ModelError when it is missing."""
    if name not in outputs:
        raise ModelError(f"output {name!r} is missing", accepted=sorted(outputs))
    return np.asarray(outputs[name], np.float32)


def softmax(logits: Array) -> Array:
    """Return probabilities over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities


def normalised(vectors: Array) -> Array:
    """Return rows of length 1."""
    rows: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return rows
