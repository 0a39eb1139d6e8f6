# SPDX-License-Identifier: Apache-2.0
"""How much slower: a ratio with its interval, out of two samples or of interleaved ones. Pure.

The estimate is that of Hodges and Lehmann (1963) on logarithms, its interval that of the rank test
beside it: Mann-Whitney for two samples, Wilcoxon's signed ranks for interleaved ones. Neither a
heavy tail nor an outlier moves them much, and no distribution is assumed.

Requests that follow each other are alike, so n of them tell less than n independent ones. The
tests are made as if there were n / inflation: see `inflation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import numpy as np

from . import ranks

if TYPE_CHECKING:
    Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

#: A block of interleaved requests: A B B A, or B A A B.
BLOCK = 2


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
        return attrs.evolve(
            self,
            low=min(self.low, self.ratio * math.exp(-half_width)),
            high=max(self.high, self.ratio * math.exp(half_width)),
        )


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
    return _shift(differences, chances, alpha, min(sizes), needed, times)


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
    return _shift(walsh, chances, alpha, size / times, needed, times)


def inflation(*series: Numbers) -> float:
    """Return the integrated autocorrelation time: how many samples tell as much as one alone.

    1 for independent samples, (1 + r) / (1 - r) for those with AR(r). Taken from ranks, so that an
    outlier hides nothing; averaged over the series; summed as Geyer (1992) does, over pairs of lags
    as long as they are above 0 and do not grow; with the bias of short series (each coefficient is
    too low by about time / n: Marriott and Pope 1954) put back. What is above 1 is given with one
    standard error on top, for half of all estimates are too low, and those raise false alarms; it
    is at most half of the samples.
    """
    size = min(len(one) for one in series)
    lags = size // 2
    if lags < 2 or all(one.min() == one.max() for one in series):
        return 1.0
    measured = np.mean([_autocorrelation(one, lags) for one in series], axis=0)
    time = 1.0
    for _ in range(2):  # the bias depends on what is sought; more often, it would feed itself
        mended = measured + np.where(np.arange(lags) > 0, time / size, 0.0)
        pairs = mended[: lags // 2 * 2].reshape(-1, 2).sum(axis=1)
        ends = np.flatnonzero(pairs <= 0)
        falling = np.minimum.accumulate(pairs[: ends[0] if len(ends) else None])
        time = float(min(max(1.0, 2 * falling.sum() - 1), lags))
    if time > 1:
        time *= 1 + math.sqrt(time / (size * len(series)))
    return min(time, lags)


def _autocorrelation(values: Numbers, lags: int) -> Numbers:
    # Equal values have equal ranks: the mean of the first and last place.
    ordered = np.sort(values)
    places = np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right")
    centred = places - places.mean()
    whole = float(centred @ centred)
    found = np.zeros(lags)
    found[0] = 1.0
    if whole:
        found = np.array([centred[lag:] @ centred[: len(values) - lag] for lag in range(lags)])
        found /= whole
    return found


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
