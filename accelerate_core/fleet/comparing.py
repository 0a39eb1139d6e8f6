# SPDX-License-Identifier: Apache-2.0
"""What follows when the answers of a job's copies were compared.

Only now it is known whether a worker did well: one whose answer stands alone has failed, although
it never said so. Where no majority agrees nobody is believed, and nobody is blamed; an even number
of answers may be a tie, and one more worker is asked.
"""

from __future__ import annotations

from . import events as ev
from .desk import Desk
from .jobs import Jobs
from .policy import FailureKind
from .pool import Pool
from .quarantine import Quarantine
from .rules import no_majority
from .state import Attempt, JobState, JobStatus


class Comparing:
    """Judge those that answered, and accept what most of them say."""

    def __init__(self, desk: Desk, jobs: Jobs, pool: Pool, quarantine: Quarantine) -> None:
        self._desk = desk
        self._jobs = jobs
        self._pool = pool
        self._quarantine = quarantine

    def compared(self, event: ev.Compared) -> None:
        """Accept the answer that most copies gave, or go on without a majority."""
        job = self._desk.jobs.get(event.job_id)
        if job is None or job.status is not JobStatus.COMPARING:
            return
        accepted = job.answered.get(event.accepted) if event.accepted is not None else None
        if accepted is None:
            self._undecided(job)
            return
        for number, attempt in job.answered.items():
            self._judge(job, attempt, is_odd=number in event.odd)
        self._jobs.complete(job, accepted)

    def _judge(self, job: JobState, attempt: Attempt, *, is_odd: bool) -> None:
        desk, worker = self._desk, attempt.worker
        is_same = self._pool.known(worker.id, attempt.epoch) is worker
        if not is_odd:
            desk.breakers.answered(attempt, desk.fleet.now_ns)
            if is_same:
                worker.failures = worker.odd = 0
            return
        job.tell(desk.fleet.now_ns, "stands alone", worker.id)
        desk.breakers.failed(attempt, FailureKind.NUMERICAL, desk.fleet.now_ns)
        if is_same:
            worker.odd += 1
            self._quarantine.failed(worker)

    def _undecided(self, job: JobState) -> None:
        names = ", ".join(attempt.worker.id for attempt in job.answered.values())
        job.tell(self._desk.fleet.now_ns, "no majority", names)
        is_tie = len(job.answered) % 2 == 0
        if is_tie and (self._pool.serves(job) or self._pool.has_room()):
            job.copies += 1
            self._jobs.enqueue(job)
        else:
            self._jobs.fail(job, no_majority(job))
