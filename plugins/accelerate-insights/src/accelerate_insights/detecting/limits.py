# SPDX-License-Identifier: Apache-2.0
"""How much evidence is enough: limits that simulation found, kept in `limits.json`.

Of series of 120 points without a change, looked at after every point, the share `budget` has a
score over the limit. `python -m accelerate_insights.detecting.calibrating` writes the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import attrs

PATH = Path(__file__).with_name("limits.json")
_LEAST_CHANCE = 1e-6  # simulation says nothing of rarer ones


@attrs.frozen(kw_only=True)
class Limit:
    """Judge scores of one window."""

    score: float
    budget: float
    intercept: float  #: of the logarithm of the chance of a score or more in 120 points
    slope: float  #: per score squared

    def chance(self, score: float) -> float:
        """Return how often a series without a change has such a score or a greater one."""
        return min(max(math.exp(self.intercept + self.slope * score**2), _LEAST_CHANCE), 1.0)


@cache
def limits() -> Mapping[int, Limit]:
    """Return the limits by window: the number of points since the shift."""
    read = json.loads(PATH.read_text())
    return {int(last): Limit(**limit) for last, limit in read["windows"].items()}
