# SPDX-License-Identifier: Apache-2.0
"""References of what works on rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..params import Value
from . import reference

if TYPE_CHECKING:
    from accelerate_core.types import Array


@reference("softmax")
def softmax(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`, the softmax of `x` over its last axis."""
    x = operands["x"].astype(np.float64)
    powers = np.exp(x - x.max(-1, keepdims=True))
    return {"y": powers / powers.sum(-1, keepdims=True)}
