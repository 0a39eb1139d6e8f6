# SPDX-License-Identifier: Apache-2.0
"""The machine: `handle(event) -> list[Instruction]`. No clock, no socket, no chance in here.

Rules it keeps, whatever policies say:

- A job is answered exactly once. An answer counts only if it carries the job's current attempt
  and the epoch of the worker it was dispatched to; anything later is dropped.
- A policy is asked before anything changes; one that raises, or places a job where it cannot run,
  fails that job with a PluginError.
- A model's own error never leads to recovery.
- Another target than the first is used only because the job lists it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import AccelerateError, BackendUnavailable
from ..errors import WorkerLost as WorkerLostError
from ..protocols import Recovery, Scheduler
from ..types import Target
from . import events as ev
from . import instructions as do
from .alarm import Alarm
from .defaults import FirstIdle, NoRecovery
from .policy import (
    FailedAttempt,
    FailureKind,
    GiveUp,
    Placement,
    Reject,
    Retry,
    Wait,
)
from .rules import misplaced, policy_error, timed_out
from .state import Fleet, JobState, JobStatus, WorkerState, WorkerStatus

#: No recovery policy may try a job more often than this.
MAX_ATTEMPTS = 10


class Machine:
    """Decide what the fleet does. Deterministic: equal events give equal instructions."""

    def __init__(
        self,
        *,
        scheduler: Scheduler | None = None,
        recovery: Recovery | None = None,
        max_workers: int = 4,
    ) -> None:
        self.fleet = Fleet()
        self.jobs: dict[str, JobState] = {}
        self._scheduler: Scheduler = scheduler or FirstIdle()
        self._recovery: Recovery = recovery or NoRecovery()
        self._max_workers = max_workers
        self._queue: dict[str, JobState] = {}
        self._epochs: dict[str, int] = {}
        self._is_draining = False
        self._alarm = Alarm()
        self._out: list[do.Instruction] = []
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            ev.JobSubmitted: self._submitted,
            ev.JobCancelled: self._cancelled,
            ev.WorkerReady: self._ready,
            ev.WorkerFailed: self._start_failed,
            ev.WorkerLost: self._lost,
            ev.WorkerStopped: self._stopped,
            ev.WorkerProgress: self._progress,
            ev.ModelLoaded: self._model_loaded,
            ev.LoadFailed: self._load_failed,
            ev.AttemptFinished: self._finished,
            ev.AttemptFailed: self._attempt_failed,
            ev.Retire: self._retire,
            ev.Drain: self._drain,
            ev.Timer: self._timer,
            ev.Snapshot: self._snapshot,
        }

    def handle(self, event: ev.FleetEvent) -> list[do.Instruction]:
        """Take one event and return what is to be done about it, in order."""
        self.fleet.now_ns = max(self.fleet.now_ns, event.at_ns)
        self._out = []
        self._handlers[type(event)](event)
        if self._queue:
            self._place_queued()
        if (wake_ns := self._alarm.ask()) is not None:
            self._out.append(do.WakeAt(wake_ns))
        return self._out

    # --- jobs ---------------------------------------------------------------------------------

    def _submitted(self, event: ev.JobSubmitted) -> None:
        job = JobState(event.job, event.job.targets)
        self.jobs[job.id] = job
        if self._is_draining:
            self._fail(job, BackendUnavailable("the fleet is closing and takes no more jobs"))
            return
        self._queue[job.id] = job
        if job.asked.deadline_ns is not None:
            self._alarm.add(job.asked.deadline_ns, job.id)

    def _cancelled(self, event: ev.JobCancelled) -> None:
        job = self.jobs.get(event.job_id)
        if job is not None:
            self._cancel_attempt(job)
            self._forget(job)

    def _finished(self, event: ev.AttemptFinished) -> None:
        job = self._current(event.job_id, event.attempt, event.worker_id, event.epoch)
        if job is not None:
            self._out.append(do.Complete(event.job_id, event.attempt, event.worker_id, event.epoch))
            self._forget(job)

    def _attempt_failed(self, event: ev.AttemptFailed) -> None:
        job = self._current(event.job_id, event.attempt, event.worker_id, event.epoch)
        if job is not None:
            self._recover(job, event.kind, AccelerateError.from_info(event.error))

    def _recover(self, job: JobState, kind: FailureKind, error: AccelerateError) -> None:
        worker_id = job.worker.id if job.worker else None
        failed = FailedAttempt(
            job_id=job.id,
            attempt=job.attempts,
            worker_id=worker_id,
            kind=kind,
            error=error.info,
        )
        if kind in (FailureKind.MODEL, FailureKind.UNSUPPORTED):
            self._fail(job, error)
            return
        try:
            action = self._recovery.decide(failed, job.view(), self.fleet)
        except Exception as raised:
            self._fail(job, policy_error("recovery strategy", raised))
            return
        if isinstance(action, Retry) and job.attempts < MAX_ATTEMPTS:
            self._leave_worker(job)
            job.tried = tuple(dict.fromkeys((*job.tried, *action.avoid)))
            job.status = JobStatus.QUEUED
            if action.delay_ns > 0:
                job.status = JobStatus.DELAYED
                job.not_before_ns = self.fleet.now_ns + action.delay_ns
                self._alarm.add(job.not_before_ns, job.id)
            self._queue[job.id] = job
        elif isinstance(action, Retry | GiveUp):
            self._fail(job, error)
        else:
            self._fail(job, policy_error("recovery strategy", TypeError(f"returned {action!r}")))

    def _fail(self, job: JobState, error: AccelerateError) -> None:
        self._out.append(do.Fail(job.id, error.info, job.attempts))
        self._forget(job)

    def _forget(self, job: JobState) -> None:
        self._leave_worker(job)
        self._queue.pop(job.id, None)
        self.jobs.pop(job.id, None)
        if self._is_draining and not self.jobs:
            self._stop_idle()

    def _leave_worker(self, job: JobState) -> None:
        worker, job.worker = job.worker, None
        if worker is not None:
            worker.jobs.pop(job.id, None)
            self.fleet.touch(worker)
            if worker.is_retired and not worker.jobs and worker.status is WorkerStatus.READY:
                self._stop(worker)

    def _cancel_attempt(self, job: JobState) -> None:
        if job.status is JobStatus.RUNNING and job.worker is not None:
            worker = job.worker
            self._out.append(do.CancelAttempt(job.id, job.attempts, worker.id, worker.epoch))

    def _current(self, job_id: str, attempt: int, worker_id: str, epoch: int) -> JobState | None:
        """Return the job if this answer belongs to its current attempt, else None."""
        job = self.jobs.get(job_id)
        if job is None or job.status is not JobStatus.RUNNING or job.worker is None:
            return None
        same = (job.attempts, job.worker.id, job.worker.epoch) == (attempt, worker_id, epoch)
        return job if same else None

    # --- placing ------------------------------------------------------------------------------

    def _place_queued(self) -> None:
        # Once one job of a kind must wait, the others behind it must too.
        waiting: set[tuple[tuple[Target, ...], str, tuple[str, ...]]] = set()
        for job in self._in_order():
            kind = (job.targets, job.asked.model, job.tried)
            if kind in waiting or job.status is JobStatus.DELAYED:
                continue
            if not self._place(job):
                waiting.add(kind)

    def _in_order(self) -> list[JobState]:
        queued = list(self._queue.values())
        if len(queued) > 1 and any(job.asked.priority for job in queued):
            queued.sort(key=lambda job: -job.asked.priority)  # stable: first come, first served
        return queued

    def _place(self, job: JobState) -> bool:
        """Place one job, or start a worker for it; False when it has to wait."""
        try:
            decision = self._scheduler.pick(job.view(), self.fleet)
        except Exception as raised:
            self._fail(job, policy_error("scheduler", raised))
            return True
        if isinstance(decision, Placement):
            if (wrong := misplaced(decision, job, self.fleet)) is not None:
                self._fail(job, policy_error("scheduler", ValueError(wrong)))
            else:
                self._run_on(job, self.fleet.workers[decision.workers[0]])
            return True
        if isinstance(decision, Reject):
            self._fail(job, BackendUnavailable(decision.reason))
            return True
        if isinstance(decision, Wait):
            self._provide(job)
            return False
        self._fail(job, policy_error("scheduler", TypeError(f"returned {decision!r}")))
        return True

    def _run_on(self, job: JobState, worker: WorkerState) -> None:
        self._queue.pop(job.id, None)
        job.worker = worker
        worker.jobs[job.id] = job
        self.fleet.touch(worker)
        model = job.asked.model
        if model in worker.models:
            self._dispatch(job, worker)
            return
        job.status = JobStatus.LOADING
        if model not in worker.loading:
            worker.loading.add(model)
            self._out.append(do.LoadModel(worker.id, worker.epoch, model))

    def _dispatch(self, job: JobState, worker: WorkerState) -> None:
        if job.asked.is_load_only:
            self._out.append(do.Complete(job.id, job.attempts, worker.id, worker.epoch))
            self._forget(job)
            return
        job.status = JobStatus.RUNNING
        job.attempts += 1
        self._out.append(
            do.Dispatch(job.id, job.attempts, worker.id, worker.epoch, job.asked.model)
        )

    def _provide(self, job: JobState) -> None:
        """See to it that a worker for the job exists or comes."""
        if not job.targets:
            return
        first = job.targets[0]
        useful = [
            worker
            for worker in self.fleet.covering((first,))
            if worker.status is not WorkerStatus.STOPPING
            and not worker.is_retired
            and worker.id not in job.tried
        ]
        if useful:
            return
        if len(self.fleet.workers) < self._max_workers:
            self._start(first)
            return
        for worker in self.fleet.workers.values():
            if worker.status is WorkerStatus.STOPPING or worker.is_retired:
                return  # room is being made already
        for worker in self.fleet.workers.values():
            if worker.status is WorkerStatus.READY and not worker.jobs:
                self._stop(worker)
                return

    # --- workers ------------------------------------------------------------------------------

    def _start(self, target: Target) -> None:
        number = 1
        while (worker_id := f"{target}-{number}") in self.fleet.workers:
            number += 1
        # A worker that failed a job and is started anew is another worker to it.
        for job in self._queue.values():
            job.tried = tuple(one for one in job.tried if one != worker_id)
        epoch = self._epochs[worker_id] = self._epochs.get(worker_id, 0) + 1
        self.fleet.add(WorkerState(worker_id, epoch, target))
        self._out.append(do.StartWorker(worker_id, epoch, target))

    def _stop(self, worker: WorkerState) -> None:
        worker.status = WorkerStatus.STOPPING
        self.fleet.touch(worker)
        self._out.append(do.StopWorker(worker.id, worker.epoch))

    def _known(self, worker_id: str, epoch: int) -> WorkerState | None:
        worker = self.fleet.workers.get(worker_id)
        return worker if worker is not None and worker.epoch == epoch else None

    def _ready(self, event: ev.WorkerReady) -> None:
        worker = self._known(event.worker_id, event.epoch)
        if worker is None or worker.status is not WorkerStatus.STARTING:
            return
        worker.info = event.info
        worker.status = WorkerStatus.READY
        self.fleet.touch(worker)
        if worker.is_retired or (self._is_draining and not self.jobs):
            self._stop(worker)

    def _start_failed(self, event: ev.WorkerFailed) -> None:
        worker = self._known(event.worker_id, event.epoch)
        if worker is None:
            return
        self.fleet.remove(worker)
        error = AccelerateError.from_info(event.error)
        for job in list(self._queue.values()):
            if not job.targets or not job.targets[0].covers(worker.target):
                continue
            job.targets = job.targets[1:]
            if not job.targets:
                self._fail(job, error)

    def _lost(self, event: ev.WorkerLost) -> None:
        worker = self._known(event.worker_id, event.epoch)
        if worker is None:
            return
        self.fleet.remove(worker)
        error = AccelerateError.from_info(event.error)
        if not isinstance(error, WorkerLostError):
            error = WorkerLostError(event.error.message, where=event.worker_id)
        for job in list(worker.jobs.values()):
            self._count_load(job)
            self._recover(job, FailureKind.LOST, error)

    def _stopped(self, event: ev.WorkerStopped) -> None:
        worker = self._known(event.worker_id, event.epoch)
        if worker is not None:
            self.fleet.remove(worker)

    def _progress(self, event: ev.WorkerProgress) -> None:
        worker = self._known(event.worker_id, event.epoch)
        if worker is not None and worker.loading:
            worker.doing = event.doing

    def _model_loaded(self, event: ev.ModelLoaded) -> None:
        worker = self._known(event.worker_id, event.epoch)
        if worker is None:
            return
        self.fleet.loaded(worker, event.model)
        for job in list(worker.jobs.values()):
            if job.status is JobStatus.LOADING and job.asked.model == event.model:
                self._dispatch(job, worker)

    def _load_failed(self, event: ev.LoadFailed) -> None:
        worker = self._known(event.worker_id, event.epoch)
        if worker is None:
            return
        self.fleet.not_loaded(worker, event.model)
        error = AccelerateError.from_info(event.error)
        for job in list(worker.jobs.values()):
            if job.status is JobStatus.LOADING and job.asked.model == event.model:
                self._count_load(job)
                self._recover(job, event.kind, error)

    def _count_load(self, job: JobState) -> None:
        """Count a try that ended before its dispatch, or a policy could go on for ever."""
        if job.status is JobStatus.LOADING:
            job.attempts += 1

    def _retire(self, event: ev.Retire) -> None:
        for worker in list(self.fleet.covering((event.target,))):
            if worker.status is WorkerStatus.STOPPING:
                continue
            worker.is_retired = True
            if worker.status is WorkerStatus.READY and not worker.jobs:
                self._stop(worker)

    def _drain(self, event: ev.Drain) -> None:
        self._is_draining = True
        if not self.jobs:
            self._stop_idle()

    def _stop_idle(self) -> None:
        for worker in list(self.fleet.workers.values()):
            if worker.status is WorkerStatus.READY and not worker.jobs:
                self._stop(worker)

    def _timer(self, event: ev.Timer) -> None:
        now = self.fleet.now_ns
        for job_id in self._alarm.due(now, self.jobs):
            job = self.jobs[job_id]
            deadline = job.asked.deadline_ns
            if deadline is not None and deadline <= now:
                self._time_out(job)
            elif job.status is JobStatus.DELAYED and job.not_before_ns <= now:
                job.status = JobStatus.QUEUED

    def _time_out(self, job: JobState) -> None:
        self._cancel_attempt(job)
        self._fail(job, timed_out(job, self.fleet.now_ns))

    def _snapshot(self, event: ev.Snapshot) -> None:
        self.fleet.rng.seed(event.seed)
        self.fleet.history = event.history
