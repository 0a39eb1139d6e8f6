# SPDX-License-Identifier: Apache-2.0
"""References of running sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..params import Value
from . import reference
from .reading import integer

if TYPE_CHECKING:
    from accelerate_core.types import Array


@reference("cumsum")
def cumsum(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y` `[outer, size, inner]`: sums along the middle axis."""
    shape = [integer(params, name) for name in ("outer", "size", "inner")]
    x = operands["x"].astype(np.float64).reshape(shape)
    step = -1 if integer(params, "is_reverse") else 1
    y = x[:, ::step].cumsum(1)
    if integer(params, "is_exclusive"):
        y -= x[:, ::step]
    return {"y": y[:, ::step]}
