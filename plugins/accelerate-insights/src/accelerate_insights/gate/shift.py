# SPDX-License-Identifier: Apache-2.0
"""How much slower: a ratio with its interval, out of two samples or of interleaved ones. Pure.

The estimate is that of Hodges and Lehmann (1963) on logarithms, its interval that of the rank test
beside it: Mann-Whitney for two samples, Wilcoxon's signed ranks for interleaved ones. Neither a
heavy tail nor an outlier moves them much, and no distribution is assumed.

Requests that follow each other are alike, so n of them tell less than n independent ones. The
tests are made as if there were n / inflation: see `inflation`. Where that leaves too few for ranks
to say anything, however far apart the two are, sizes say it: see `_of_few`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import numpy as np

from accelerate_core.measuring.sampling import autocorrelation_time

from . import ranks

if TYPE_CHECKING:
    Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

#: A block of interleaved requests: A B B A, or B A A B.
BLOCK = 2
#: An interval that reaches farther than a hundredfold, as a logarithm, says nothing: it is unknown.
WIDEST = math.log(100)


@attrs.frozen(kw_only=True)
class Shift:
    """Say how the new is to the old: a ratio, and where it lies."""

    ratio: float  #: new / old
    low: float  #: the interval leaves out each side with a chance of at most alpha; 0 when unknown
    high: float  #: infinite when unknown
    p: float  #: chance of such a ratio, or one farther from 1, on this side by chance alone
    independent: float  #: as how many independent samples (blocks) those of the smaller side count
    needed: int  #: as how many they would have to, for any interval at all
    inflation: float

    @property
    def is_known(self) -> bool:
        """Whether there are samples enough for an interval."""
        return math.isfinite(self.high)

    @property
    def half_width(self) -> float:
        """How far, as a logarithm, the interval reaches from the ratio to its farther end."""
        return max(math.log(self.high / self.ratio), math.log(self.ratio / self.low))

    def at_least(self, half_width: float) -> Shift:
        """Return the shift with an interval that reaches at least so far to both sides."""
        low, high = _reaching(self.ratio, half_width)
        return attrs.evolve(self, low=min(self.low, low), high=max(self.high, high))


def _reaching(ratio: float, half_width: float) -> tuple[float, float]:
    if half_width > WIDEST:
        return 0.0, math.inf
    return ratio * math.exp(-half_width), ratio * math.exp(half_width)


def of_samples(old: Sequence[float], new: Sequence[float], alpha: float) -> Shift:
    """Return the shift between two samples, each in the order measured; all are above 0."""
    before, after = np.log(np.array(old)), np.log(np.array(new))
    times = inflation(before, after)
    sizes = (len(old) / times, len(new) / times)
    chances = ranks.mann_whitney(*(max(1, int(size)) for size in sizes))
    needed = 1
    while ranks.bound(ranks.mann_whitney(needed, needed), alpha) is None:
        needed += 1
    differences = np.subtract.outer(after, before).ravel()
    return _of_few(
        _shift(differences, chances, alpha, min(sizes), needed, times), alpha, before, after
    )


def of_blocks(old: Sequence[float], new: Sequence[float], alpha: float) -> Shift:
    """Return the shift between as many samples each, taken in turns: A B B A A B B A ...

    Of every A B B A only the mean difference counts: a drift of the machine, and what it costs to
    follow the other side, are in both. What does not fill a block is left out.
    """
    size = min(len(old), len(new)) // BLOCK
    both = np.log(np.array([old[: size * BLOCK], new[: size * BLOCK]]))
    before, after = both.reshape(2, size, BLOCK).mean(axis=2)
    blocks = after - before
    times = inflation(blocks)
    chances = ranks.signed_rank(max(1, int(size / times)))
    needed = math.ceil(-math.log2(alpha))
    walsh = (np.add.outer(blocks, blocks) / 2)[np.triu_indices(size)]
    shift = _shift(walsh, chances, alpha, size / times, needed, times)
    return _of_few(shift, alpha, blocks)


def inflation(*series: Numbers) -> float:
    """Return how many samples tell as much as one alone: 1 for independent ones, to half of them.

    The autocorrelation time of their ranks, so that an outlier hides nothing. What is above 1 is
    given with one standard error on top, for half of all estimates are too low, and those raise
    false alarms.
    """
    time = autocorrelation_time(*(_ranks(one) for one in series))
    size = min(len(one) for one in series)
    if time > 1:
        time *= 1 + math.sqrt(time / (size * len(series)))
    return max(1.0, min(time, size // 2))


def _ranks(values: Numbers) -> Numbers:
    # Equal values have equal ranks: the mean of the first and last place.
    ordered = np.sort(values)
    places = ordered.searchsorted(values) + ordered.searchsorted(values, side="right")
    return places / 2


def _of_few(shift: Shift, alpha: float, *series: Numbers) -> Shift:
    """Return a shift with an interval also where many samples tell as little as a few.

    Ranks see no more in few independent samples than that all lie on one side: the chance of that
    alone is above alpha, though they be ten times as large. Student's t (Welch's of 1947 for two
    series) sees how far they are. It is kept to samples that were enough if they were independent,
    and its interval is twice as wide: the autocorrelation time of so few is itself uncertain, and
    half as wide gave twice the false alarms at AR(0.9) by simulation.
    """
    if shift.is_known or min(len(one) for one in series) < shift.needed:
        return shift
    from scipy.special import stdtr, stdtrit

    freedoms = [len(one) / shift.inflation - 1 for one in series]
    parts = [float(one.var()) / free for one, free in zip(series, freedoms, strict=True)]
    error = 2 * math.sqrt(sum(parts))
    freedom = sum(parts) ** 2 / sum(
        part**2 / free for part, free in zip(parts, freedoms, strict=True)
    )
    low, high = _reaching(shift.ratio, error * float(stdtrit(freedom, 1 - alpha)))
    return attrs.evolve(
        shift,
        low=low,
        high=high,
        p=float(stdtr(freedom, -abs(math.log(shift.ratio)) / error)),
    )


def _shift(
    differences: Numbers,
    chances: Numbers,
    alpha: float,
    independent: float,
    needed: int,
    times: float,
) -> Shift:
    """Return the median of the differences and its interval, as the chances of a rank say."""
    if not len(differences):
        return Shift(
            ratio=1.0,
            low=0.0,
            high=math.inf,
            p=1.0,
            independent=0.0,
            needed=needed,
            inflation=times,
        )
    ordered = np.sort(differences)
    middle = float(np.median(ordered))
    # What share of the differences lies on the other side of 0; those at 0 count half.
    share = ((ordered < 0).mean() + (ordered <= 0).mean()) / 2
    share = min(share, 1 - share)
    p = float(chances[: int(share * (len(chances) - 1) + 0.5) + 1].sum())
    low, high = -math.inf, math.inf
    if (most := ranks.bound(chances, alpha)) is not None:
        skipped = int((most + 0.5) / (len(chances) - 1) * len(differences))
        low, high = float(ordered[skipped]), float(ordered[-1 - skipped])
    return Shift(
        ratio=math.exp(middle),
        low=math.exp(low),
        high=math.exp(high),
        p=min(1.0, p),
        independent=independent,
        needed=needed,
        inflation=times,
    )
