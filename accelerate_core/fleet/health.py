# SPDX-License-Identifier: Apache-2.0
"""What is known of workers that fall silent or are lost, and what follows for their jobs."""

from __future__ import annotations

import enum

from ..errors import AccelerateError
from ..errors import WorkerLost as WorkerLostError
from . import events as ev
from .desk import Desk
from .jobs import Jobs
from .placing import Placing
from .policy import FailureKind
from .pool import Pool
from .state import WorkerState, WorkerStatus


class Condition(enum.StrEnum):
    """How a worker is, to those who use the fleet."""

    STARTING = "starting"  #: or being mended
    READY = "ready"
    BUSY = "busy"  #: ready, and without room
    SUSPECT = "suspect"  #: silent: it keeps its jobs and gets no more
    QUARANTINED = "quarantined"  #: it failed too often, and will be started anew
    DRAINING = "draining"  #: it stops, or does so when its last job is done
    LOST = "lost"


def condition(worker: WorkerState) -> Condition:
    """Return how a worker is."""
    status = worker.status
    if status is WorkerStatus.GONE:
        return Condition.LOST
    if status is WorkerStatus.STOPPING or worker.is_retired:
        return Condition.DRAINING
    if status is WorkerStatus.READY:
        return Condition.READY if worker.has_room else Condition.BUSY
    return Condition(status.value)


class Health:
    """Doubt workers, and mourn them."""

    def __init__(self, desk: Desk, jobs: Jobs, placing: Placing, pool: Pool) -> None:
        self._desk = desk
        self._pool = pool
        self._jobs = jobs
        self._placing = placing

    def silent(self, worker: WorkerState, silent_ns: int) -> None:
        """Doubt a worker: it gets no more jobs, and those it has are hedged at once."""
        doubtful = silent_ns >= self._desk.settings.suspect_after_ns
        if worker.status is not WorkerStatus.READY or not doubtful:
            return
        worker.status = WorkerStatus.SUSPECT
        self._desk.fleet.touch(worker)
        self._pool.doubted(worker)
        for job in list(worker.jobs.values()):
            job.tell(self._desk.fleet.now_ns, "worker silent", worker.id)
            self._placing.want_hedge(job)

    def heard(self, worker: WorkerState) -> None:
        """Trust a worker again."""
        if worker.status is WorkerStatus.SUSPECT:
            worker.status = WorkerStatus.READY
            self._desk.fleet.touch(worker)

    def lost(self, worker: WorkerState, event: ev.WorkerLost) -> None:
        """Recover the jobs of a worker that is gone."""
        self._desk.fleet.remove(worker)
        error = AccelerateError.from_info(event.error)
        if not isinstance(error, WorkerLostError):
            error = WorkerLostError(event.error.message, where=event.worker_id)
        self._recover_all(worker, event.kind, error)

    def load_failed(self, worker: WorkerState, event: ev.LoadFailed) -> None:
        """Recover the jobs that waited for a model that cannot be loaded there."""
        self._desk.fleet.not_loaded(worker, event.model)
        error = AccelerateError.from_info(event.error)
        self._recover_all(worker, event.kind, error, loading=event.model)

    def _recover_all(
        self,
        worker: WorkerState,
        kind: FailureKind,
        error: AccelerateError,
        *,
        loading: str | None = None,
    ) -> None:
        for job in list(worker.jobs.values()):
            attempt = job.live.get(worker.id)
            if attempt is None:
                continue
            is_loading = attempt.dispatched_ns is None and attempt.model == loading
            if loading is None or is_loading:
                self._jobs.recover(job, attempt, kind, error)
