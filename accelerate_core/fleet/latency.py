# SPDX-License-Identifier: Apache-2.0
"""How long attempts take, by model and concrete target: the last of them, kept in order."""

from __future__ import annotations

import bisect
import math
from collections import deque
from typing import Generic, TypeVar

from ..types import Target
from .policy import ENOUGH, Latency

#: Attempts that are remembered.
WINDOW = 128

#: Attempts of any model by which the pace of the fleet is judged.
PACE = 15

Number = TypeVar("Number", int, float)


class _Series(Generic[Number]):
    """The last numbers, and their percentiles: these are read more often than numbers come."""

    def __init__(self, window: int, first: Number) -> None:
        self._window = window
        self._recent: deque[Number] = deque()
        self._sorted: list[Number] = []
        self.count = 0
        self.p50: Number = first
        self.p95: Number = first
        self.add(first)

    def add(self, number: Number) -> None:
        ordered = self._sorted
        if self.count == self._window:
            del ordered[bisect.bisect_left(ordered, self._recent.popleft())]
        else:
            self.count += 1
        self._recent.append(number)
        bisect.insort(ordered, number)
        self.p50, self.p95 = ordered[self.count * 50 // 100], ordered[self.count * 95 // 100]


class Latencies:
    """Remember how long attempts took."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, Target], _Series[int]] = {}
        #: How many times their median the last attempts took.
        self._pace: _Series[float] | None = None

    def add(self, model: str, target: Target, took_ns: int) -> float | None:
        """Learn how long an attempt took from dispatch to answer; return how many medians.

        None where there is no median yet.
        """
        series = self._series.get((model, target))
        if series is None:
            self._series[model, target] = _Series(WINDOW, took_ns)
            return None
        pace = None
        if series.count >= ENOUGH:
            pace = took_ns / (series.p50 or 1)
            if self._pace is None:
                self._pace = _Series(PACE, pace)
            else:
                self._pace.add(pace)
        series.add(took_ns)
        return pace

    def slowdown(self) -> float:
        """Return how many times longer than usual attempts take lately, at least 1."""
        if self._pace is None or self._pace.count < ENOUGH:
            return 1.0
        return max(1.0, self._pace.p50)

    def usual_ns(
        self, model: str, target: Target, calls: int, *, most: float = math.inf
    ) -> float | None:
        """Return what nearly all attempts take, or would at the pace the fleet has now.

        It is no more than `most` times the median at that pace. None for fewer than `calls`
        attempts.
        """
        series = self._series.get((model, target))
        if series is None or series.count < ENOUGH or series.count < calls:
            return None
        pace_ns = series.p50 * self.slowdown()
        return min(max(series.p95, pace_ns), most * pace_ns)

    def median_ns(self, model: str, target: Target) -> int | None:
        """Return the median; None for fewer than `ENOUGH` attempts."""
        series = self._series.get((model, target))
        return None if series is None or series.count < ENOUGH else series.p50

    def of(self, model: str, target: Target, enough: int = ENOUGH) -> Latency | None:
        """Return what is known; None for fewer than `enough` attempts."""
        series = self._series.get((model, target))
        if series is None or series.count < enough:
            return None
        return Latency(series.p50, series.p95, series.count)
