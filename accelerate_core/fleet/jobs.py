# SPDX-License-Identifier: Apache-2.0
"""A job's life: taken, tried, recovered, answered exactly once.

An answer counts only if it carries the number of a live attempt and the epoch of its worker.
"""

from __future__ import annotations

from ..errors import AccelerateError, BackendUnavailable
from ..types import Target
from . import events as ev
from . import instructions as do
from .admission import Admission
from .breakers import NO_FAULT
from .desk import Desk
from .lateness import quiet_ns
from .policy import FINAL, Action, FailedAttempt, FailureKind, GiveUp, JobView, Mend, Retry
from .pool import Pool
from .quarantine import Quarantine
from .rules import no_majority, not_recovered, policy_error, rank, timed_out
from .state import Attempt, JobState, JobStatus, WorkerState, WorkerStatus

#: No recovery policy may try a job more often than this.
MAX_ATTEMPTS = 10


class Jobs:
    """Keep every job until it is answered."""

    def __init__(
        self, desk: Desk, pool: Pool, quarantine: Quarantine, admission: Admission
    ) -> None:
        self._desk = desk
        self._admission = admission
        self._pool = pool
        self._quarantine = quarantine
        self._count = 0

    # --- taken --------------------------------------------------------------------------------

    def submitted(self, asked: JobView) -> None:
        """Take a job, or refuse it at once."""
        desk = self._desk
        self._count += 1
        job = JobState(
            asked,
            self._admission.hopeful(asked.targets) or asked.targets,
            asked.model,
            tried=asked.tried,
            came_ns=desk.fleet.now_ns,
            rank_ns=rank(asked, desk.fleet.now_ns),
            number=self._count,
        )
        desk.jobs[job.id] = job
        job.tell(desk.fleet.now_ns, "submitted")
        if desk.is_draining:
            closing = BackendUnavailable("the fleet is closing and takes no more jobs")
            self.fail(job, closing)
            return
        if asked.pin is None and (refusal := self._admission.refusal(asked)) is not None:
            self.fail(job, refusal)
            return
        if asked.deadline_ns is not None:
            desk.alarm.add(asked.deadline_ns, job.id)
        if job.pressed_ns is not None:
            desk.alarm.add(job.pressed_ns, job.id)
        if asked.pin is not None:
            return  # it waits for nobody
        if asked.is_durable:
            job.status = JobStatus.PERSISTING
            desk.queue.park(job)
            desk.say(do.Persist(job.id))
        else:
            self.enqueue(job)

    def persisted(self, event: ev.Persisted) -> None:
        """Let a durable job wait for a worker, now that it cannot be lost."""
        job = self._desk.jobs.get(event.job_id)
        if job is None or job.status is not JobStatus.PERSISTING:
            return
        if event.error is not None:
            self.fail(job, AccelerateError.from_info(event.error))
            return
        job.tell(event.at_ns, "written down")
        self.enqueue(job)

    def cancelled(self, job_id: str) -> None:
        """Forget a job nobody waits for."""
        job = self._desk.jobs.get(job_id)
        if job is not None:
            self._cancel_live(job)
            self._forget(job)

    def enqueue(self, job: JobState) -> None:
        """Let a job wait for a worker."""
        job.status = JobStatus.QUEUED
        self._desk.queue.add(job)

    # --- answered -----------------------------------------------------------------------------

    def finished(self, event: ev.AttemptFinished) -> None:
        """Accept an answer, or keep it for the comparison of copies."""
        found = self._current(event.job_id, event.attempt, event.worker_id, event.epoch)
        if found is None:
            return
        job, attempt = found
        desk = self._desk
        assert attempt.dispatched_ns is not None
        attempt.answered_ns = desk.fleet.now_ns
        took_ns = attempt.answered_ns - attempt.dispatched_ns
        medians = desk.fleet.latencies.add(attempt.model, attempt.worker.target, took_ns)
        if medians is not None:
            attempt.worker.took(medians, attempt.answered_ns)
        job.tell(desk.fleet.now_ns, "answered", attempt.worker.id)
        if job.copies == 1:
            attempt.worker.failures = attempt.worker.odd
            self.complete(job, attempt)
            return
        desk.breakers.answered_copy(attempt, attempt.answered_ns)
        self._leave(job, attempt)
        job.answered[attempt.number] = attempt
        if len(job.answered) == job.copies:
            self._cancel_live(job)
            job.status = JobStatus.COMPARING
            desk.say(do.Compare(job.id, tuple(job.answered)))

    def complete(self, job: JobState, attempt: Attempt) -> None:
        """Answer a job with what an attempt found."""
        worker = attempt.worker
        self._desk.breakers.answered(attempt, self._desk.fleet.now_ns)
        job.live.pop(worker.id, None)
        story = tuple(job.story)
        self._desk.say(do.Complete(job.id, attempt.number, worker.id, attempt.epoch, story))
        self._unplace(job, attempt)
        if job.live:
            self._cancel_live(job)
        self._forget(job)

    def fail(self, job: JobState, error: AccelerateError, action: Action | None = None) -> None:
        """Answer a job with an error, and with what a strategy said of a member of a group."""
        job.tell(self._desk.fleet.now_ns, "failed", error.info.message)
        self._cancel_live(job)
        self._desk.say(do.Fail(job.id, error.info, job.attempts, action, tuple(job.story)))
        self._forget(job)

    # --- tried again --------------------------------------------------------------------------

    def attempt_failed(self, event: ev.AttemptFailed) -> None:
        """See what follows a worker's failure."""
        found = self._current(event.job_id, event.attempt, event.worker_id, event.epoch)
        if found is not None:
            self.recover(*found, event.kind, AccelerateError.from_info(event.error))

    def recover(
        self,
        job: JobState,
        attempt: Attempt,
        kind: FailureKind,
        error: AccelerateError,
        *,
        is_counted: bool = True,
    ) -> None:
        """Ask the recovery policy what follows a failed attempt, and do it.

        One that ended because something else was done to its worker is not counted against it.
        """
        desk, worker = self._desk, attempt.worker
        if is_counted:
            desk.breakers.failed(attempt, kind, desk.fleet.now_ns)
            if kind not in NO_FAULT:
                self._quarantine.failed(worker)
        job.tell(desk.fleet.now_ns, f"attempt failed: {kind}", f"{worker.id}: {error.info.message}")
        has_others = len(job.live) + len(job.answered) > job.copies
        self._leave(job, attempt)
        self._count_failure(job)
        if kind in FINAL:
            self.fail(job, error)
            return
        if has_others:  # a hedge does the same already
            job.tried = tuple(dict.fromkeys((*job.tried, worker.id)))
            return
        until_ns = job.recover_until_ns
        if until_ns is not None and until_ns <= desk.fleet.now_ns:
            self.fail(job, error)
            return
        group = job.asked.group
        since_ns = group.failing_since_ns if group is not None else None
        failed = FailedAttempt(
            job_id=job.id,
            attempt=attempt.number,
            failures=job.failures + (group.failures if group is not None else 0),
            failing_since_ns=since_ns or job.failing_since_ns or 0,
            worker_id=worker.id,
            kind=kind,
            error=error.info,
        )
        try:
            action = desk.recovery.decide(failed, job.view(), desk.fleet)
        except Exception as raised:
            self.fail(job, policy_error("recovery strategy", raised))
            return
        if not isinstance(action, Retry | GiveUp):
            self.fail(job, policy_error("recovery strategy", TypeError(f"returned {action!r}")))
            return
        is_movable = job.asked.pin is None and job.attempts < MAX_ATTEMPTS
        if isinstance(action, Retry) and is_movable:
            self._again(job, action)
        else:
            self.fail(job, error, action if group is not None else None)
        if isinstance(action, Retry) and action.mend is not None:
            self._mend(worker, action.mend, error)

    def unreachable(self, target: Target, error: AccelerateError) -> None:
        """Go on to the next target of the jobs that waited for one that cannot be started."""
        for job in self._desk.queue:
            if not job.targets[0].covers(target) or self._pool.serves(job):
                continue
            job.targets = job.targets[1:]
            job.tell(self._desk.fleet.now_ns, f"{target} cannot be started", error.info.message)
            if not job.targets:
                self.fail(job, no_majority(job) if job.copies > job.asked.copies else error)
            elif not self._desk.queue.is_parked(job):
                self._desk.queue.add(job)

    def due(self, job: JobState) -> None:
        """Do what a job's time has come for, but hedging."""
        now, deadline = self._desk.fleet.now_ns, job.asked.deadline_ns
        if deadline is not None and deadline <= now:
            self.fail(job, timed_out(job, now))
        elif job.recover_until_ns is not None and job.recover_until_ns <= now:
            self.fail(job, not_recovered(job, now))
        elif self._is_delayed(job) and job.not_before_ns <= now:
            self.enqueue(job)

    def _is_delayed(self, job: JobState) -> bool:
        # Not by its status: another copy of it may run meanwhile.
        return self._desk.queue.is_parked(job) and job.status is not JobStatus.PERSISTING

    def _count_failure(self, job: JobState) -> None:
        job.failures += 1
        if job.failing_since_ns is None:
            job.failing_since_ns = self._desk.fleet.now_ns
            if job.recover_until_ns is not None:
                self._desk.alarm.add(job.recover_until_ns, job.id)

    def _again(self, job: JobState, action: Retry) -> None:
        now = self._desk.fleet.now_ns
        job.tried = tuple(dict.fromkeys((*job.tried, *action.avoid)))
        if action.target is not None and action.target in job.targets:
            job.targets = job.targets[job.targets.index(action.target) :]
        if action.model is not None and action.model in job.asked.degraded:
            job.model = action.model
        job.hedge_at_ns = None
        if action.delay_ns <= 0:
            self.enqueue(job)
            return
        job.status = JobStatus.DELAYED
        job.not_before_ns = now + action.delay_ns
        self._desk.alarm.add(job.not_before_ns, job.id)
        self._desk.queue.park(job)

    def _mend(self, worker: WorkerState, how: Mend, error: AccelerateError) -> None:
        """Mend a worker; what else ran there is recovered elsewhere."""
        if worker.status is WorkerStatus.QUARANTINED and how is not Mend.RESTART:
            return  # what mends less than that has not helped
        epoch = worker.epoch
        for job in list(worker.jobs.values()):
            attempt = job.live.get(worker.id)
            if attempt is not None:
                self.recover(job, attempt, FailureKind.LOST, error, is_counted=False)
        # Recovering another job may have had it mended already.
        is_same = self._pool.known(worker.id, epoch) is worker
        if is_same and worker.status is not WorkerStatus.STOPPING and not worker.jobs:
            self._pool.mend(worker, how)

    # --- inside -------------------------------------------------------------------------------

    def _current(
        self, job_id: str, number: int, worker_id: str, epoch: int
    ) -> tuple[JobState, Attempt] | None:
        """Return job and attempt if this answer belongs to a live attempt, else None."""
        job = self._desk.jobs.get(job_id)
        attempt = job.live.get(worker_id) if job is not None else None
        if job is None or attempt is None or attempt.dispatched_ns is None:
            return None
        same = (attempt.number, attempt.epoch) == (number, epoch)
        return (job, attempt) if same else None

    def _cancel_live(self, job: JobState) -> None:
        for attempt in list(job.live.values()):
            if attempt.dispatched_ns is not None:
                worker = attempt.worker
                self._desk.say(do.CancelAttempt(job.id, attempt.number, worker.id, worker.epoch))
                worker.ending.add((job.id, attempt.number))
            self._leave(job, attempt)

    def _leave(self, job: JobState, attempt: Attempt) -> None:
        """Take a job off one of its workers."""
        job.live.pop(attempt.worker.id, None)
        self._unplace(job, attempt)

    def _unplace(self, job: JobState, attempt: Attempt) -> None:
        worker, now_ns = attempt.worker, self._desk.fleet.now_ns
        if attempt.answered_ns is None:  # else its answer tells how it ended, once compared
            self._desk.breakers.dropped(attempt, now_ns)
        if attempt.is_overdue:  # a hedge's answer must not hide that this worker gave none
            worker.fruitless_ns += quiet_ns(attempt, now_ns)
            worker.fruitless_until_ns = now_ns
            self._took_long(attempt, now_ns)
        if worker.jobs.pop(job.id, None) is not None:
            self._desk.fleet.touch(worker)
            self._pool.left(worker)

    def _took_long(self, attempt: Attempt, now_ns: int) -> None:
        """Learn from an attempt that was late and never answered: it would have taken longer."""
        usual_ns = self._desk.fleet.latencies.median_ns(attempt.model, attempt.worker.target)
        if attempt.answered_ns is None and attempt.dispatched_ns is not None and usual_ns:
            medians = (now_ns - attempt.dispatched_ns) / usual_ns
            attempt.worker.took(max(medians, attempt.worker.pace), now_ns)

    def _forget(self, job: JobState) -> None:
        desk = self._desk
        desk.queue.discard(job)
        desk.jobs.pop(job.id, None)
        if desk.is_draining and not desk.jobs:
            self._pool.stop_idle()
