# SPDX-License-Identifier: Apache-2.0
"""Robust numbers about one level of a series: slope, median, spread. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .candidates import Estimate

if TYPE_CHECKING:
    Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

#: With fewer points a slope says nothing.
FEWEST_POINTS = 10
_Z = 1.959964
#: More points than this are taken together: all pairs of them are looked at.
_MOST = 500


def median(values: Numbers) -> Estimate:
    """Return the median with its interval at 95%, from order statistics; of fewer than 6, none."""
    ordered = np.sort(values)
    size = len(ordered)
    k = math.floor((size + 1) / 2 - 0.98 * math.sqrt(size))
    middle = float(np.median(ordered))
    if k < 1:
        return Estimate(value=middle)
    return Estimate(value=middle, low=float(ordered[k - 1]), high=float(ordered[size - k]))


def spread(values: Numbers) -> float | None:
    """Return the median distance from the median, as of a normal distribution, relative to it."""
    middle = float(np.median(values))
    if len(values) < 2 or not middle:
        return None
    return 1.4826 * float(np.median(np.abs(values - middle))) / abs(middle)


def slope(times: Numbers, values: Numbers) -> Estimate | None:
    """Return the change of values in a unit of time, with its interval at 95%.

    Theil's and Sen's median of the slopes of all pairs; the interval is that of Kendall's test
    with a variance for values that follow each other (Hamed and Rao, 1998), their correlation
    that of a process of order one. None with fewer than 10 points, or all at one time.
    """
    if len(times) < FEWEST_POINTS:
        return None
    times, values = _thinned(times), _thinned(values)
    size = len(times)
    first, second = np.triu_indices(size, 1)
    apart = times[second] - times[first]
    counted = apart > 0
    if not counted.any():
        return None
    slopes = np.sort((values[second] - values[first])[counted] / apart[counted])
    middle = float(np.median(slopes))
    variance = size * (size - 1) * (2 * size + 5) / 18 * _inflation(values - middle * times)
    half = _Z * math.sqrt(variance) / 2
    last = len(slopes) - 1
    low, high = last / 2 - half, last / 2 + half
    return Estimate(
        value=middle,
        low=float(slopes[max(0, math.floor(low))]),
        high=float(slopes[min(last, math.ceil(high))]),
    )


def _thinned(values: Numbers) -> Numbers:
    """Return medians of groups of neighbours where there are too many."""
    if len(values) <= _MOST:
        return values
    return np.array([np.median(group) for group in np.array_split(values, _MOST)])


def _inflation(rest: Numbers) -> float:
    """Return by how much the variance of Kendall's S grows when neighbours are alike."""
    size = len(rest)
    ranks = rest.argsort(kind="stable").argsort(kind="stable").astype(float)
    ranks -= ranks.mean()
    found = float((ranks[1:] * ranks[:-1]).sum() / (ranks * ranks).sum())
    # What is found around a line through few points is too small (Kendall, 1954, for a mean).
    likeness = min(0.95, max(0.0, found + (2 + 4 * found) / size))
    lags = np.arange(1, size)
    left = size - lags
    weights = left * (left - 1.0) * (left - 2.0)
    return float(1 + 2 * (weights * likeness**lags).sum() / (size * (size - 1) * (size - 2)))
