# SPDX-License-Identifier: Apache-2.0
"""References of what works on rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..codes import Reduce, ReduceIndex
from ..params import Value
from . import reference
from .reading import integer, integers, number

if TYPE_CHECKING:
    from accelerate_core.types import Array


@reference("softmax")
def softmax(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`, the softmax of `x` over its last axis."""
    x = operands["x"].astype(np.float64)
    powers = np.exp(x - x.max(-1, keepdims=True))
    return {"y": powers / powers.sum(-1, keepdims=True)}


@reference("layer_norm")
def layer_norm(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`, rows with mean 0 and variance 1, scaled and shifted (arXiv:1607.06450)."""
    x = operands["x"].astype(np.float64)
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    y = centred / np.sqrt(variance + number(params, "epsilon")) * operands["weight"]
    return {"y": y + operands["bias"] if "bias" in operands else y}


@reference("rms_norm")
def rms_norm(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`, rows with the mean square 1, scaled (arXiv:1910.07467)."""
    x = operands["x"].astype(np.float64)
    mean = (x**2).mean(-1, keepdims=True)
    return {"y": x / np.sqrt(mean + number(params, "epsilon")) * operands["weight"]}


_REDUCE: Mapping[Reduce, Callable[[Array], Array]] = {
    Reduce.SUM: lambda x: x.sum(1),
    Reduce.MEAN: lambda x: x.mean(1),
    Reduce.MAX: lambda x: x.max(1),
    Reduce.MIN: lambda x: x.min(1),
    Reduce.PROD: lambda x: x.prod(1),
    Reduce.L1: lambda x: np.abs(x).sum(1),
    Reduce.L2: lambda x: np.sqrt((x**2).sum(1)),
    Reduce.SUM_SQUARE: lambda x: (x**2).sum(1),
    Reduce.LOG_SUM_EXP: lambda x: np.logaddexp.reduce(x, 1),
}


@reference("reduce")
def reduce(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y` `[outer, inner]`: one number for each line of `x` `[outer, size, inner]`."""
    x = operands["x"].astype(np.float64).reshape(lines(params))
    return {"y": _REDUCE[Reduce(integer(params, "operation"))](x)}


@reference("reduce_index")
def reduce_index(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y` `[outer, inner]`: where each line of `x` has its first extreme value."""
    x = operands["x"].reshape(lines(params))
    is_least = integer(params, "operation") == ReduceIndex.ARG_MIN
    return {"y": (x.argmin(1) if is_least else x.argmax(1)).astype(np.int32)}


def lines(params: Mapping[str, Value]) -> tuple[int, int, int]:
    """Return the shape of what lines run through: outer, size, inner."""
    return integer(params, "outer"), integer(params, "size"), integer(params, "inner")


@reference("rotary")
def rotary(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`, one axis long: pairs of `x` turned by angles (RoPE, arXiv:2104.09864)."""
    batch, length, heads, size = (
        integer(params, name) for name in ("batch", "length", "heads", "size")
    )
    place = np.indices((batch, length, heads)).reshape(3, -1, 1)
    x_strides, y_strides = integers(params, "x_strides"), integers(params, "y_strides")
    source = sum(place[i] * x_strides[i] for i in range(3)) + np.arange(size)
    target = sum(place[i] * y_strides[i] for i in range(3)) + np.arange(size)
    x = operands["x"].astype(np.float64).reshape(-1)[source]
    if integer(params, "interleaved"):
        swapped = np.stack([-x[:, 1::2], x[:, ::2]], -1).reshape(x.shape)
    else:
        swapped = np.concatenate([-x[:, size // 2 :], x[:, : size // 2]], -1)
    angle = place[0] * integer(params, "cos_stride") + place[1] * size + np.arange(size)
    cos, sin = (operands[name].astype(np.float64).reshape(-1)[angle] for name in ("cos", "sin"))
    y = np.ma.MaskedArray(np.zeros(int(target.max()) + 1), mask=True)
    y[target] = x * cos + swapped * sin
    return {"y": y}
