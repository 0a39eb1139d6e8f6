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

    def add(self, model: str, target: Target, took_ns: int) -> None:
        """Learn how long an attempt took from dispatch to answer."""
        self._series.setdefault((model, target), _Series()).add(took_ns)

    def of(self, model: str, target: Target) -> Latency | None:
        """Return what is known; None for fewer than `ENOUGH` attempts."""
        series = self._series.get((model, target))
        if series is None or len(series.sorted) < ENOUGH:
            return None
        took = series.sorted
        p50, p95 = (took[min(len(took) - 1, len(took) * part // 100)] for part in (50, 95))
        return Latency(p50, p95, len(took))
