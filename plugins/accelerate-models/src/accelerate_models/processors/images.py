# SPDX-License-Identifier: Apache-2.0
"""Getting images as RGB pixels: from files, from Pillow, from arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accelerate_core.errors import ModelError

if TYPE_CHECKING:
    from PIL.Image import Image

    from accelerate_core.types import Array

#: Pillow warns beyond this many pixels, and so do we, but by refusing.
LIMIT_PIXELS = 89_478_485
#: Formats that Pillow decodes itself; some others run programs.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_ACCEPTED = (
    "path",
    "PIL image",
    "uint8 array [height, width], [height, width, 3] or [height, width, 4]",
    "a list of these",
)
_SAMPLE_SIZE = (480, 640)


def rgb_images(raw: Any) -> list[Image]:
    """Return one image or a list of them, in RGB.

    What a path names is turned as its EXIF data says, and an alpha channel is dropped; Pillow's
    images and arrays are shown on white: transformers makes the same difference. ModelError for
    anything that is no image, and for an image that is too large.
    """
    items = list(raw) if isinstance(raw, (list, tuple)) else [raw]
    if not items:
        raise ModelError("there is no image in this list", accepted=_ACCEPTED)
    return [_rgb(item) for item in items]


def sample_images(batch_size: int) -> list[Array]:
    """Return uint8 arrays [480, 640, 3], the same ones every time: soft colours and hard edges."""
    height, width = _SAMPLE_SIZE
    rows, columns = np.mgrid[0:height, 0:width]
    images: list[Array] = []
    for index in range(batch_size):
        rng = np.random.default_rng(index)
        waves = [
            np.sin(rows / rng.uniform(30, 90) + rng.uniform(0, 6))
            + np.cos(columns / rng.uniform(30, 90) + rng.uniform(0, 6))
            for _ in range(3)
        ]
        image = (np.stack(waves, axis=-1) * 60 + 128).astype(np.uint8)
        top, left = int(rng.integers(0, height // 2)), int(rng.integers(0, width // 2))
        image[top : top + height // 3, left : left + width // 4] = rng.integers(0, 256, 3)
        images.append(image)
    return images


def _rgb(item: Any) -> Image:
    from PIL import Image

    if isinstance(item, (str, Path)):
        return _from_file(Path(item))
    if isinstance(item, np.ndarray):
        return _on_white(_from_array(item))
    if not isinstance(item, Image.Image):
        raise ModelError(f"{type(item).__name__} is no image", accepted=_ACCEPTED)
    _check_pixels(*item.size, where="image")
    _check_mode(item, "image")
    return _on_white(item)


def _from_file(path: Path) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path, formats=_FORMATS) as image:
            _check_pixels(*image.size, where=str(path))
            _check_mode(image, str(path))
            return ImageOps.exif_transpose(image).convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(str(path), str(error)) from error
    except UnidentifiedImageError as error:
        raise ModelError(
            "this is no image that can be read", where=str(path), accepted=_FORMATS
        ) from error
    except FileNotFoundError as error:
        raise ModelError("there is no such image", where=str(path), accepted=_ACCEPTED) from error
    except (OSError, SyntaxError, ValueError) as error:  # how Pillow tells of damaged files
        raise ModelError(
            f"this image cannot be read: {error}",
            where=str(path),
            hint="It may be truncated; get it again from where it came from.",
        ) from error


def _from_array(array: Array) -> Image:
    from PIL import Image

    is_grey = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)
    is_colour = array.ndim == 3 and array.shape[2] in (3, 4)
    if array.dtype != np.uint8 or not (is_grey or is_colour) or 0 in array.shape:
        raise ModelError(
            f"an array {array.dtype.name}{list(array.shape)} is no image", accepted=_ACCEPTED
        )
    height, width = array.shape[:2]
    _check_pixels(width, height, where="image")
    return Image.fromarray(array.reshape(height, width) if is_grey else array)


def _on_white(image: Image) -> Image:
    from PIL import Image

    if "A" not in image.getbands() and image.info.get("transparency") is None:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _check_mode(image: Image, where: str) -> None:
    # Pillow would cut these off at 255 without a word.
    if image.mode.startswith(("I", "F")):
        raise ModelError(
            f"its pixels are of mode {image.mode}, not of 8 bits",
            where=where,
            hint="Scale them to 0..255 first: only you know which values matter.",
        )


def _check_pixels(width: int, height: int, where: str) -> None:
    if not width or not height:
        raise ModelError("this image is empty", where=where)
    if width * height > LIMIT_PIXELS:
        raise _too_large(where, f"{width} x {height} pixels")


def _too_large(where: str, what: str) -> ModelError:
    return ModelError(
        f"this image is too large: {what}",
        where=where,
        accepted=(f"up to {LIMIT_PIXELS} pixels",),
        hint="A small file can hold such an image to exhaust memory. Scale it down.",
    )
