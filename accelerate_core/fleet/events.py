# SPDX-License-Identifier: Apache-2.0
"""What happens to the fleet: the only way anything gets into the machine, the time included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from ..errors import ErrorInfo
from ..types import Target, WorkerInfo
from .policy import FailureKind, JobView


@attrs.frozen(kw_only=True)
class Happened:
    """Base of all events: when, in nanoseconds of the runner's monotonic clock."""

    at_ns: int


@attrs.frozen(kw_only=True)
class JobSubmitted(Happened):
    """Somebody wants a job done."""

    job: JobView


@attrs.frozen(kw_only=True)
class JobCancelled(Happened):
    """Nobody wants the job's answer any more."""

    job_id: str


@attrs.frozen(kw_only=True)
class WorkerReady(Happened):
    """A worker that was asked for is ready."""

    worker_id: str
    epoch: int
    info: WorkerInfo


@attrs.frozen(kw_only=True)
class WorkerFailed(Happened):
    """A worker that was asked for could not be started."""

    worker_id: str
    epoch: int
    error: ErrorInfo


@attrs.frozen(kw_only=True)
class WorkerLost(Happened):
    """A worker died, hung or vanished."""

    worker_id: str
    epoch: int
    error: ErrorInfo
    kind: FailureKind = FailureKind.LOST


@attrs.frozen(kw_only=True)
class WorkerSilent(Happened):
    """A worker answers no heartbeat; it may be slow, or gone."""

    worker_id: str
    epoch: int
    silent_ns: int


@attrs.frozen(kw_only=True)
class WorkerHeard(Happened):
    """A worker that was silent answers again."""

    worker_id: str
    epoch: int


@attrs.frozen(kw_only=True)
class WorkerMemory(Happened):
    """A worker's process tree was weighed."""

    worker_id: str
    epoch: int
    held_bytes: int


@attrs.frozen(kw_only=True)
class Capacity(Happened):
    """The machine was looked at: memory that workers may still take, and its cores."""

    free_bytes: int
    #: Part of all cores' time in use since it was looked at before: 0 to 1.
    busy: float = 0.0


@attrs.frozen(kw_only=True)
class SessionsOpen(Happened):
    """So many sessions have their state on a worker: others are stopped before it."""

    worker_id: str
    epoch: int
    count: int


@attrs.frozen(kw_only=True)
class WorkerStopped(Happened):
    """A worker that was asked to stop is gone."""

    worker_id: str
    epoch: int


@attrs.frozen(kw_only=True)
class WorkerProgress(Happened):
    """A worker said what it does for the model it loads."""

    worker_id: str
    epoch: int
    doing: str


@attrs.frozen(kw_only=True)
class ModelLoaded(Happened):
    """A model is loaded on a worker."""

    worker_id: str
    epoch: int
    model: str


@attrs.frozen(kw_only=True)
class LoadFailed(Happened):
    """A model could not be loaded on a worker."""

    worker_id: str
    epoch: int
    model: str
    kind: FailureKind
    error: ErrorInfo


@attrs.frozen(kw_only=True)
class AttemptFinished(Happened):
    """A worker answered an attempt."""

    job_id: str
    attempt: int
    worker_id: str
    epoch: int


@attrs.frozen(kw_only=True)
class AttemptFailed(Happened):
    """A worker failed an attempt."""

    job_id: str
    attempt: int
    worker_id: str
    epoch: int
    kind: FailureKind
    error: ErrorInfo


@attrs.frozen(kw_only=True)
class AttemptCancelled(Happened):
    """An attempt has ended that was to be stopped: its place on the worker is free."""

    job_id: str
    attempt: int
    worker_id: str
    epoch: int


@attrs.frozen(kw_only=True)
class Persisted(Happened):
    """A durable job is written down, or could not be."""

    job_id: str
    error: ErrorInfo | None = None


@attrs.frozen(kw_only=True)
class Compared(Happened):
    """The answers of a job's copies were compared; `odd` are attempts that stand alone."""

    job_id: str
    accepted: int | None  #: attempt whose answer counts, None when no two agree
    odd: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class Retire(Happened):
    """Workers for a target are no longer needed: stop them when idle."""

    target: Target


@attrs.frozen(kw_only=True)
class Drain(Happened):
    """Take no more jobs; stop the workers when the last one is done."""


@attrs.frozen(kw_only=True)
class Timer(Happened):
    """The moment asked for by a WakeAt has come."""


@attrs.frozen(kw_only=True)
class Snapshot(Happened):
    """Give policies a seed for their random numbers and past measurements."""

    seed: int = 0
    history: Mapping[str, Any] = attrs.field(factory=dict)


FleetEvent: TypeAlias = (
    JobSubmitted
    | JobCancelled
    | WorkerReady
    | WorkerFailed
    | WorkerLost
    | WorkerSilent
    | WorkerHeard
    | WorkerMemory
    | SessionsOpen
    | Capacity
    | Persisted
    | Compared
    | WorkerStopped
    | WorkerProgress
    | ModelLoaded
    | LoadFailed
    | AttemptFinished
    | AttemptFailed
    | AttemptCancelled
    | Retire
    | Drain
    | Timer
    | Snapshot
)
