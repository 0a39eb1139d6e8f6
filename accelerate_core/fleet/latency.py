# SPDX-License-Identifier: Apache-2.0
"""How long attempts take, by model and concrete target: the last of them, kept in order."""

from __future__ import annotations

import bisect
from collections import deque
from typing import Generic, TypeVar

from ..types import Target
from .policy import Latency

#: Attempts that are remembered, and how many it takes to say anything.
WINDOW = 128
ENOUGH = 5

#: Attempts of any model by which the pace of the fleet is judged.
PACE = 15

Number = TypeVar("Number", int, float)


class _Series(Generic[Number]):
    """The last numbers in order of coming and in order of size."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.recent: deque[Number] = deque()
        self.sorted: list[Number] = []

    def add(self, number: Number) -> None:
        if len(self.recent) == self.window:
            del self.sorted[bisect.bisect_left(self.sorted, self.recent.popleft())]
        self.recent.append(number)
        bisect.insort(self.sorted, number)

    def percentile(self, part: int) -> Number:
        return self.sorted[len(self.sorted) * part // 100]


class Latencies:
    """Remember how long attempts took."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, Target], _Series[int]] = {}
        #: How many times their median the last attempts took.
        self._pace: _Series[float] = _Series(PACE)

    def add(self, model: str, target: Target, took_ns: int) -> None:
        """Learn how long an attempt took from dispatch to answer."""
        series = self._series.get((model, target))
        if series is None:
            series = self._series[model, target] = _Series(WINDOW)
        elif len(series.sorted) >= ENOUGH:
            self._pace.add(took_ns / max(1, series.percentile(50)))
        series.add(took_ns)

    def slowdown(self) -> float:
        """Return how many times longer than usual attempts take lately, at least 1."""
        if len(self._pace.sorted) < ENOUGH:
            return 1.0
        return max(1.0, self._pace.percentile(50))

    def usual_ns(self, model: str, target: Target, calls: int) -> float | None:
        """Return what nearly all attempts take, or would at the pace the fleet has now.

        None for fewer than `calls` attempts.
        """
        series = self._series.get((model, target))
        if series is None or len(series.sorted) < max(calls, ENOUGH):
            return None
        return max(series.percentile(95), series.percentile(50) * self.slowdown())

    def of(self, model: str, target: Target) -> Latency | None:
        """Return what is known; None for fewer than `ENOUGH` attempts."""
        series = self._series.get((model, target))
        if series is None or len(series.sorted) < ENOUGH:
            return None
        return Latency(series.percentile(50), series.percentile(95), len(series.sorted))
