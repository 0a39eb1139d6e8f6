# SPDX-License-Identifier: Apache-2.0
"""How many workers a target shall have, and which of them have to go.

- A target gets more workers when its workers are busy and its jobs wait for `SCALE_UP_NS`, while
  the machine has cores to spare; at most twice as many as it has, and not again before
  `COOLDOWN_NS`.
- It needs as many as had work at the same time within the last `idle_ns` (times the patience of
  its `Usage`), and spares; those beyond are stopped. A start after a stop doubles that patience,
  up to 64 times: no constant load starts and stops for ever.
- What it needs is started again, unasked, at the moment it is lost or killed; with a growing pause
  while that fails. Where fewer than `min_workers` are left that nobody doubts, nobody waits for it.
- A worker that is old, worn or has grown is retired once its replacement is ready; where there is
  no room for one, first.
"""

from __future__ import annotations

import heapq

from ..types import Target
from .alarm import Bell
from .desk import Desk
from .pool import Pool
from .settings import SECOND
from .state import WorkerState, WorkerStatus
from .usage import Usage

#: Jobs that wait for less do not call for another worker: starting a browser takes longer.
SCALE_UP_NS = 2 * SECOND
COOLDOWN_NS = 5 * SECOND
#: Part of the slots in use from which on workers count as busy.
BUSY = 0.8
#: Part of the machine's cores in use from which on another worker makes nothing faster.
CORES_BUSY = 0.85
#: Models loaded on a spare.
HOT_MODELS = 2


