# SPDX-License-Identifier: Apache-2.0
"""Workers that fail again and again: they get no jobs for a while, and are started anew then."""

from __future__ import annotations

import heapq

from .alarm import Bell
from .desk import Desk
from .pool import Pool
from .state import WorkerState, WorkerStatus


class Quarantine:
    """Count what workers fail, and keep those apart that fail only."""

    def __init__(self, desk: Desk, pool: Pool) -> None:
        self._desk = desk
        self._pool = pool
        #: (when it ends, worker, epoch).
        self._ends: list[tuple[int, str, int]] = []
        #: Worker -> how often it was quarantined lately, and until when.
        self._record: dict[str, tuple[int, int]] = {}

    def failed(self, worker: WorkerState) -> None:
        """Learn that a worker failed; put it into quarantine when it did so too often."""
        worker.failures += 1
        settings = self._desk.settings
        if settings.breaker is None:
            return
        is_up = worker.status in (WorkerStatus.READY, WorkerStatus.SUSPECT)
        if worker.failures < settings.quarantine_after or not is_up or worker.is_retired:
            return
        desk = self._desk
        now_ns, longest_ns = desk.fleet.now_ns, settings.quarantine_max_ns
        times, until_ns = self._record.get(worker.id, (0, 0))
        if now_ns - until_ns > longest_ns:
            times = 0  # it worked well for long
        pause_ns = min(settings.quarantine_ns * 2**times, longest_ns)
        self._record[worker.id] = (times + 1, now_ns + pause_ns)
        heapq.heappush(self._ends, (now_ns + pause_ns, worker.id, worker.epoch))
        desk.alarm.add(now_ns + pause_ns, Bell.QUARANTINE)
        worker.status = WorkerStatus.QUARANTINED
        desk.fleet.touch(worker)

    def due(self) -> None:
        """Start those anew whose time is over, once nothing runs there any more."""
        while self._ends and self._ends[0][0] <= self._desk.fleet.now_ns:
            _, worker_id, epoch = heapq.heappop(self._ends)
            worker = self._pool.known(worker_id, epoch)
            if worker is not None and worker.status is WorkerStatus.QUARANTINED:
                self._pool.restart(worker)
