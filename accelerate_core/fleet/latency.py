# SPDX-License-Identifier: Apache-2.0
"""How long attempts take, by model and concrete target: the last of them, kept in order."""

from __future__ import annotations

import bisect
from collections import deque

from ..types import Target
from .policy import Latency

#: Attempts that are remembered, and how many it takes to say anything.
WINDOW = 128
ENOUGH = 5


#: Attempts of any model by which the pace of the fleet is judged.
PACE = 15


class _Series:
    """Durations in order of coming and in order of length."""

    def __init__(self) -> None:
        self.recent: deque[int] = deque()
        self.sorted: list[int] = []

    def add(self, took_ns: int) -> None:
        if len(self.recent) == WINDOW:
            del self.sorted[bisect.bisect_left(self.sorted, self.recent.popleft())]
        self.recent.append(took_ns)
        bisect.insort(self.sorted, took_ns)


class Latencies:
    """Remember how long attempts took."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, Target], _Series] = {}
        #: How many times their median the last attempts took.
        self._pace: deque[float] = deque(maxlen=PACE)

    def add(self, model: str, target: Target, took_ns: int) -> None:
        """Learn how long an attempt took from dispatch to answer."""
        series = self._series.get((model, target))
        if series is None:
            series = self._series[model, target] = _Series()
        elif len(series.sorted) >= ENOUGH:
            self._pace.append(took_ns / max(1, series.sorted[len(series.sorted) // 2]))
        series.add(took_ns)

    def slowdown(self) -> float:
        """Return how many times longer than usual attempts take lately, at least 1."""
        if len(self._pace) < ENOUGH:
            return 1.0
        return max(1.0, sorted(self._pace)[len(self._pace) // 2])

    def of(self, model: str, target: Target) -> Latency | None:
        """Return what is known; None for fewer than `ENOUGH` attempts."""
        series = self._series.get((model, target))
        if series is None or len(series.sorted) < ENOUGH:
            return None
        took = series.sorted
        p50, p95 = (took[min(len(took) - 1, len(took) * part // 100)] for part in (50, 95))
        return Latency(p50, p95, len(took))
