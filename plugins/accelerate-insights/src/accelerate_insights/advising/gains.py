# SPDX-License-Identifier: Apache-2.0
"""Whether one way to run something is faster than another, by runs of both. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from statistics import median
from typing import TypeAlias, TypeVar

import attrs

from .candidates import FEWEST_RUNS, Estimate

#: Smallest gain that counts.
LEAST = 1.05

Values: TypeAlias = Mapping[str, float]  #: by run
Option = TypeVar("Option", bound=Hashable)
#: What was measured of each option, by what else was alike.
Measurements: TypeAlias = Mapping[Option, Mapping[str, Values]]


@attrs.frozen(kw_only=True)
class Gain:
    """Say how many times as fast something is as it was."""

    context: str  #: what else was alike
    before: float
    after: float
    times: Estimate
    runs: tuple[int, int]
    is_paired: bool  #: both were measured in the same runs

    @property
    def is_better(self) -> bool:
        """Whether it is at least 5 % faster, and its interval says that it is faster at all."""
        return self.times.value >= LEAST and (self.times.low or 0.0) > 1

    @property
    def is_worse(self) -> bool:
        """Whether its interval says that it is slower."""
        return (self.times.high or math.inf) < 1


def interval(values: list[float]) -> Estimate:
    """Return a median with its interval at 95% from order statistics, as candidates have it."""
    ordered = sorted(values)
    k = math.floor((len(ordered) + 1) / 2 - 0.98 * math.sqrt(len(ordered)))
    if k < 1:
        return Estimate(value=median(ordered))
    return Estimate(value=median(ordered), low=ordered[k - 1], high=ordered[-k])


def gain(before: Values, after: Values, context: str, *, is_lower_better: bool) -> Gain | None:
    """Compare the runs of both; None with fewer than 6 of either.

    Where 6 runs measured both, each gives a ratio, and what slowed the machine is in neither.
    Else the two intervals are set against each other, which is wider than needed.
    """
    old = {run: value for run, value in before.items() if 0 < value < math.inf}
    new = {run: value for run, value in after.items() if 0 < value < math.inf}
    if min(len(old), len(new)) < FEWEST_RUNS:
        return None
    if not is_lower_better:
        # From here on values are costs.
        old = {run: 1 / value for run, value in old.items()}
        new = {run: 1 / value for run, value in new.items()}
    both = old.keys() & new.keys()
    is_paired = len(both) >= FEWEST_RUNS
    one, other = interval(list(old.values())), interval(list(new.values()))
    if is_paired:
        times = interval([old[run] / new[run] for run in both])
    else:
        assert one.low and one.high and other.low and other.high  # at least 6 of each
        times = Estimate(
            value=one.value / other.value, low=one.low / other.high, high=one.high / other.low
        )
    return Gain(
        context=context,
        before=median(before[run] for run in old),
        after=median(after[run] for run in new),
        times=times,
        runs=(len(old), len(new)),
        is_paired=is_paired,
    )


def winner(
    measured: Measurements[Option], current: Option | None, *, is_lower_better: bool = True
) -> tuple[Option, Gain] | None:
    """Return the option that is faster than the current one, and by how much.

    Faster in at least one context, and slower in none. Without a current option it has to be
    faster than all others, and the gain is that over the next best. None: there is no such one.
    """
    found: list[tuple[Option, Gain]] = []
    for option, values in measured.items():
        rivals = [current] if current is not None else [one for one in measured if one != option]
        gains = []
        for rival in rivals:
            theirs = measured.get(rival, {})
            compared = [
                one
                for context in values.keys() & theirs.keys()
                if (
                    one := gain(
                        theirs[context], values[context], context, is_lower_better=is_lower_better
                    )
                )
            ]
            better = [one for one in compared if one.is_better]
            if not better or any(one.is_worse for one in compared):
                break
            gains.append(max(better, key=lambda one: one.times.value))
        else:
            if gains:
                found.append((option, min(gains, key=lambda one: one.times.value)))
    return max(found, key=lambda pair: pair[1].times.value, default=None)
