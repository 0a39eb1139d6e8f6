# SPDX-License-Identifier: Apache-2.0
"""Pairs of image and text to how well they match."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from accelerate_core.assets import AssetStore
from accelerate_core.errors import ModelError
from accelerate_core.types import ProcessorSpec

from ..facts import Facts
from ..files import SourceFiles
from .image_classification import output, softmax
from .image_text import ImageText, prepare_for
from .prepared import Prepared

if TYPE_CHECKING:
    from accelerate_core.types import Array


def prepare(
    directory: Path, files: SourceFiles, facts: Facts, details: Mapping[str, Any]
) -> Prepared:
    """Return the processor of a directory; ModelError for files that are missing or wrong."""
    kind = "image_text_matching"
    prepared = prepare_for(directory, files, facts, details, kind, "BlipImageProcessor")
    has_pairs = any(tensor.name == "itm_score" for tensor in facts.outputs)
    return attrs.evolve(prepared, settings={**prepared.settings, "pairs": has_pairs})


class ImageTextMatching(ImageText):
    """Prepare pairs as the model's own files say. Thread-safe."""

    def __init__(self, spec: ProcessorSpec, assets: AssetStore) -> None:
        super().__init__(spec, assets)
        self._has_pairs: bool = spec.settings["pairs"]

    def encode(
        self, raw: Any, *, sequence_length: int | None = None, **options: Any
    ) -> Mapping[str, Array]:
        """Return what `ImageText.encode` does for as many images as texts, or one of either.

        A single image is matched with all texts, a single text with all images. ModelError for
        other numbers; embeddings are compared in any.
        """
        encoded = super().encode(raw, sequence_length=sequence_length, **options)
        images, texts = (len(encoded[name]) for name in ("pixel_values", "input_ids"))
        if self._has_pairs and images != texts and 1 not in (images, texts):
            raise ModelError(
                f"{images} images and {texts} texts make no pairs",
                accepted=("as many images as texts", "one image", "one text"),
            )
        return encoded

    def decode(self, outputs: Mapping[str, Array], encoded: Mapping[str, Array]) -> Array:
        """Return the probability that text and image match, float32 [pairs].

        Of embeddings: the cosine of each image with each text, float32 [images, texts].
        """
        if not self._has_pairs:
            return output(outputs, "similarity")
        matches: Array = softmax(output(outputs, "itm_score"))[:, 1]
        return matches
