# SPDX-License-Identifier: Apache-2.0
"""What happens in the fleet as metrics: events and instructions in, points out. Pure.

Names, units and attributes follow OpenTelemetry's conventions for metrics: a namespace, dots,
units in UCUM and none in names, `error.type` only for what failed, and so only one instrument for
how often, how long and how badly (https://opentelemetry.io/docs/specs/semconv/general/metrics/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from ..types import Target
from . import events as ev
from . import instructions as do
from .metric import ERROR, MEND, METRICS, MODEL, TARGET, Point
from .policy import FailureKind, JobView


@attrs.define
class _Attempt:
    model: str
    worker_id: str
    begun_ns: int
    is_hedge: bool


@attrs.define
class _Job:
    asked: JobView
    begun_ns: int
    live: dict[int, _Attempt] = attrs.field(factory=dict)
    is_waiting: bool = True
    #: Target of the attempt that failed last, until another is made.
    failed_on: Target | None = None


@attrs.define
class _Worker:
    target: Target
    begun_ns: int
    epoch: int
    is_up: bool = False
    held_bytes: int = 0


class Tally:
    """Count what a machine is told and says. `name_of` turns a model's key into its name."""

    def __init__(self, name_of: Callable[[str], str] = str) -> None:
        self._name_of = name_of
        self._jobs: dict[str, _Job] = {}
        self._workers: dict[str, _Worker] = {}
        self._points: list[Point] = []

    def take(self, event: ev.FleetEvent, said: Iterable[do.Instruction]) -> tuple[Point, ...]:
        """Return the points that one event and its instructions make."""
        self._points = []
        now = event.at_ns
        match event:
            case ev.JobSubmitted() if not event.job.is_load_only:
                self._jobs[event.job.id] = _Job(event.job, now)
                self._add("accelerate.job.submissions", 1, model=event.job.model)
                self._add("accelerate.job.pending", 1, model=event.job.model)
            case ev.JobCancelled():
                self._job_ended(event.job_id, now, None, "cancelled")
            case ev.AttemptFinished():
                self._attempt_ended(event.job_id, event.attempt, now, None)
            case ev.AttemptFailed():
                self._attempt_ended(event.job_id, event.attempt, now, str(event.kind))
            case ev.WorkerReady():
                self._ready(event, now)
            case ev.WorkerFailed():
                self._start_failed(event, now)
            case ev.WorkerLost():
                self._lost(event, now)
            case ev.WorkerMemory():
                self._weighed(self._known(event.worker_id, event.epoch), event.held_bytes)
            case ev.WorkerStopped():
                self._gone(event.worker_id, event.epoch)
        for one in said:
            match one:
                case do.StartWorker():
                    self._workers[one.worker_id] = _Worker(one.target, now, one.epoch)
                case do.StopWorker() if one.kill:
                    self._attempts_ended_on(one.worker_id, now, FailureKind.LOST)
                case do.MendWorker():
                    self._mended(one, now)
                case do.Dispatch():
                    self._dispatched(one, now)
                case do.CancelAttempt():
                    self._attempt_ended(one.job_id, one.attempt, now, "cancelled")
                case do.Complete():
                    self._job_ended(one.job_id, now, one.worker_id, None)
                case do.Fail():
                    self._job_ended(one.job_id, now, None, one.error.kind)
        return tuple(self._points)

    # --- jobs ---------------------------------------------------------------------------------

    def _dispatched(self, order: do.Dispatch, now: int) -> None:
        job = self._jobs.get(order.job_id)
        worker = self._workers.get(order.worker_id)
        if job is None or worker is None:
            return
        model = job.asked.model
        if job.is_waiting:
            self._no_longer_waits(job, now)
        is_hedge = len(job.live) >= job.asked.copies
        if is_hedge:
            self._add("accelerate.job.hedges", 1, model=model, target=worker.target)
        elif job.failed_on is not None:
            self._add("accelerate.job.retries", 1, model=model, target=worker.target)
            if job.failed_on != worker.target:
                self._add("accelerate.job.failovers", 1, model=model, target=worker.target)
            job.failed_on = None
        if order.model != model:
            self._add("accelerate.job.degradations", 1, model=model, target=worker.target)
        job.live[order.attempt] = _Attempt(order.model, order.worker_id, now, is_hedge)

    def _attempt_ended(self, job_id: str, number: int, now: int, error: str | None) -> None:
        job = self._jobs.get(job_id)
        attempt = job.live.pop(number, None) if job is not None else None
        if job is None or attempt is None:
            return
        worker = self._workers.get(attempt.worker_id)
        target = worker.target if worker is not None else None
        took = (now - attempt.begun_ns) / 1e9
        model = attempt.model
        self._add("accelerate.attempt.duration", took, model=model, target=target, error=error)
        if target is not None:
            self._add("accelerate.worker.busy_time", took, target=target)
        if error is not None and error != "cancelled":
            job.failed_on = target

    def _attempts_ended_on(self, worker_id: str, now: int, error: str) -> None:
        for job_id, job in self._jobs.items():
            for number, attempt in list(job.live.items()):
                if attempt.worker_id == worker_id:
                    self._attempt_ended(job_id, number, now, error)

    def _job_ended(self, job_id: str, now: int, worker_id: str | None, error: str | None) -> None:
        job = self._jobs.get(job_id)
        if job is None:
            return
        for number in list(job.live):
            self._attempt_ended(job_id, number, now, "cancelled")
        del self._jobs[job_id]
        if job.is_waiting:
            self._no_longer_waits(job, now)
        worker = self._workers.get(worker_id or "")
        target = worker.target if worker is not None else None
        took = (now - job.begun_ns) / 1e9
        model = job.asked.model
        self._add("accelerate.job.duration", took, model=model, target=target, error=error)

    def _no_longer_waits(self, job: _Job, now: int) -> None:
        job.is_waiting = False
        self._add("accelerate.job.pending", -1, model=job.asked.model)
        self._add("accelerate.job.wait_time", (now - job.begun_ns) / 1e9, model=job.asked.model)

    # --- workers ------------------------------------------------------------------------------

    def _known(self, worker_id: str, epoch: int) -> _Worker | None:
        worker = self._workers.get(worker_id)
        return worker if worker is not None and worker.epoch == epoch else None

    def _ready(self, event: ev.WorkerReady, now: int) -> None:
        worker = self._known(event.worker_id, event.epoch)
        if worker is None or worker.is_up:
            return
        worker.is_up = True
        # The asked target may leave out what the worker's own says: the engine.
        took = (now - worker.begun_ns) / 1e9
        self._add("accelerate.worker.start.duration", took, target=worker.target)
        self._add("accelerate.worker.count", 1, target=worker.target)

    def _weighed(self, worker: _Worker | None, held_bytes: int) -> None:
        if worker is not None and held_bytes != worker.held_bytes:
            more = held_bytes - worker.held_bytes
            worker.held_bytes = held_bytes
            self._add("accelerate.worker.memory", more, target=worker.target)

    def _start_failed(self, event: ev.WorkerFailed, now: int) -> None:
        worker = self._known(event.worker_id, event.epoch)
        if worker is None:
            return
        took, error = (now - worker.begun_ns) / 1e9, event.error.kind
        self._add("accelerate.worker.start.duration", took, target=worker.target, error=error)
        del self._workers[event.worker_id]

    def _lost(self, event: ev.WorkerLost, now: int) -> None:
        worker = self._known(event.worker_id, event.epoch)
        if worker is None:
            return
        kind = str(event.kind)
        self._attempts_ended_on(event.worker_id, now, kind)
        self._add("accelerate.worker.losses", 1, target=worker.target, error=kind)
        self._gone(event.worker_id, event.epoch)

    def _gone(self, worker_id: str, epoch: int) -> None:
        worker = self._known(worker_id, epoch)
        if worker is not None:
            if worker.is_up:
                self._add("accelerate.worker.count", -1, target=worker.target)
            self._weighed(worker, 0)
            del self._workers[worker_id]

    def _mended(self, order: do.MendWorker, now: int) -> None:
        worker = self._workers.get(order.worker_id)
        if worker is None:
            return
        self._attempts_ended_on(order.worker_id, now, FailureKind.LOST)
        self._add("accelerate.worker.mends", 1, target=worker.target, how=str(order.how))
        if worker.is_up:
            self._add("accelerate.worker.count", -1, target=worker.target)
        self._weighed(worker, 0)
        self._workers[order.worker_id] = _Worker(worker.target, now, order.epoch)

    # --- inside -------------------------------------------------------------------------------

    def _add(
        self,
        name: str,
        value: float,
        *,
        model: str | None = None,
        target: Target | None = None,
        error: str | None = None,
        how: str | None = None,
    ) -> None:
        attributes: dict[str, Any] = {}
        if model is not None:
            attributes[MODEL] = self._name_of(model)
        if target is not None:
            attributes[TARGET] = str(target)
        if error is not None:
            attributes[ERROR] = error
        if how is not None:
            attributes[MEND] = how
        metric = METRICS[name]
        self._points.append(Point(name, metric.instrument, metric.unit, value, attributes))
