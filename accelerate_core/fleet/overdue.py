# SPDX-License-Identifier: Apache-2.0
"""Attempts that take far longer than those before them.

An overdue attempt is first done by another worker as well, which costs little where it only was
slow. Its worker is given up when it makes no progress for much longer than that, and longer than
the whole fleet has slowed down: on a machine that others use, everything is late and nothing hangs.
"""

from __future__ import annotations

from ..errors import WorkerLost
from .desk import Desk
from .jobs import Jobs
from .lateness import hung_after_ns, quiet_ns
from .placing import Placing
from .policy import FailureKind
from .pool import Pool
from .state import Attempt, JobState, WorkerState, WorkerStatus

_GOING = (WorkerStatus.STOPPING, WorkerStatus.STARTING, WorkerStatus.GONE)


class Overdue:
    """Hedge what is late, and recover what hangs."""

    def __init__(self, desk: Desk, jobs: Jobs, placing: Placing, pool: Pool) -> None:
        self._desk = desk
        self._jobs = jobs
        self._placing = placing
        self._pool = pool

    def due(self, job: JobState) -> None:
        """See to the attempts of a job whose time has come."""
        now_ns = self._desk.fleet.now_ns
        for attempt in list(job.live.values()):
            at_ns = attempt.check_at_ns
            is_live = job.live.get(attempt.worker.id) is attempt
            if is_live and at_ns is not None and at_ns <= now_ns:
                self._check(job, attempt)

    def _check(self, job: JobState, attempt: Attempt) -> None:
        desk, worker = self._desk, attempt.worker
        now_ns = desk.fleet.now_ns
        if not attempt.is_overdue:
            attempt.is_overdue = True
            desk.fleet.stuck(worker)
            job.tell(now_ns, "overdue", worker.id)
            self._placing.want_hedge(job)
        silent_ns = worker.fruitless_ns + quiet_ns(attempt, now_ns)
        hung_ns = hung_after_ns(desk, attempt)
        if silent_ns < hung_ns:
            attempt.check_at_ns = now_ns + hung_ns - silent_ns
        elif worker.loading:
            attempt.check_at_ns = now_ns + hung_ns  # it is the load that takes its time
        else:
            self._hung(worker, silent_ns)
            return
        desk.alarm.add(attempt.check_at_ns, job.id)

    def _hung(self, worker: WorkerState, silent_ns: int) -> None:
        """Recover everything on a worker that does nothing, and end it whatever strategies say."""
        epoch = worker.epoch
        error = WorkerLost(f"no progress for {silent_ns / 1e9:.1f} s", where=worker.id)
        for job in list(worker.jobs.values()):
            attempt = job.live.get(worker.id)
            if attempt is not None:
                self._jobs.recover(job, attempt, FailureKind.HANG, error)
        if self._pool.known(worker.id, epoch) is worker and worker.status not in _GOING:
            self._pool.stop(worker, kill=True)
