# SPDX-License-Identifier: Apache-2.0
"""How much runs of one thing differ among themselves, which no single run can know. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import attrs

#: Fewer earlier runs say nothing about how much runs differ: from 3, Student's t keeps its rate.
MIN_RUNS = 3
#: More of them are of long ago.
MAX_RUNS = 30
_MAD_TO_DEVIATION = 1.4826


@attrs.frozen
class Spread:
    """Hold the standard deviation of a run's median, as a logarithm, and of how many runs."""

    deviation: float
    runs: int

    def half_width(self, alpha: float) -> float:
        """Return how far, as a logarithm, two runs of one thing are apart with chance 2 alpha.

        By Student's t, for the deviation is an estimate itself. The median of n - 1 differences
        tells about as much of it as a sample of n / 2.
        """
        from scipy.special import stdtrit

        return float(stdtrit((self.runs - 1) / 2, 1 - alpha)) * self.deviation * math.sqrt(2)


def of_runs(medians: Sequence[float]) -> Spread | None:
    """Return the spread of medians of runs, oldest first; None for fewer than 3.

    From differences between one run and the next (von Neumann 1941), by their median: a change of
    level in the past is one difference among many.
    """
    known = [math.log(one) for one in medians if math.isfinite(one) and one > 0][-MAX_RUNS:]
    if len(known) < MIN_RUNS:
        return None
    steps = sorted(abs(after - before) for before, after in pairwise(known))
    middle = (steps[len(steps) // 2] + steps[(len(steps) - 1) // 2]) / 2
    return Spread(_MAD_TO_DEVIATION * middle / math.sqrt(2), len(known))
