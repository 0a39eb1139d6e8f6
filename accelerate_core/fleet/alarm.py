# SPDX-License-Identifier: Apache-2.0
"""Moments jobs wait for. One timer is asked for at a time, however many moments there are."""

from __future__ import annotations

import heapq
from collections.abc import Container


class Alarm:
    """Keep (moment, job) pairs; jobs that are over by then are dropped on the way."""

    def __init__(self) -> None:
        self._moments: list[tuple[int, str]] = []
        self._asked_ns: int | None = None

    def add(self, at_ns: int, job_id: str) -> None:
        """Remember a moment."""
        heapq.heappush(self._moments, (at_ns, job_id))

    def due(self, now_ns: int, alive: Container[str]) -> list[str]:
        """Return the jobs whose moment has come; a timer has rung, so another may be asked for."""
        self._asked_ns = None
        found: list[str] = []
        while self._moments:
            at_ns, job_id = self._moments[0]
            if at_ns > now_ns and job_id in alive:
                break
            heapq.heappop(self._moments)
            if job_id in alive:
                found.append(job_id)
        return found

    def ask(self) -> int | None:
        """Return the moment to ask a timer for, or None when one that early is on its way."""
        if not self._moments:
            return None
        earliest = self._moments[0][0]
        if self._asked_ns is not None and self._asked_ns <= earliest:
            return None
        self._asked_ns = earliest
        return earliest
