# SPDX-License-Identifier: Apache-2.0
"""References of what moves elements without computing with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..params import Value
from . import reference
from .reading import integer, integers

if TYPE_CHECKING:
    from accelerate_core.types import Array


@reference("embedding")
def embedding(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`: rows of one or two tables, plus what is added to all of them."""
    ids = operands["ids"]
    y = operands["table"].astype(np.float64)[ids]
    if "ids2" in operands:
        y += operands["table2"].astype(np.float64)[operands["ids2"]]
    if "addend" in operands:
        y += np.resize(operands["addend"].astype(np.float64), y.shape)
    return {"y": y}


@reference("fill")
def fill(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`, one axis long: the same bits `count` times."""
    bits = np.array(integer(params, "value"), np.uint32)
    return {"y": np.full(integer(params, "count"), bits).view(np.int32)}


@reference("copy")
def copy(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`, one axis long: elements of `x` taken and put by strides over eight axes.

    What the copy leaves out is as it was in `y`; without one, `y` reaches as far as the copy
    does, and is masked there.
    """
    shape = integers(params, "shape_outer", "shape_inner")
    index = np.indices(shape).reshape(len(shape), -1)
    x_strides = integers(params, "x_strides_outer", "x_strides_inner")
    y_strides = integers(params, "y_strides_outer", "y_strides_inner")
    source = integer(params, "x_offset") + np.array(x_strides) @ index
    target = integer(params, "y_offset") + np.array(y_strides) @ index
    x = operands["x"].reshape(-1)
    if "y" in operands:
        y = operands["y"].reshape(-1).copy()
    else:
        y = np.ma.MaskedArray(np.zeros(int(target.max()) + 1, x.dtype), mask=True)
    y[target] = x[source]
    return {"y": y}


@reference("gather")
def gather(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y` `[outer, count, inner]`: slices of `x` `[outer, axis_size, inner]`."""
    shape = [integer(params, name) for name in ("outer", "axis_size", "inner")]
    return {"y": operands["x"].reshape(shape)[:, operands["ids"].reshape(-1)]}
