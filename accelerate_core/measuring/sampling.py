# SPDX-License-Identifier: Apache-2.0
"""What samples of a time say, and how sure: percentiles, intervals, warm-up, when to stop. Pure.

Times of one thing have heavy tails and follow each other alike, so nothing here takes them for
normal or independent.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from ..types import Estimate, Sampling

if TYPE_CHECKING:
    from ..types import Array

#: Fewer samples than this are no median; no budget goes below it.
MIN_SAMPLES = 3
#: More than these in one row are a burden for every reader; an interval is not had at any price.
MAX_SAMPLES = 10_000
#: Percentiles that are looked at.
PERCENTILES = (50, 90, 95, 99)
#: How often an interval holds the true value.
LEVEL = 0.95
#: From so many samples on, a warm-up is looked for.
_MIN_SETTLING = 10
#: How seldom a level that never changed looks as if it had.
_FALSE_ALARMS = 0.01
#: A level that changed by less is the same for everybody.
_LEAST_CHANGE = 0.02


def percentile(samples: Sequence[float], percent: int) -> Estimate | None:
    """Return a percentile with its 95 % interval; None where one sample alone would decide it.

    The interval lies between two order statistics (binomial; David & Nagaraja, Order Statistics,
    2003, 7.1), moved apart as far as samples resemble those before them: `autocorrelation_time`.
    It is unknown where it would reach beyond the samples: below 6 independent ones for p50, 36
    for p90, 72 for p95, 367 for p99.
    """
    import numpy as np

    count, part = len(samples), percent / 100
    if count < MIN_SAMPLES or count < round(1 / min(part, 1 - part)):
        return None
    values = np.asarray(samples, np.float64)
    value = float(np.quantile(values, part))
    time = max(autocorrelation_time(values > np.quantile(values, at)) for at in (0.5, part))
    lower, upper = _ranks(count, part)
    middle = count * part
    low = math.floor(middle - (middle - lower) * math.sqrt(time))
    high = math.ceil(middle + (upper - middle) * math.sqrt(time))
    if low < 1 or high > count:
        return Estimate(value=value)
    ordered = np.sort(values)
    return Estimate(value=value, low=float(ordered[low - 1]), high=float(ordered[high - 1]))


def share(count: int, of: int) -> Estimate:
    """Return a share with its 95 % interval (Wilson 1927), `of` at least 1."""
    z2 = 3.841458820694124  # of the standard normal distribution, for 95 %
    part = count / of
    middle = (part + z2 / (2 * of)) / (1 + z2 / of)
    half = math.sqrt(z2 * (part * (1 - part) / of + z2 / (4 * of * of))) / (1 + z2 / of)
    return Estimate(value=part, low=max(0.0, middle - half), high=min(1.0, middle + half))


def autocorrelation_time(*series: Array) -> float:
    """Return how many samples in a row say as much as one independent one: 1 to half of them.

    (1 + r) / (1 - r) for samples with AR(r). Autocorrelations, averaged over the series, are
    summed up to where pairs of them are positive and fall (Geyer, Practical Markov Chain Monte
    Carlo, 1992: the initial monotone sequence), with the bias of short series (each is too low by
    about time / n: Marriott and Pope 1954) put back. The values are whether samples are above a
    percentile, or their ranks: no outlier counts for more than one.
    """
    import numpy as np

    size = min(len(values) for values in series)
    lags = size // 2
    if lags < 2:
        return 1.0
    measured = np.mean([_autocorrelation(values, lags) for values in series], axis=0)
    if not measured[1:].any():  # all equal
        return 1.0
    time = 1.0
    for _ in range(2):  # the bias depends on what is sought; more often, it would feed itself
        mended = measured + np.where(np.arange(lags) > 0, time / size, 0.0)
        pairs = mended[: lags // 2 * 2].reshape(-1, 2).sum(axis=1)
        ends = np.flatnonzero(pairs <= 0)
        falling = np.minimum.accumulate(pairs[: ends[0] if len(ends) else None])
        time = float(min(max(1.0, 2 * falling.sum() - 1), lags))
    return time


def _autocorrelation(values: Array, lags: int) -> Array:
    """Return the autocorrelation from lag 0 on (Wiener-Khinchin); 1, 0, 0 ... of equal values."""
    import numpy as np

    apart = values - np.mean(values, dtype=np.float64)
    power = float(apart @ apart)
    found: Array = np.eye(1, lags)[0]
    if power:
        waves = np.fft.rfft(apart, 2 * len(apart))
        found = np.fft.irfft(waves * waves.conj(), 2 * len(apart))[:lags] / power
    return found


def effective_count(samples: Sequence[float]) -> float:
    """Return how many independent samples would say as much about the median."""
    import numpy as np

    values = np.asarray(samples, np.float64)
    return len(values) / autocorrelation_time(values > np.median(values)) if len(values) else 0.0


def spread(samples: Sequence[float]) -> float | None:
    """Return how wide the middle half of samples is, relative to their median."""
    import numpy as np

    if len(samples) < MIN_SAMPLES:
        return None
    low, middle, high = np.quantile(np.asarray(samples, np.float64), (0.25, 0.5, 0.75))
    return float((high - low) / middle) if middle else None


def reach(estimate: Estimate | None) -> float | None:
    """Return how far an interval goes from its value, relative to that: 0.02 is ±2 %."""
    if estimate is None or estimate.low is None or estimate.high is None or not estimate.value:
        return None
    return max(estimate.high - estimate.value, estimate.value - estimate.low) / estimate.value


def describe(samples: Sequence[float]) -> Sampling:
    """Return what samples say by themselves."""
    found = {f"p{percent}": percentile(samples, percent) for percent in PERCENTILES}
    return Sampling(
        percentiles={name: one for name, one in found.items() if one is not None},
        effective_count=effective_count(samples),
        spread=spread(samples),
        reached=reach(found["p50"]),
    )


# --- steady state -----------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Steady:
    """Say which samples show a steady state."""

    start: int = 0  #: the first of them; what is before belongs to the warm-up
    #: Median after the largest change of level that is left, relative to the one before it.
    change: float | None = None


def steady(samples: Sequence[float]) -> Steady:
    """Find the end of the warm-up, which is never more than half of the samples.

    Two things begin a series that are no part of what follows (Barrett et al., Virtual machine
    warmup blows hot and cold, 2017; Kalibera & Jones, Rigorous benchmarking in reasonable time,
    2013): a few very slow samples, above the outer fence of the second half (Tukey 1977: three
    interquartile ranges above the quartile), and a slower level (`_change`). What changes its
    level later, or becomes slower, is left as it is and said: such samples are not steady.
    """
    import numpy as np

    values = np.asarray(samples, np.float64)
    latest = len(values) // 2
    if len(values) < _MIN_SETTLING:
        return Steady()
    low, high = np.quantile(values[latest:], (0.25, 0.75))
    slow = values[:latest] > high + 3 * (high - low)
    start = latest if slow.all() else int(slow.argmin())
    while len(values) - start >= _MIN_SETTLING:
        found = _change(values[start:])
        if found is None:
            return Steady(start=start)
        index, change = found
        if change > 0 or start + index > latest:
            return Steady(start=start, change=change)
        start += index
    return Steady(start=start)


def _change(values: Array) -> tuple[int, float] | None:
    """Return where the level changes, and by how much; None where it does not.

    Pettitt's test (1979), by ranks; what samples resemble those before them, each level taken by
    itself, makes a change more probable.
    """
    import numpy as np

    count = len(values)
    ordered = np.sort(values)
    # Of equal values, each has the middle of their ranks.
    ranks = (ordered.searchsorted(values, "left") + ordered.searchsorted(values, "right") + 1) / 2
    sums = np.abs(2 * np.cumsum(ranks)[:-1] - np.arange(1, count) * (count + 1))
    index = int(sums.argmax()) + 1
    levels = float(np.median(values[:index])), float(np.median(values[index:]))
    flags = np.concatenate((values[:index] > levels[0], values[index:] > levels[1]))
    exponent = 6 * float(sums[index - 1]) ** 2 / (count**3 + count**2)
    is_chance = 2 * math.exp(-exponent / autocorrelation_time(flags)) > _FALSE_ALARMS
    change = levels[1] / levels[0] - 1 if levels[0] else 0.0
    return None if is_chance or abs(change) < _LEAST_CHANGE else (index, change)


# --- how many ---------------------------------------------------------------------------------


def missing(samples: Sequence[float], least: int, interval: float | None = None) -> int:
    """Return how many samples to take before asking again; 0 when they are enough.

    Enough are `least` after the warm-up and, with an `interval`, so many that the 95 % interval
    of their median lies within that part of it, or MAX_SAMPLES. A sequential rule (Chow & Robbins
    1965): looking seldom keeps it from stopping at the first lucky moment.
    """
    kept = samples[steady(samples).start :]
    if len(kept) < least:
        return least - len(kept)
    if interval is None or len(kept) >= MAX_SAMPLES:
        return 0
    reached = reach(percentile(kept, 50))
    if reached is not None and reached <= interval:
        return 0
    # An interval shrinks with the root of the count; more than twice as many is not foreseen.
    factor = 2.0 if reached is None else min(2.0, max(1.2, (reached / interval) ** 2))
    return min(MAX_SAMPLES, math.ceil(len(kept) * factor)) - len(kept)


@functools.lru_cache(1024)
def _ranks(count: int, part: float) -> tuple[int, int]:
    """Return the order statistics around a quantile, from 1 on; 0 and count + 1 are beyond."""
    tail, below, low = (1 - LEVEL) / 2, 0.0, 0
    for one in range(count + 1):
        below += math.exp(
            math.lgamma(count + 1)
            - math.lgamma(one + 1)
            - math.lgamma(count - one + 1)
            + one * math.log(part)
            + (count - one) * math.log1p(-part)
        )
        if below <= tail:
            low = one + 1
        if below >= 1 - tail:
            return low, one + 1
    return low, count + 1
