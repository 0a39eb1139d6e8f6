# SPDX-License-Identifier: Apache-2.0
"""References of convolutions and pooling, by what their windows see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..codes import Pool
from ..params import Value
from . import reference
from .reading import integer
from .windows import unfold

if TYPE_CHECKING:
    from accelerate_core.types import Array


@reference("conv2d")
def conv2d(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y` `[batch, out_channels, out_height, out_width]`, as ONNX's Conv does."""
    groups, batch = integer(params, "groups"), integer(params, "batch")
    out_channels = integer(params, "out_channels")
    seen = _seen(params, operands["x"], batch, integer(params, "channels"))
    columns = seen.shape[-1] // groups
    weight = operands["w"].astype(np.float64).reshape(groups, -1, columns)
    parts = seen.reshape(batch, -1, groups, columns)
    y = np.einsum("bpgk,gok->bgop", parts, weight).reshape(batch, out_channels, -1)
    if "bias" in operands:
        y = y + operands["bias"].reshape(-1, 1)
    return {"y": _image(params, y)}


@reference("pool")
def pool(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y` `[images, out_height, out_width]`: the largest number or the mean of windows."""
    images, operation = integer(params, "images"), Pool(integer(params, "operation"))
    seen = _seen(params, operands["x"], images, 1)
    is_inside = _seen(params, np.ones_like(operands["x"]), images, 1) != 0
    if operation is Pool.MAX:
        y = np.where(is_inside, seen, -np.inf).max(-1)
    elif operation is Pool.AVERAGE:
        y = seen.sum(-1) / is_inside.sum(-1)
    else:
        y = seen.mean(-1)
    return {"y": _image(params, y.reshape(images, -1))}


def _seen(params: Mapping[str, Value], x: Array, batch: int, channels: int) -> Array:
    """Return what each window sees: `[batch, places, channels * kernel]`."""
    height, width = integer(params, "height"), integer(params, "width")
    strides = (channels * height * width, height * width, width, 1)
    given = {**params, "batch": batch, "channels": channels, "x_strides": strides}
    rows = unfold(given, {"x": x})["y"]
    return rows.reshape(batch, -1, rows.shape[-1])


def _image(params: Mapping[str, Value], y: Array) -> Array:
    return y.reshape(*y.shape[:-1], integer(params, "out_height"), integer(params, "out_width"))
