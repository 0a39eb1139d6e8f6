# SPDX-License-Identifier: Apache-2.0
"""What policies see and say: views of job, worker and fleet; placements and actions."""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import attrs

from ..errors import ErrorInfo
from ..types import Target, WorkerInfo


class FailureKind(enum.StrEnum):
    """Classify why an attempt failed."""

    LOST = "lost"  #: the worker died, hung or vanished
    TIMEOUT = "timeout"
    MODEL = "model"  #: the model's or the input's own fault: never retried
    BACKEND = "backend"  #: the backend could not be started
    UNSUPPORTED = "unsupported"
    INTERNAL = "internal"


@attrs.frozen(kw_only=True)
class JobView:
    """One inference request, as policies see it."""

    id: str
    model: str  #: hash of the model
    targets: tuple[Target, ...]  #: acceptable targets, best first; more than one is a fallback list
    task: str | None = None
    is_load_only: bool = False  #: load the model, run nothing
    priority: int = 0
    deadline_ns: int | None = None
    submitted_ns: int = 0
    attempts: int = 0
    #: Workers (id) that already failed this job.
    tried: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class WorkerView:
    """One worker, as policies see it."""

    id: str
    epoch: int
    target: Target
    info: WorkerInfo
    models: frozenset[str]  #: hashes of loaded models
    running: int  #: attempts in flight

    @property
    def is_idle(self) -> bool:
        """Whether it has a free slot."""
        return self.running < self.info.slots


class FleetView(Protocol):
    """An indexed, read-only view. No policy needs to walk all workers."""

    @property
    def now_ns(self) -> int:
        """Time of the event being handled."""
        ...

    @property
    def rng(self) -> random.Random:
        """Random numbers, seeded by an event: replays are equal."""
        ...

    @property
    def history(self) -> Mapping[str, Any]:
        """A snapshot of past measurements, delivered by an event."""
        ...

    def worker(self, worker_id: str) -> WorkerView | None:
        """Return one worker, or None when it is gone."""
        ...

    def idle_with(self, model: str, targets: Sequence[Target], k: int = 16) -> Sequence[WorkerView]:
        """Return up to `k` workers with room for `targets` that have the model loaded."""
        ...

    def idle(self, targets: Sequence[Target], k: int = 16) -> Sequence[WorkerView]:
        """Return up to `k` workers with room for `targets`: least busy, then longest waiting."""
        ...

    def least_loaded(self, k: int, targets: Sequence[Target]) -> Sequence[WorkerView]:
        """Return up to `k` ready workers, busy ones included, least busy first."""
        ...


@attrs.frozen
class Placement:
    """Run on these workers: one, or several for shards and redundancy."""

    workers: tuple[str, ...]


@attrs.frozen
class Wait:
    """Leave the job queued; it is asked about again when a worker frees up or comes."""

    reason: str = ""


@attrs.frozen
class Reject:
    """Fail the job now."""

    reason: str


Decision: TypeAlias = Placement | Wait | Reject


@attrs.frozen(kw_only=True)
class FailedAttempt:
    """Tell a recovery policy what failed."""

    job_id: str
    attempt: int
    worker_id: str | None
    kind: FailureKind
    error: ErrorInfo


@attrs.frozen
class Retry:
    """Queue the job again, not on the `avoid` workers, after `delay_ns`."""

    delay_ns: int = 0
    avoid: tuple[str, ...] = ()


@attrs.frozen
class GiveUp:
    """Fail the job with its last error."""


Action: TypeAlias = Retry | GiveUp
