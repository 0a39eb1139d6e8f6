# SPDX-License-Identifier: Apache-2.0
"""References of what works on rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..params import Value
from . import reference
from .reading import number

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
