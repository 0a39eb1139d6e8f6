# SPDX-License-Identifier: Apache-2.0
"""Moments that jobs and parts of the machine wait for.

One timer is asked for at a time, however many moments there are.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Container


class Bell(enum.Enum):
    """A part of the machine that wants to be woken."""

    POOL = "pool"
    BREAKERS = "breakers"
    QUARANTINE = "quarantine"


#: Moments of jobs that are over are dropped when this many more are kept than jobs live.
_MANY = 1024


class Alarm:
    """Keep (moment, whose): a job's id, or the bell of a part."""

    def __init__(self) -> None:
        # The number keeps whose from being compared.
        self._moments: list[tuple[int, int, str | Bell]] = []
        self._count = 0
        self._asked_ns: int | None = None
        self._compact_at = _MANY

    def add(self, at_ns: int, whose: str | Bell) -> None:
        """Remember a moment."""
        self._count += 1
        heapq.heappush(self._moments, (at_ns, self._count, whose))

    def due(self, now_ns: int, alive: Container[str]) -> list[str | Bell]:
        """Return whose moment has come; a timer has rung, so another may be asked for.

        Moments of jobs that are not `alive` any more are dropped.
        """
        self._asked_ns = None
        found: list[str | Bell] = []
        while self._moments:
            at_ns, _, whose = self._moments[0]
            lives = isinstance(whose, Bell) or whose in alive
            if at_ns > now_ns and lives:
                break
            heapq.heappop(self._moments)
            if lives:
                found.append(whose)
        return found

    def ask(self, alive: Container[str]) -> int | None:
        """Return the moment to ask a timer for, or None when one that early is on its way."""
        if len(self._moments) > self._compact_at:
            self._compact(alive)
        if not self._moments:
            return None
        earliest = self._moments[0][0]
        if self._asked_ns is not None and self._asked_ns <= earliest:
            return None
        self._asked_ns = earliest
        return earliest

    def _compact(self, alive: Container[str]) -> None:
        """Drop what jobs that are over had waited for: most are, long before their deadlines."""
        self._moments = [
            one for one in self._moments if isinstance(one[2], Bell) or one[2] in alive
        ]
        heapq.heapify(self._moments)
        self._compact_at = 2 * len(self._moments) + _MANY
