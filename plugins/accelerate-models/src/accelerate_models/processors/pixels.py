# SPDX-License-Identifier: Apache-2.0
"""From images to what a model sees, with the arithmetic of transformers' Pillow processors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from accelerate_core.errors import ModelError

from .images import LIMIT_PIXELS

if TYPE_CHECKING:
    from PIL.Image import Image

    from accelerate_core.types import Array

#: Height and width.
Size = tuple[int, int]


def pixel_values(images: Sequence[Image], settings: Mapping[str, Any]) -> Array:
    """Return float32 [batch, 3, height, width] for images in RGB.

    `settings` are those of `image_files.image_settings`. ModelError when the images come out in
    different sizes: nothing is padded, because what pads an image would be taken for a part of it.
    """
    made = [_pixels(image, settings) for image in images]
    shapes = sorted({array.shape[1:] for array in made})
    if len(shapes) > 1:
        raise ModelError(
            "these images have different sizes once they are resized: "
            + ", ".join(f"{height} x {width}" for height, width in shapes),
            accepted=("images of one shape",),
            hint="Call the model once for each shape.",
        )
    return np.stack(made)


def resized(size: Size, wanted: Mapping[str, int]) -> Size:
    """Return the size an image of `size` is brought to; `wanted` as in preprocessor_config.json."""
    height, width = size
    if "height" in wanted:
        return (wanted["height"], wanted["width"])
    if "max_height" in wanted:
        factor = min(wanted["max_height"] / height, wanted["max_width"] / width)
        return (int(height * factor), int(width * factor))
    short, long = min(size), max(size)
    edge = wanted["shortest_edge"]
    # Of the two cuts the reference makes, each rounds where it does.
    limit = wanted.get("longest_edge")
    exact: float = edge
    if limit is not None and long / short * edge > limit:
        exact = limit * short / long
        edge = round(exact)
        if edge == short:
            return size
    other = int(exact * long / short)
    return (other, edge) if width <= height else (edge, other)


def _pixels(image: Image, settings: Mapping[str, Any]) -> Array:
    """Return float32 [3, height, width]."""
    if settings["size"] is not None:
        height, width = resized((image.height, image.width), settings["size"])
        if not 0 < height * width <= LIMIT_PIXELS:
            raise ModelError(
                f"an image of {image.height} x {image.width} would become {height} x {width}",
                accepted=(f"up to {LIMIT_PIXELS} pixels",),
                hint="Crop it first.",
            )
        image = image.resize((width, height), resample=settings["resample"])
    values: Array = np.asarray(image)
    if settings["crop"] is not None:
        values = _centre(values, settings["crop"])
    values = values.transpose(2, 0, 1)
    if settings["scale"] is not None:
        values = values.astype(np.float64) * settings["scale"]
    values = values.astype(np.float32)
    if settings["mean"] is not None:
        mean, deviation = (
            np.array(settings[key], np.float32).reshape(-1, 1, 1) for key in ("mean", "std")
        )
        values = (values - mean) / deviation
    return values


def _centre(values: Array, size: Sequence[int]) -> Array:
    """Cut the middle out of [height, width, 3]; black surrounds what is smaller."""
    for axis, wanted in enumerate(size):
        have = values.shape[axis]
        if have < wanted:
            before = -(-(wanted - have) // 2)
            around = [(0, 0)] * values.ndim
            around[axis] = (before, wanted - have - before)
            values = np.pad(values, around)
        else:
            start = (have - wanted) // 2
            values = values.take(range(start, start + wanted), axis)
    return values
