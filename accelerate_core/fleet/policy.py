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

    LOST = "lost"  #: the worker is gone, and nobody knows why
    CONNECTION = "connection"  #: its connection broke
    CRASH = "crash"  #: its process died
    HANG = "hang"  #: it lives, and answers no heartbeat or makes no progress
    DEVICE_LOST = "device_lost"  #: its GPU device is gone; the page lives
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    MODEL = "model"  #: the model's or the input's own fault: never retried
    NUMERICAL = "numerical"  #: it answered, and wrongly
    OVERLOAD = "overload"  #: it has no room
    BACKEND = "backend"  #: the backend could not be started
    UNSUPPORTED = "unsupported"  #: never retried
    SESSION = "session"  #: the state it needs is gone; the worker is well
    INTERNAL = "internal"


#: Kinds after which nothing is tried again: another worker would say the same.
FINAL = frozenset({FailureKind.MODEL, FailureKind.UNSUPPORTED, FailureKind.SESSION})


class Mend(enum.StrEnum):
    """Say what is done to a worker before it works again, from cheap to dear."""

    DEVICE = "device"  #: open another GPU device in the same page
    PAGE = "page"  #: load the page anew in the same browser
    RESTART = "restart"  #: end its process and start another


#: Attempts it takes to say how long they take.
ENOUGH = 5
#: However long the slowest took, an attempt that takes this many medians is late.
MOST_MEDIANS = 10


@attrs.frozen
class Latency:
    """How long attempts of one model took on one target lately, in nanoseconds."""

    p50_ns: int
    p95_ns: int
    count: int  #: attempts this is made of

    @property
    def late_ns(self) -> int:
        """When an attempt is late: at p95, and no later than `MOST_MEDIANS` medians.

        A few attempts that were stuck are the p95 of a few: nobody else would then be late.
        """
        return min(self.p95_ns, MOST_MEDIANS * self.p50_ns)


@attrs.frozen
class Pin:
    """Name the one worker, of one epoch, that has what a job needs."""

    worker_id: str
    epoch: int


@attrs.frozen(kw_only=True)
class Membership:
    """Tell of the group a job is a member of: parts of one model, with a worker for each.

    When one fails all go back to one restart point, which is the group's affair, not a strategy's.
    """

    unaffected: tuple[str, ...]  #: workers (id) of the other parts: they wait for this one
    failures: int = 0  #: of the group before this one, since it last answered
    failing_since_ns: int | None = None  #: when the first of them was


@attrs.frozen(kw_only=True)
class JobView:
    """One inference request, as policies see it."""

    id: str
    model: str  #: hash of the model
    #: The best target still possible; a scheduler that `sees_fallbacks` gets all, best first.
    targets: tuple[Target, ...]
    task: str | None = None
    is_load_only: bool = False  #: load the model, run nothing
    priority: int = 0
    deadline_ns: int | None = None
    #: How long it may be recovered, from its first failed attempt.
    recovery_ns: int | None = None
    submitted_ns: int = 0
    attempts: int = 0
    #: The fallbacks left after those in `targets`, in order, as recovery strategies are shown them.
    further: tuple[Target, ...] = ()
    #: Workers (id) that already failed this job, or work on it.
    tried: tuple[str, ...] = ()
    #: The same model with smaller weights (keys), best first; empty unless degrading is allowed.
    degraded: tuple[str, ...] = ()
    #: Workers that do it side by side; their answers are compared.
    copies: int = 1
    #: Written down before it is dispatched: it outlives this process.
    is_durable: bool = False
    #: It runs there, slot or no slot, or fails: who submitted it has to move what it needs.
    pin: Pin | None = None
    #: None for a job of its own.
    group: Membership | None = None


@attrs.frozen(kw_only=True)
class WorkerView:
    """One worker, as policies see it."""

    id: str
    epoch: int
    target: Target
    info: WorkerInfo
    models: frozenset[str]  #: hashes of loaded models
    running: int  #: attempts in flight
    sessions: int = 0  #: whose state is there
    #: How many times what is usual on its target its attempts took lately; 1 where nobody knows.
    pace: float = 1.0
    #: When that was last learnt; 0 for never.
    paced_ns: int = 0
    #: (model, since when) of the attempts placed there, those that wait for a load included.
    attempts: tuple[tuple[str, int], ...] = ()

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

    def latency(self, model: str, target: Target, enough: int = ENOUGH) -> Latency | None:
        """Return how long a model takes on a concrete target; None for fewer attempts."""
        ...

    def load_ns(self, model: str, target: Target) -> int | None:
        """Return how long loading a model takes on a concrete target; None: it was never done."""
        ...

    def targets(self, targets: Sequence[Target]) -> Sequence[Target]:
        """Return the concrete targets of workers for `targets`, in their order: they are few."""
        ...

    def waiting(self, targets: Sequence[Target]) -> int:
        """Return how many jobs wait for exactly these targets, of any model."""
        ...

    @property
    def hedged_share(self) -> float:
        """Which part of the last 128 attempts were hedges: 0 to 1; a young fleet may hedge, too."""
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
    """Leave the job queued; it is asked about again when a worker frees up or comes.

    Who waits by choice, while another worker is idle, says until when: it is asked about again at
    that moment, too, and whenever another job like it comes.
    """

    reason: str = ""
    until_ns: int | None = None


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
    failures: int  #: attempts of the job that failed, this one included; hedges and copies count
    failing_since_ns: int  #: when the first of them did
    worker_id: str | None
    kind: FailureKind
    error: ErrorInfo


@attrs.frozen
class Retry:
    """Queue the job again, not on the `avoid` workers, after `delay_ns`."""

    delay_ns: int = 0
    avoid: tuple[str, ...] = ()
    #: What is done to the worker that failed; its other jobs are recovered, too.
    mend: Mend | None = None
    #: Go on with this one of the job's targets, and those after it.
    target: Target | None = None
    #: Go on with this one of the job's degraded models.
    model: str | None = None


@attrs.frozen
class GiveUp:
    """Fail the job with its last error."""


Action: TypeAlias = Retry | GiveUp
