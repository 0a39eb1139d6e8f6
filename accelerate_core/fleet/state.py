# SPDX-License-Identifier: Apache-2.0
"""What the machine knows of one worker, one attempt and one job, and what policies see of them."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

from ..types import Target, WorkerInfo
from .breaker import Breaker
from .group import Group
from .instructions import Chapter
from .policy import JobView, WorkerView

if TYPE_CHECKING:
    from .queue import Line


class WorkerStatus(enum.StrEnum):
    STARTING = "starting"  #: or being mended
    READY = "ready"
    SUSPECT = "suspect"  #: silent: it keeps its jobs and gets no more
    QUARANTINED = "quarantined"  #: it failed too often: the same, and it is started anew
    STOPPING = "stopping"
    GONE = "gone"


@attrs.define(eq=False)
class WorkerState:
    """One worker of one epoch."""

    id: str
    epoch: int
    target: Target
    status: WorkerStatus = WorkerStatus.STARTING
    info: WorkerInfo | None = None
    models: set[str] = attrs.field(factory=set)
    #: Models it loads, and since when.
    loading: dict[str, int] = attrs.field(factory=dict)
    #: Jobs placed here, by id, in order; a job waiting for its model to load counts.
    jobs: dict[str, JobState] = attrs.field(factory=dict)
    #: Cancelled attempts (job, number) that have not ended here yet: their places are taken.
    ending: set[tuple[str, int]] = attrs.field(factory=set)
    #: What it last said of a model it loads; "" when it loads none.
    doing: str = ""
    #: Sessions whose state is here; it can be moved, at a price.
    sessions: int = 0
    #: Stop as soon as it is idle.
    is_retired: bool = False
    started_ns: int = 0
    ready_ns: int = 0
    jobs_done: int = 0
    #: Bytes its processes hold, now and first since it last loaded a model.
    held_bytes: int = 0
    first_bytes: int | None = None
    #: Models it could not load.
    refused: set[str] = attrs.field(factory=set)
    failures: int = 0  #: in a row
    #: Answers in a row, of those that were compared, that stood alone. One that nobody compared
    #: does not make up for them.
    odd: int = 0
    #: An attempt on it is overdue, and it has shown no progress since.
    is_stuck: bool = False
    #: When it last showed that it works on something.
    progress_ns: int = 0
    #: How long it has worked since then on late attempts that others answered, and until when.
    fruitless_ns: int = 0
    fruitless_until_ns: int = 0
    #: How many times the usual its attempts took lately, and when that was learnt.
    pace: float = 1.0
    paced_ns: int = 0
    #: Whether the scheduler is told of that, and of each attempt.
    is_paced: bool = False
    #: Where the fleet's index has it: number of jobs, None unless ready; and whether it has room.
    group: Group | None = None
    load: int | None = None
    is_roomy: bool = False
    _seen: WorkerView | None = None

    @property
    def taken(self) -> int:
        """How many of its places are taken."""
        return len(self.jobs) + len(self.ending)

    @property
    def has_room(self) -> bool:
        """Whether it takes another job now."""
        return (
            self.status is WorkerStatus.READY
            and not self.is_retired
            and self.info is not None
            and self.taken < self.info.slots
        )

    def view(self) -> WorkerView:
        """Return what policies see, made anew only where it has changed."""
        if self._seen is None or self._seen.running != self.taken:
            assert self.info is not None
            self._seen = WorkerView(
                id=self.id,
                epoch=self.epoch,
                target=self.target,
                info=self.info,
                models=frozenset(self.models),
                sessions=self.sessions,
                running=self.taken,
                pace=self.pace,
                paced_ns=self.paced_ns,
                attempts=self._attempts() if self.is_paced else (),
            )
        return self._seen

    def _attempts(self) -> tuple[tuple[str, int], ...]:
        live = [job.live[self.id] for job in self.jobs.values()]
        return tuple([(attempt.model, attempt.placed_ns) for attempt in live])

    def changed(self) -> None:
        """Forget what policies saw."""
        self._seen = None

    def took(self, medians: float, now_ns: int) -> None:
        """Learn how many medians an attempt took: a quarter of what is thought of its pace."""
        if not self.is_paced:
            return
        self.pace = self.pace**0.75 * max(medians, 0.01) ** 0.25
        self.paced_ns = now_ns
        self.changed()


class JobStatus(enum.StrEnum):
    PERSISTING = "persisting"  #: durable, and not yet written down
    QUEUED = "queued"
    DELAYED = "delayed"  #: waits for its retry time
    LOADING = "loading"  #: placed; the worker loads its model
    RUNNING = "running"
    COMPARING = "comparing"  #: every copy has answered


@attrs.define(eq=False)
class Attempt:
    """One try of a job on one worker."""

    number: int
    worker: WorkerState
    model: str
    placed_ns: int = attrs.field(default=0, kw_only=True)
    #: Its worker may be mended, and so be of another epoch, before its answer is compared.
    epoch: int = attrs.field(
        init=False, default=attrs.Factory(lambda self: self.worker.epoch, takes_self=True)
    )
    dispatched_ns: int | None = None  #: None while the model loads
    answered_ns: int | None = None
    is_hedge: bool = False  #: beside another that is late
    is_overdue: bool = False
    check_at_ns: int | None = None  #: when it is looked at for being overdue
    #: The circuits it counts in, and since which of their periods.
    calls: dict[Breaker, int] = attrs.field(factory=dict)


@attrs.define(eq=False)
class JobState:
    """One job until it is answered."""

    asked: JobView  #: as it was submitted
    id: str = attrs.field(
        init=False, default=attrs.Factory(lambda self: self.asked.id, takes_self=True)
    )
    #: Targets still worth trying, best first.
    targets: tuple[Target, ...]
    model: str  #: the asked one, or a degraded one
    #: Answers it wants: one more than were asked for when as many disagree.
    copies: int = attrs.field(
        init=False, default=attrs.Factory(lambda self: self.asked.copies, takes_self=True)
    )
    status: JobStatus = JobStatus.QUEUED
    #: Attempts that are under way, by worker.
    live: dict[str, Attempt] = attrs.field(factory=dict)
    #: Attempts that answered, of a job with copies.
    answered: dict[int, Attempt] = attrs.field(factory=dict)
    attempts: int = 0  #: made so far
    #: Workers that failed it and were not started anew since.
    tried: tuple[str, ...] = ()
    #: Its targets are in another order than it asked for, or it waits: circuits were open.
    is_diverted: bool = False
    not_before_ns: int = 0
    #: Its place in the queue: the least comes first; of equal ones, that which came first.
    rank_ns: int = 0
    came_ns: int = 0
    number: int = 0
    failures: int = 0
    #: When its first attempt failed.
    failing_since_ns: int | None = None
    hedge_at_ns: int | None = None
    story: list[Chapter] = attrs.field(factory=list)

    #: The line it waits in, and its entry there.
    line: Line | None = None
    entry: int = 0

    @property
    def recover_until_ns(self) -> int | None:
        """When recovering it ends; None while nothing failed, and without a limit."""
        if self.failing_since_ns is None or self.asked.recovery_ns is None:
            return None
        return self.failing_since_ns + self.asked.recovery_ns

    def is_pressed(self, now_ns: int) -> bool:
        """Whether half its time is over, and it would rather use a fallback than wait."""
        pressed_ns = self.pressed_ns
        return pressed_ns is not None and pressed_ns <= now_ns

    @property
    def pressed_ns(self) -> int | None:
        """When half its time is over; None without a deadline, and without fallbacks."""
        deadline_ns = self.asked.deadline_ns
        if deadline_ns is None or len(self.asked.targets) == 1:
            return None
        return (self.came_ns + deadline_ns) // 2

    @property
    def missing(self) -> int:
        """How many attempts it lacks."""
        return self.copies - len(self.live) - len(self.answered)

    @property
    def avoids(self) -> tuple[str, ...]:
        """Workers that shall not get it: they failed it, work on it, or have answered."""
        if not self.live and not self.answered:
            return self.tried
        # What is started in place of a worker that is gone takes its name, and is another one.
        held = (*self.live.values(), *self.answered.values())
        ids = [one.worker.id for one in held if one.worker.status is not WorkerStatus.GONE]
        return tuple(dict.fromkeys((*self.tried, *ids)))

    def view(self, *, sees_fallbacks: bool = False) -> JobView:
        """Return what policies see: the best target only, unless they see all.

        The next one is a fallback, and comes into play when the best cannot be started, or none
        of its workers is of use any more, or half the job's time is over.
        """
        seen = len(self.targets) if sees_fallbacks else 1
        if self.attempts == 0 and not self.tried and self.asked.targets == self.targets[:seen]:
            return self.asked
        return attrs.evolve(
            self.asked,
            model=self.model,
            targets=self.targets[:seen],
            further=self.targets[seen:],
            attempts=self.attempts,
            tried=self.avoids,
        )

    def tell(self, at_ns: int, what: str, detail: str = "") -> None:
        """Add to its story."""
        self.story.append(Chapter(at_ns, what, detail))
