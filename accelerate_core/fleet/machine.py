# SPDX-License-Identifier: Apache-2.0
"""The machine: `handle(event) -> list[Instruction]`. No clock, no socket, no chance in here.

Rules it keeps, whatever policies say:

- A job is answered exactly once. An answer counts only if it carries the number of a live attempt
  and the epoch of the worker it was dispatched to; anything later is dropped.
- A policy is asked before anything changes; one that raises, or places a job where it cannot run,
  fails that job with a PluginError.
- A model's own error never leads to recovery.
- Another target than the first is used only because the job lists it, a smaller precision only
  because the job allows it.

Its parts: `jobs` (a job's life), `comparing` (of its copies), `placing` (which worker does it),
`pool` (which workers there are), `health` (which of them are doubted or lost). They share a `Desk`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import AccelerateError
from ..protocols import Recovery, Scheduler
from . import events as ev
from . import instructions as do
from .admission import Admission
from .alarm import Bell
from .breakers import Breakers
from .comparing import Comparing
from .defaults import FirstIdle, NoRecovery
from .desk import Desk
from .health import Health
from .index import Fleet
from .jobs import MAX_ATTEMPTS, Jobs
from .overdue import Overdue
from .placing import Placing
from .pool import Pool
from .quarantine import Quarantine
from .scaling import Scaling
from .settings import FleetSettings
from .state import JobState

__all__ = ["MAX_ATTEMPTS", "Machine"]

_MOVES = (ev.WorkerReady, ev.AttemptFinished, ev.AttemptFailed, ev.ModelLoaded, ev.WorkerProgress)
_ENDS = (ev.AttemptFinished, ev.AttemptFailed, ev.AttemptCancelled)


class Machine:
    """Decide what the fleet does. Deterministic: equal events give equal instructions."""

    def __init__(
        self,
        *,
        scheduler: Scheduler | None = None,
        recovery: Recovery | None = None,
        settings: FleetSettings | None = None,
    ) -> None:
        self._desk = Desk(
            scheduler or FirstIdle(), recovery or NoRecovery(), settings or FleetSettings()
        )
        self._pool = Pool(self._desk)
        self._scaling = Scaling(self._desk, self._pool)
        self._quarantine = Quarantine(self._desk, self._pool)
        self._admission = Admission(self._desk)
        self._jobs = Jobs(self._desk, self._pool, self._quarantine, self._admission)
        self._comparing = Comparing(self._desk, self._jobs, self._pool, self._quarantine)
        self._placing = Placing(self._desk, self._jobs, self._pool)
        self._health = Health(self._desk, self._jobs, self._placing, self._pool)
        self._overdue = Overdue(self._desk, self._jobs, self._placing, self._pool)
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            ev.JobSubmitted: self._submitted,
            ev.JobCancelled: lambda event: self._jobs.cancelled(event.job_id),
            ev.Persisted: self._jobs.persisted,
            ev.AttemptFinished: self._jobs.finished,
            ev.AttemptFailed: self._jobs.attempt_failed,
            ev.AttemptCancelled: lambda event: None,  # its place is all there is to it
            ev.Compared: self._comparing.compared,
            ev.WorkerReady: self._ready,
            ev.WorkerFailed: self._start_failed,
            ev.WorkerLost: self._lost,
            ev.WorkerStopped: self._stopped,
            ev.WorkerSilent: self._silent,
            ev.WorkerHeard: self._heard,
            ev.WorkerProgress: self._progress,
            ev.SessionsOpen: self._sessions_open,
            ev.WorkerMemory: self._memory,
            ev.Capacity: lambda event: self._pool.capacity(event.free_bytes, event.busy),
            ev.ModelLoaded: self._model_loaded,
            ev.LoadFailed: self._load_failed,
            ev.Retire: lambda event: self._pool.retire(event.target),
            ev.Drain: self._drain,
            ev.Timer: self._timer,
            ev.Snapshot: self._snapshot,
        }

    @property
    def fleet(self) -> Fleet:
        """All workers, and the view policies get of them."""
        return self._desk.fleet

    @property
    def breakers(self) -> Breakers:
        """The circuit breakers."""
        return self._desk.breakers

    @property
    def jobs(self) -> Mapping[str, JobState]:
        """All jobs that are not answered yet, by id."""
        return self._desk.jobs

    def handle(self, event: ev.FleetEvent) -> list[do.Instruction]:
        """Take one event and return what is to be done about it, in order."""
        desk = self._desk
        if event.at_ns > desk.fleet.now_ns:
            desk.fleet.now_ns = event.at_ns
        desk.out = []
        if isinstance(event, _MOVES):
            self._moves(event)
        if isinstance(event, _ENDS):
            self._ended(event)
        self._handlers[type(event)](event)
        self._placing.place()
        self._scaling.settle()
        if (wake_ns := desk.alarm.ask(desk.jobs)) is not None:
            desk.say(do.WakeAt(wake_ns))
        return desk.out

    def _submitted(self, event: ev.JobSubmitted) -> None:
        self._jobs.submitted(event.job)
        if event.job.pin is not None:
            self._placing.place_pinned(event.job.id, event.job.pin)

    # --- workers ------------------------------------------------------------------------------

    def _ready(self, event: ev.WorkerReady) -> None:
        if worker := self._pool.known(event.worker_id, event.epoch):
            self._admission.worked(worker.target)
            self._pool.ready(worker, event.info)

    def _start_failed(self, event: ev.WorkerFailed) -> None:
        if worker := self._pool.known(event.worker_id, event.epoch):
            self._admission.start_failed(worker.target, event.error)
            self._pool.start_failed(worker)
            self._jobs.unreachable(worker.target, AccelerateError.from_info(event.error))

    def _lost(self, event: ev.WorkerLost) -> None:
        if worker := self._pool.known(event.worker_id, event.epoch):
            self._pool.lost(worker)
            self._health.lost(worker, event)

    def _stopped(self, event: ev.WorkerStopped) -> None:
        if worker := self._pool.known(event.worker_id, event.epoch):
            self._pool.gone(worker)

    def _silent(self, event: ev.WorkerSilent) -> None:
        if worker := self._pool.known(event.worker_id, event.epoch):
            self._health.silent(worker, event.silent_ns)

    def _heard(self, event: ev.WorkerHeard) -> None:
        if worker := self._pool.known(event.worker_id, event.epoch):
            self._health.heard(worker)

    def _sessions_open(self, event: ev.SessionsOpen) -> None:
        if worker := self._pool.known(event.worker_id, event.epoch):
            worker.sessions = event.count
            worker.changed()

    def _progress(self, event: ev.WorkerProgress) -> None:
        worker = self._pool.known(event.worker_id, event.epoch)
        if worker is not None and worker.loading and event.doing:
            worker.doing = event.doing

    def _moves(
        self,
        event: ev.WorkerReady
        | ev.AttemptFinished
        | ev.AttemptFailed
        | ev.ModelLoaded
        | ev.WorkerProgress,
    ) -> None:
        """Remember that a worker does not hang, whatever else the event means."""
        if worker := self._pool.known(event.worker_id, event.epoch):
            worker.progress_ns = self.fleet.now_ns
            worker.fruitless_ns = 0
            self.fleet.moved(worker)
            if isinstance(event, ev.AttemptFinished):
                self._pool.answered(worker)

    def _ended(self, event: ev.AttemptFinished | ev.AttemptFailed | ev.AttemptCancelled) -> None:
        if worker := self._pool.known(event.worker_id, event.epoch):
            self._pool.ended(worker, event.job_id, event.attempt)

    def _memory(self, event: ev.WorkerMemory) -> None:
        if worker := self._pool.known(event.worker_id, event.epoch):
            self._pool.weighed(worker, event.held_bytes)

    def _model_loaded(self, event: ev.ModelLoaded) -> None:
        if worker := self._pool.known(event.worker_id, event.epoch):
            self._placing.model_loaded(worker, event.model)
            self._pool.loaded(worker)

    def _load_failed(self, event: ev.LoadFailed) -> None:
        if worker := self._pool.known(event.worker_id, event.epoch):
            self._admission.load_failed(worker.target, event.model, event.kind, event.error)
            self._health.load_failed(worker, event)
            self._pool.load_refused(worker, event.model)

    # --- the fleet ----------------------------------------------------------------------------

    def _drain(self, event: ev.Drain) -> None:
        self._desk.is_draining = True
        if not self._desk.jobs:
            self._pool.stop_idle()

    def _timer(self, event: ev.Timer) -> None:
        queue = self._desk.queue
        for whose in self._desk.alarm.due(self.fleet.now_ns, self._desk.jobs):
            job = None if isinstance(whose, Bell) else self._desk.jobs.get(whose)
            # A scheduler may have waited for this moment.
            if job is None:
                queue.open_all()
            elif job.line is not None:
                queue.open(job.line)
            if whose is Bell.POOL:
                self._scaling.wake()
            elif whose is Bell.QUARANTINE:
                self._quarantine.due()
            if job is None:
                continue
            self._jobs.due(job)
            self._overdue.due(job)
            hedge_at_ns = job.hedge_at_ns
            if hedge_at_ns is not None and hedge_at_ns <= self.fleet.now_ns and len(job.live) == 1:
                self._placing.want_hedge(job)

    def _snapshot(self, event: ev.Snapshot) -> None:
        self.fleet.rng.seed(event.seed)
        self.fleet.history = event.history
