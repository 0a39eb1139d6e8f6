# SPDX-License-Identifier: Apache-2.0
"""References of linear layers whose weights are codes of 8, 4, 3 or 2 bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..params import Value
from . import reference
from .matrices import product
from .reading import integer, number

if TYPE_CHECKING:
    from accelerate_core.types import Array


@reference("linear_q8")
@reference("linear_q4")
@reference("linear_q3")
@reference("linear_q2")
def linear(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y = activation(x w + bias) + residual` with `w = gain * scale * (code - zero)`.

    `scales` and `zeros` `[ceil(K / group), N]` are those f16 holds.
    """
    return {"y": product(params, operands, _weight(params, operands))}


@reference("dequantize_q8")
@reference("dequantize_q4")
def dequantize(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y` `[K, N]`, the weight that `linear` multiplies by."""
    return {"y": _weight(params, operands)}


def _weight(params: Mapping[str, Value], operands: Mapping[str, Array]) -> Array:
    codes = operands["w"].astype(np.float64)
    group = integer(params, "group")
    scales, zeros = (
        np.repeat(operands[name].astype(np.float16).astype(np.float64), group, 0)[: len(codes)]
        for name in ("scales", "zeros")
    )
    return number(params, "gain") * scales * (codes - zeros)
