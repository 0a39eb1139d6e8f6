# SPDX-License-Identifier: Apache-2.0
"""What workers hold, and whether another one fits."""

from __future__ import annotations

#: Workers grow: one more fits where this many times what they hold on average is left. It also
#: keeps a worker from being started where one was just stopped.
_MARGIN = 1.25


class Memory:
    """Sum up what workers were weighed at. Bytes."""

    def __init__(self) -> None:
        #: What workers may still take, as last looked at; None while nobody did.
        self.free_bytes: int | None = None
        #: Workers started since then, which have not taken theirs yet.
        self.started_since = 0
        self._held: dict[str, int] = {}
        self._total = 0

    def started(self) -> None:
        """Learn that a worker is being started."""
        self.started_since += 1

    def weighed(self, worker_id: str, held_bytes: int) -> None:
        """Learn what a worker holds."""
        self._total += held_bytes - self._held.get(worker_id, 0)
        self._held[worker_id] = held_bytes

    def gone(self, worker_id: str) -> None:
        """Forget a worker."""
        self._total -= self._held.pop(worker_id, 0)

    def fits_another(self, limit_bytes: int | None, workers: int) -> bool:
        """Whether an average worker fits beside `workers`; yes while nothing is known."""
        if not self._held:
            return True
        average = self._total / len(self._held)
        taken = average * (self.started_since + _MARGIN)
        if self.free_bytes is not None and self.free_bytes < taken:
            return False
        unknown = workers - len(self._held)
        needed = self._total + average * (unknown + _MARGIN)
        return limit_bytes is None or needed <= limit_bytes

    def is_over(self, limit_bytes: int | None) -> bool:
        """Whether workers hold more than they may."""
        if self.free_bytes is not None and self.free_bytes <= 0:
            return True
        return limit_bytes is not None and self._total > limit_bytes
