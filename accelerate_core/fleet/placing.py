# SPDX-License-Identifier: Apache-2.0
"""Which worker does a job: the scheduler is asked, and its answer checked and carried out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..errors import BackendUnavailable
from . import instructions as do
from .desk import Desk
from .jobs import Jobs
from .policy import FleetView, JobView, Pin, Placement, Reject, Wait
from .pool import Pool
from .queue import Line
from .rules import misplaced, policy_error, unseated
from .state import Attempt, JobState, JobStatus, WorkerState, WorkerStatus

HedgeAfter: TypeAlias = Callable[[JobView, FleetView], int | None]

_TAKES_PINNED = (WorkerStatus.READY, WorkerStatus.SUSPECT)


class Placing:
    """Bring jobs to workers."""

    def __init__(self, desk: Desk, jobs: Jobs, pool: Pool) -> None:
        self._desk = desk
        self._jobs = jobs
        self._pool = pool
        # Only strategies that hedge have it.
        self._hedge_after: HedgeAfter | None = getattr(desk.recovery, "hedge_after", None)

    def place_queued(self) -> None:
        """Place what waits and can be placed."""
        queue, fleet = self._desk.queue, self._desk.fleet
        for target in fleet.freed:
            queue.open_for(target)
        if fleet.has_rested:
            queue.open_starved()
        fleet.freed.clear()
        fleet.has_rested = False
        while (line := queue.best()) is not None:
            if not self._place(queue.head(line), line):
                queue.close(line)

    def place_pinned(self, job_id: str, pin: Pin) -> None:
        """Give a job to the one worker that can do it, or fail it; it never waits for a slot."""
        job = self._desk.jobs.get(job_id)
        if job is None:
            return  # it was refused
        worker = self._pool.known(pin.worker_id, pin.epoch)
        if worker is None or worker.status not in _TAKES_PINNED or job.model not in worker.models:
            self._jobs.fail(job, unseated(pin))
        else:
            self._run_on(job, worker)

    def hedge(self, job: JobState) -> None:
        """Start another attempt beside a late one, where a worker is free; none is started."""
        job.hedge_at_ns = None
        if job.asked.pin is not None:
            return
        try:
            decision = self._desk.scheduler.pick(job.view(), self._desk.fleet)
        except Exception as raised:
            self._jobs.fail(job, policy_error("scheduler", raised))
            return
        if isinstance(decision, Placement) and misplaced(decision, job, self._desk.fleet) is None:
            self._run_on(job, self._desk.fleet.workers[decision.workers[0]], is_hedge=True)

    def model_loaded(self, worker: WorkerState, model: str) -> None:
        """Dispatch the jobs that waited for a model."""
        self._desk.fleet.loaded(worker, model)
        for job in list(worker.jobs.values()):
            attempt = job.live.get(worker.id)
            if attempt is not None and attempt.model == model and attempt.dispatched_ns is None:
                self._dispatch(job, attempt)

    def _place(self, job: JobState, line: Line) -> bool:
        """Place one attempt of a job, or start a worker for it; False when it has to wait."""
        desk = self._desk
        try:
            decision = desk.scheduler.pick(job.view(), desk.fleet)
        except Exception as raised:
            self._jobs.fail(job, policy_error("scheduler", raised))
            return True
        if isinstance(decision, Placement):
            if (wrong := misplaced(decision, job, desk.fleet)) is not None:
                self._jobs.fail(job, policy_error("scheduler", ValueError(wrong)))
            else:
                self._run_on(job, desk.fleet.workers[decision.workers[0]])
            return True
        if isinstance(decision, Reject):
            self._jobs.fail(job, BackendUnavailable(decision.reason))
            return True
        if isinstance(decision, Wait):
            line.is_starved = not self._pool.provide(job)
            return False
        self._jobs.fail(job, policy_error("scheduler", TypeError(f"returned {decision!r}")))
        return True

    def _run_on(self, job: JobState, worker: WorkerState, *, is_hedge: bool = False) -> None:
        desk = self._desk
        job.attempts += 1
        attempt = Attempt(job.attempts, worker, job.model, is_hedge=is_hedge)
        job.live[worker.id] = attempt
        job.tell(desk.fleet.now_ns, "hedged" if is_hedge else "placed", worker.id)
        if job.missing <= 0:
            desk.queue.discard(job.id)
        elif not is_hedge:
            desk.queue.add(job)  # its next copy has to go elsewhere
        worker.jobs[job.id] = job
        desk.fleet.touch(worker)
        if job.model in worker.models:
            self._dispatch(job, attempt)
            return
        if not is_hedge:
            job.status = JobStatus.LOADING
        if job.model not in worker.loading:
            worker.loading.add(job.model)
            desk.say(do.LoadModel(worker.id, worker.epoch, job.model))

    def _dispatch(self, job: JobState, attempt: Attempt) -> None:
        desk, worker = self._desk, attempt.worker
        attempt.dispatched_ns = desk.fleet.now_ns
        if job.asked.is_load_only:
            self._jobs.complete(job, attempt)
            return
        job.status = JobStatus.RUNNING
        desk.fleet.dispatched(is_hedge=attempt.is_hedge)
        desk.say(do.Dispatch(job.id, attempt.number, worker.id, worker.epoch, attempt.model))
        if self._hedge_after is not None and not attempt.is_hedge:
            self._plan_hedge(job, self._hedge_after)

    def _plan_hedge(self, job: JobState, hedge_after: HedgeAfter) -> None:
        desk = self._desk
        try:
            after_ns = hedge_after(job.view(), desk.fleet)
        except Exception as raised:
            self._jobs.fail(job, policy_error("recovery strategy", raised))
            return
        if after_ns is not None:
            job.hedge_at_ns = desk.fleet.now_ns + after_ns
            desk.alarm.add(job.hedge_at_ns, job.id)
