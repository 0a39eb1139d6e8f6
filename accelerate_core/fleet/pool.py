# SPDX-License-Identifier: Apache-2.0
"""Which workers there are: started, mended, stopped."""

from __future__ import annotations

from ..types import Target, WorkerInfo
from . import instructions as do
from .desk import Desk
from .policy import Mend
from .state import JobState, WorkerState, WorkerStatus

#: Workers that take no job soon, and those that may be stopped once they are idle.
_NO_HELP = (WorkerStatus.STOPPING, WorkerStatus.QUARANTINED)
_UP = (WorkerStatus.READY, WorkerStatus.SUSPECT, WorkerStatus.QUARANTINED)


class Pool:
    """Start workers that jobs wait for, and stop those nobody needs."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._epochs: dict[str, int] = {}

    def provide(self, job: JobState) -> bool:
        """See to it that a worker for a waiting job exists or comes; False when none can yet."""
        fleet = self._desk.fleet
        first = job.targets[0]
        for worker in fleet.covering((first,)):
            comes = worker.status not in _NO_HELP and not worker.is_retired
            if comes and worker.id not in job.tried and worker.id not in job.live:
                return True
        if len(fleet.workers) < self._desk.settings.max_workers:
            self.start(first)
            return True
        for worker in fleet.workers.values():
            if worker.status is WorkerStatus.STOPPING or worker.is_retired:
                return False  # room is being made already
        idle = [
            worker
            for worker in fleet.workers.values()
            if worker.status is WorkerStatus.READY and not worker.jobs
        ]
        if idle:
            self.stop(min(idle, key=lambda worker: worker.sessions))
        return False

    def start(self, target: Target) -> None:
        """Start a worker for a target."""
        fleet = self._desk.fleet
        number = 1
        while (worker_id := f"{target}-{number}") in fleet.workers:
            number += 1
        # A worker that failed a job and is started anew is another worker to it.
        self._forgive(worker_id)
        epoch = self._next_epoch(worker_id)
        fleet.add(WorkerState(worker_id, epoch, target, started_ns=fleet.now_ns))
        self._desk.say(do.StartWorker(worker_id, epoch, target))

    def stop(self, worker: WorkerState, *, kill: bool = False) -> None:
        """Stop a worker."""
        worker.status = WorkerStatus.STOPPING
        self._desk.fleet.touch(worker)
        self._desk.say(do.StopWorker(worker.id, worker.epoch, kill))

    def restart(self, worker: WorkerState) -> None:
        """End a worker as soon as nothing runs there; another is started where jobs wait."""
        if worker.jobs:
            worker.is_retired = True
        else:
            self.stop(worker, kill=True)

    def mend(self, worker: WorkerState, how: Mend) -> None:
        """Mend a worker that no job is left on; its models have to be loaded again."""
        if how is Mend.RESTART:
            self.stop(worker, kill=True)
            return
        worker.epoch = self._next_epoch(worker.id)
        worker.status = WorkerStatus.STARTING
        self._desk.fleet.unload_all(worker)
        self._desk.fleet.touch(worker)
        self._forgive(worker.id)
        self._desk.say(do.MendWorker(worker.id, worker.epoch, how))

    def ready(self, worker: WorkerState, info: WorkerInfo) -> None:
        """Let a worker that has come up take jobs."""
        if worker.status is not WorkerStatus.STARTING:
            return
        worker.info = info
        worker.status = WorkerStatus.READY
        self._desk.fleet.touch(worker)
        if worker.is_retired or (self._desk.is_draining and not self._desk.jobs):
            self.stop(worker)

    def left(self, worker: WorkerState) -> None:
        """Stop a worker that was only kept for the job that has left it."""
        if worker.is_retired and not worker.jobs and worker.status in _UP:
            self.stop(worker)

    def retire(self, target: Target) -> None:
        """Stop the workers for a target once they are idle."""
        for worker in list(self._desk.fleet.covering((target,))):
            if worker.status is WorkerStatus.STOPPING:
                continue
            worker.is_retired = True
            self._desk.fleet.freed.add(worker.target)
            self.left(worker)

    def stop_idle(self) -> None:
        """Stop every worker that does nothing."""
        for worker in list(self._desk.fleet.workers.values()):
            if worker.status in _UP and not worker.jobs:
                self.stop(worker)

    def known(self, worker_id: str, epoch: int) -> WorkerState | None:
        """Return a worker if it is of this epoch, else None."""
        worker = self._desk.fleet.workers.get(worker_id)
        return worker if worker is not None and worker.epoch == epoch else None

    def _next_epoch(self, worker_id: str) -> int:
        epoch = self._epochs[worker_id] = self._epochs.get(worker_id, 0) + 1
        return epoch

    def _forgive(self, worker_id: str) -> None:
        queue = self._desk.queue
        for job in queue.avoiding(worker_id):
            job.tried = tuple(one for one in job.tried if one != worker_id)
            if not queue.is_parked(job.id):
                queue.add(job)
