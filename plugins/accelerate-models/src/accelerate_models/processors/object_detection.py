# SPDX-License-Identifier: Apache-2.0
"""Images to boxes with labels and scores."""

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
from .image_classification import output, refuse_options, softmax
from .image_files import image_settings, labels_of, read_labels
from .images import rgb_images, sample_images
from .pixels import Size, pixel_values
from .prepared import Prepared

if TYPE_CHECKING:
    from accelerate_core.types import Array

_THRESHOLD = 0.5


def prepare(
    directory: Path, files: SourceFiles, facts: Facts, details: Mapping[str, Any]
) -> Prepared:
    """Return the processor of a directory; ModelError for files that are missing or wrong."""
    return Prepared(
        task="vision",
        kind="object_detection",
        settings={"image": image_settings(directory, files, facts, "DetrImageProcessor")},
        contents=labels_of(directory, files, details["labels"]),
    )


class EncodedImages(dict[str, "Array"]):
    """Carry what decoding needs to know besides the tensors."""

    def __init__(self, tensors: Mapping[str, Array], sizes: list[Size], threshold: float) -> None:
        super().__init__(tensors)
        self.sizes = sizes  #: of the images as they came: height, width
        self.threshold = threshold


class ObjectDetection(Processor):
    """Prepare images as the model's own file says, and find objects. Thread-safe."""

    def __init__(self, spec: ProcessorSpec, assets: AssetStore) -> None:
        self._image = spec.settings["image"]
        self._labels = read_labels(spec, assets)

    def encode(
        self,
        raw: Any,
        *,
        threshold: float = _THRESHOLD,
        sequence_length: int | None = None,
        **options: Any,
    ) -> EncodedImages:
        """Return `pixel_values`, float32 [batch, 3, height, width], for one image or a list.

        Objects with a score of `threshold` or less are left out later. See `images.rgb_images`
        for what an image may be. `sequence_length` is for texts: it changes nothing. ModelError
        for anything else, and for images of different shapes: this model sees no padding.
        """
        refuse_options(options, "threshold")
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
            raise ModelError(f"threshold is {threshold!r}", accepted=("a number from 0 to 1",))
        images = rgb_images(raw)
        tensors = {"pixel_values": pixel_values(images, self._image)}
        return EncodedImages(tensors, [(one.height, one.width) for one in images], threshold)

    def decode(
        self, outputs: Mapping[str, Array], encoded: Mapping[str, Array]
    ) -> list[list[dict[str, Any]]]:
        """Return for each image its objects: `{"label": ..., "score": ..., "box": ...}`.

        A box is left, top, right, bottom in pixels of the image as it came. ModelError when the
        outputs lack what is needed, or `encoded` is not what `encode` returned.
        """
        if not isinstance(encoded, EncodedImages):
            raise ModelError("boxes need the sizes of their images", accepted=("what encode gave",))
        # The last label means that a query found nothing.
        scores = softmax(output(outputs, "logits"))[..., :-1]
        boxes = output(outputs, "pred_boxes")
        return [
            self._objects(row, box, size, encoded.threshold)
            for row, box, size in zip(scores, boxes, encoded.sizes, strict=True)
        ]

    def sample(self, batch_size: int, sequence_length: int | None) -> list[Array]:
        """Return images as uint8 arrays, the same ones every time."""
        return sample_images(batch_size)

    def _objects(
        self, scores: Array, boxes: Array, size: Size, threshold: float
    ) -> list[dict[str, Any]]:
        labels = scores.argmax(axis=-1)
        best = scores.max(axis=-1)
        centre, half = boxes[:, :2], boxes[:, 2:] / 2
        height, width = size
        corners = np.concatenate([centre - half, centre + half], axis=-1)
        corners = corners * np.array([width, height, width, height], np.float32)
        return [
            {
                "label": self._labels[labels[index]],
                "score": float(best[index]),
                "box": [float(edge) for edge in corners[index]],
            }
            for index in np.flatnonzero(best > threshold)
        ]
