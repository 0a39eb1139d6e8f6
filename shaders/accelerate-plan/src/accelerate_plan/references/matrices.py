# SPDX-License-Identifier: Apache-2.0
"""References of products: linear layers, matrix products, attention."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..params import Value
from . import reference

if TYPE_CHECKING:
    from accelerate_core.types import Array

_erf = np.vectorize(math.erf, otypes=[np.float64])


def activate(code: int, x: Array) -> Array:
    """Return an activation of fp64 values, by the codes of the `linear` operations."""
    match code:
        case 0:
            return x
        case 1:
            return np.maximum(x, 0)
        case 2:
            return 0.5 * x * (1 + _erf(x / math.sqrt(2)))
        case 3:
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        case 4:
            return x * _sigmoid(x)
        case 5:
            return x * _sigmoid(1.702 * x)
        case 6:
            return np.tanh(x)
        case 7:
            return _sigmoid(x)
    raise ValueError(f"no activation has the code {code}")


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * x))


def product(params: Mapping[str, int], operands: Mapping[str, Array], w: Array) -> Array:
    """Return `y` of a linear layer with `w` `[K, N]`: `[M, N]`, or flat where it has blocks.

    Blocks of columns lie `block_stride` elements apart; what lies between them is zero.
    """
    m, n, block, stride = (params[one] for one in ("m", "n", "block", "block_stride"))
    y = operands["x"].astype(np.float64).reshape(m, -1) @ w.astype(np.float64)
    if params["has_bias"]:
        y = y + operands["bias"].astype(np.float64)
    y = activate(params["activation"], y)
    if params["has_residual"]:
        y = y + operands["residual"].astype(np.float64).reshape(m, n)
    if block == n:
        return y
    memory = np.zeros((n // block - 1) * stride + m * block)
    for index in range(n // block):
        part = y[:, index * block : (index + 1) * block]
        memory[index * stride : index * stride + m * block] = part.ravel()
    return memory


@reference("linear")
def linear(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y = activation(x w + bias) + residual`, blocks of columns apart."""
    return {"y": product(params, operands, operands["w"])}  # type: ignore[arg-type]
