# SPDX-License-Identifier: Apache-2.0
"""References of windows that slide over images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..params import Value
from . import reference
from .reading import integer, integers

if TYPE_CHECKING:
    from accelerate_core.types import Array


@reference("unfold")
def unfold(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y` `[batch * out_height * out_width, channels * kernel_height * kernel_width]`."""
    batch, channels, out_height, out_width, kernel_height, kernel_width = (
        integer(params, name)
        for name in [
            "batch",
            "channels",
            "out_height",
            "out_width",
            "kernel_height",
            "kernel_width",
        ]
    )
    shape = (batch, out_height, out_width, channels, kernel_height, kernel_width)
    image, top, left, channel, below, right = np.indices(shape)
    row = top * integer(params, "stride_y") + below * integer(params, "dilation_y")
    column = left * integer(params, "stride_x") + right * integer(params, "dilation_x")
    row, column = row - integer(params, "pad_y"), column - integer(params, "pad_x")
    is_inside = (row >= 0) & (row < integer(params, "height"))
    is_inside &= (column >= 0) & (column < integer(params, "width"))
    steps = integers(params, "x_strides")
    place = image * steps[0] + channel * steps[1] + row * steps[2] + column * steps[3]
    x = operands["x"].astype(np.float64).reshape(-1)
    y = np.where(is_inside, x[np.where(is_inside, place, 0)], 0.0)
    return {"y": y.reshape(batch * out_height * out_width, -1)}