class Scaling:
    """Keep the number of workers of each target right."""

    def __init__(self, desk: Desk, pool: Pool) -> None:
        self._desk = desk
        self._pool = pool
        #: Moments asked for that are to come.
        self._moments: list[int] = []
        #: Replacement -> whom it replaces.
        self._replaces: dict[str, WorkerState] = {}

    def settle(self) -> None:
        """See to the targets something happened to."""
        pool = self._pool
        if pool.fresh:
            fresh, pool.fresh = pool.fresh, []
            for worker in fresh:
                self._warm(worker)
        if pool.unsettled:
            # In order of coming, so that replays are equal.
            unsettled, pool.unsettled = list(pool.unsettled), {}
            for target in unsettled:
                self._look(target)

    def wake(self) -> None:
        """See to all targets: a moment one of them waits for has come."""
        while self._moments and self._moments[0] <= self._desk.fleet.now_ns:
            heapq.heappop(self._moments)
        for target, usage in self._pool.usages.items():
            usage.is_watched = usage.is_planned = False
            self._pool.unsettled[target] = None

    def _wake_at(self, at_ns: int) -> None:
        # After the next moment all targets are seen to, and ask again for what comes later.
        if not self._moments or at_ns < self._moments[0]:
            heapq.heappush(self._moments, at_ns)
            self._desk.alarm.add(at_ns, Bell.POOL)

    # --- one target ---------------------------------------------------------------------------

    def _look(self, target: Target) -> None:
        desk, usage = self._desk, self._pool.usage(target)
        if desk.is_draining or not usage.is_used:
            return
        workers = [
            worker
            for worker in desk.fleet.covering((target,))
            if worker.status is not WorkerStatus.STOPPING and not worker.is_retired
        ]
        trusted = sum(worker.status is not WorkerStatus.SUSPECT for worker in workers)
        missing = max(
            self._needed(usage, workers) - len(workers), desk.settings.min_workers - trusted
        )
        if missing > 0:
            self._start_unasked(target, usage, missing)
        elif desk.settings.is_adaptive:
            self._grow(target, usage, workers)
        self._shrink(usage, workers)
        self._recycle(target, workers)
        if desk.settings.hot_spares:
            for worker in workers:
                self._warm(worker)

    def _needed(self, usage: Usage, workers: list[WorkerState]) -> int:
        """Return how many are started unasked."""
        settings = self._desk.settings
        if not (settings.min_workers or settings.hot_spares or settings.is_adaptive):
            return 0
        load = self._load(usage, workers)
        return self._with_spares(load if settings.is_adaptive else min(load, 1))

    def _load(self, usage: Usage, workers: list[WorkerState]) -> int:
        """Return how many workers had work at the same time lately."""
        peak = usage.peak(self._desk.fleet.now_ns, self._span_ns(usage))
        slots = max([worker.info.slots for worker in workers if worker.info], default=1)
        return -(-peak // slots)

    def _with_spares(self, load: int) -> int:
        settings = self._desk.settings
        return min(max(settings.min_workers, load) + settings.hot_spares, settings.max_workers)

    def _span_ns(self, usage: Usage) -> int | None:
        idle_ns = self._desk.settings.idle_ns
        return None if idle_ns is None else idle_ns * usage.patience

    # --- more ---------------------------------------------------------------------------------

    def _start_unasked(self, target: Target, usage: Usage, missing: int) -> None:
        now = self._desk.fleet.now_ns
        if now < usage.start_after_ns:
            self._wake_at(usage.start_after_ns)
            return
        for _ in range(missing):
            if not self._pool.has_room():
                return
            self._pool.start(target)

    def _grow(self, target: Target, usage: Usage, workers: list[WorkerState]) -> None:
        """Start more workers when jobs wait long for busy ones."""
        desk = self._desk
        lines = [line for line in desk.queue.lines() if line.target == target]
        if not lines or not workers:
            return
        now = desk.fleet.now_ns
        # What they waited before the last worker was ready calls for nobody else.
        since_ns = max(worker.ready_ns for worker in workers)
        at_ns = SCALE_UP_NS + max(since_ns, min(desk.queue.head(line).came_ns for line in lines))
        if usage.grown_ns is not None:
            at_ns = max(at_ns, usage.grown_ns + COOLDOWN_NS)
        if now >= at_ns:
            if self._are_busy(workers) and self._pool.busy < CORES_BUSY:
                waiting = sum(line.waiting for line in lines)
                for _ in range(min(waiting, len(workers))):
                    if self._pool.has_room():
                        self._pool.start(target)
                        usage.grown_ns = now
            at_ns = now + SCALE_UP_NS
        if not usage.is_watched:
            usage.is_watched = True
            self._wake_at(at_ns)

    @staticmethod
    def _are_busy(workers: list[WorkerState]) -> bool:
        if any(worker.status is WorkerStatus.STARTING for worker in workers):
            return False  # help is on its way
        slots = sum(worker.info.slots for worker in workers if worker.info)
        return sum(worker.taken for worker in workers) >= BUSY * slots

    # --- fewer --------------------------------------------------------------------------------

    def _shrink(self, usage: Usage, workers: list[WorkerState]) -> None:
        """Stop idle workers beyond those that were needed lately."""
        span_ns, now = self._span_ns(usage), self._desk.fleet.now_ns
        if span_ns is None:
            return
        # Whoever is to be replaced stays until the other is ready.
        staying = sum(worker.id not in self._replaces for worker in workers)
        surplus = staying - self._with_spares(self._load(usage, workers))
        next_ns = usage.falls_at_ns(span_ns)
        for worker in sorted(workers, key=lambda one: (len(one.models), -one.ready_ns)):
            if surplus <= 0:
                break
            if worker.status is not WorkerStatus.READY or worker.jobs or worker.sessions:
                continue
            if now < worker.ready_ns + span_ns:
                next_ns = min(next_ns or worker.ready_ns + span_ns, worker.ready_ns + span_ns)
                continue
            usage.stopped_ns = now
            self._pool.stop(worker)
            workers.remove(worker)
            surplus -= 1
        usage.is_planned = next_ns is not None and len(workers) > self._desk.settings.floor
        if next_ns is not None and usage.is_planned:
            self._wake_at(next_ns)

    # --- others -------------------------------------------------------------------------------

    def _recycle(self, target: Target, workers: list[WorkerState]) -> None:
        """Replace workers that are old, worn or grown, one at a time."""
        settings, now = self._desk.settings, self._desk.fleet.now_ns
        if any(worker in self._replaces.values() for worker in workers):
            return
        for worker in workers:
            if worker.status is not WorkerStatus.READY or worker.sessions:
                continue
            if not self._is_worn(worker):
                if settings.max_age_ns is not None:
                    self._wake_at(worker.ready_ns + settings.max_age_ns)
                continue
            if not self._pool.has_room():
                self._pool.let_go(worker)
            elif now >= self._pool.usage(target).start_after_ns:
                self._replaces[self._pool.start(worker.target).id] = worker
            return

    def _is_worn(self, worker: WorkerState) -> bool:
        settings, now = self._desk.settings, self._desk.fleet.now_ns
        is_old = settings.max_age_ns is not None and now >= worker.ready_ns + settings.max_age_ns
        is_worn = (
            settings.max_jobs_per_worker is not None
            and worker.jobs_done >= settings.max_jobs_per_worker
        )
        has_grown = (
            settings.max_growth_bytes is not None
            and worker.held_bytes - (worker.first_bytes or 0) > settings.max_growth_bytes
        )
        return is_old or is_worn or has_grown

    # --- warm ---------------------------------------------------------------------------------

    def _warm(self, worker: WorkerState) -> None:
        """Load on a worker without work what its jobs will want; then let go whom it replaces."""
        settings = self._desk.settings
        old = self._replaces.get(worker.id)
        if worker.status is WorkerStatus.GONE:
            self._replaces.pop(worker.id, None)
            return
        if worker.status is not WorkerStatus.READY or self._desk.is_draining:
            return
        wanted: list[str] = []
        if settings.hot_spares or settings.is_adaptive:
            wanted += self._pool.usage(worker.target).hottest(HOT_MODELS)
        if old is not None:
            wanted += [model for model in old.models if model not in wanted]
        if not worker.jobs or old is not None:
            for model in wanted:
                self._pool.load(worker, model)
        if old is not None and not worker.loading:
            del self._replaces[worker.id]
            if old.status is not WorkerStatus.GONE:
                self._pool.let_go(old)
