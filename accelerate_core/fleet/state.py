# SPDX-License-Identifier: Apache-2.0
"""What the machine knows: workers and jobs, indexed, and the view policies get of them."""

from __future__ import annotations

import enum
import itertools
import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from ..types import Target, WorkerInfo
from .breaker import Breaker
from .group import Group
from .instructions import Chapter
from .latency import WINDOW, Latencies
from .policy import JobView, Latency, WorkerView

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
    loading: set[str] = attrs.field(factory=set)
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
    #: When it last showed that it works on something.
    progress_ns: int = 0
    #: How long it has worked since then on late attempts that others answered, and until when.
    fruitless_ns: int = 0
    fruitless_until_ns: int = 0
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
            )
        return self._seen

    def changed(self) -> None:
        """Forget what policies saw: its models or its epoch are others."""
        self._seen = None


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

    def view(self) -> JobView:
        """Return what policies see: the best target only.

        The next one is a fallback, and comes into play when the best cannot be started, not when
        it is merely busy.
        """
        if len(self.asked.targets) == 1 and self.attempts == 0 and not self.tried:
            return self.asked
        return attrs.evolve(
            self.asked,
            model=self.model,
            targets=self.targets[:1],
            further=self.targets[1:],
            attempts=self.attempts,
            tried=self.avoids,
        )

    def tell(self, at_ns: int, what: str, detail: str = "") -> None:
        """Add to its story."""
        self.story.append(Chapter(at_ns, what, detail))


class Fleet:
    """Index workers so that no policy walks all of them; read-only for policies (`FleetView`)."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.rng = random.Random(0)
        self.history: Mapping[str, Any] = {}
        self.workers: dict[str, WorkerState] = {}
        self.latencies = Latencies()
        #: Of the last attempts, which were hedges.
        self._hedges: deque[bool] = deque(maxlen=WINDOW)
        self._hedged = 0
        #: By concrete target; there are few, however many workers there are.
        self._groups: dict[Target, Group] = {}
        #: Groups of which a worker has got room or is gone since this was emptied, and whether
        #: one of any has come to rest or is gone: time to ask about waiting jobs again.
        self.freed: set[Group] = set()
        self.has_rested = False

    # --- what policies see --------------------------------------------------------------------

    def worker(self, worker_id: str) -> WorkerView | None:
        """Return one ready worker, or None."""
        state = self.workers.get(worker_id)
        return state.view() if state and state.status is WorkerStatus.READY else None

    def latency(self, model: str, target: Target) -> Latency | None:
        """Return how long a model takes on a concrete target; None for too few attempts."""
        return self.latencies.of(model, target)

    @property
    def hedged_share(self) -> float:
        """Return which part of the last attempts were hedges; before there are so many, of them."""
        return self._hedged / WINDOW

    def idle(
        self, targets: Sequence[Target], k: int = 16, blocked: frozenset[Target] = frozenset()
    ) -> Sequence[WorkerView]:
        """Return up to `k` workers with room, least busy first, then longest waiting."""
        groups = [one for one in self._covered(targets, blocked) if one.roomy]
        if not groups:
            return ()  # and no walk over all that are busy
        return _first(k, (state for state in _least_busy(groups) if state.is_roomy))

    def idle_with(
        self,
        model: str,
        targets: Sequence[Target],
        k: int = 16,
        blocked: frozenset[Target] = frozenset(),
    ) -> Sequence[WorkerView]:
        """Return up to `k` workers with room that have the model loaded."""
        groups = self._covered(targets, blocked)
        return _first(k, itertools.chain.from_iterable(one.with_model(model) for one in groups))

    def least_loaded(
        self, k: int, targets: Sequence[Target], blocked: frozenset[Target] = frozenset()
    ) -> Sequence[WorkerView]:
        """Return up to `k` ready workers, busy ones included, least busy first."""
        return _first(k, _least_busy(self._covered(targets, blocked)))

    # --- what the machine changes -------------------------------------------------------------

    def add(self, worker: WorkerState) -> None:
        """Learn a worker that is being started."""
        self.workers[worker.id] = worker
        group = self._groups.get(worker.target)
        if group is None:
            group = self._groups[worker.target] = Group(worker.target)
        group.workers[worker.id] = worker
        worker.group = group

    def remove(self, worker: WorkerState) -> None:
        """Forget a worker."""
        worker.status = WorkerStatus.GONE
        group = self.workers.pop(worker.id).group
        assert group is not None
        self.freed.add(group)
        self.has_rested = True
        group.put(worker, load=None, has_room=False)
        del group.workers[worker.id]
        if not group.workers:
            del self._groups[worker.target]

    def dispatched(self, *, is_hedge: bool) -> None:
        """Count an attempt."""
        if len(self._hedges) == WINDOW:
            self._hedged -= self._hedges[0]
        self._hedges.append(is_hedge)
        self._hedged += is_hedge

    def loaded(self, worker: WorkerState, model: str) -> None:
        """Remember that a worker has a model."""
        self.not_loaded(worker, model)
        worker.models.add(model)
        worker.changed()
        worker.first_bytes = None
        if worker.group is not None:
            worker.group.loaded(worker, model)

    def unload_all(self, worker: WorkerState) -> None:
        """Remember that a worker has lost its models: its page or device is another."""
        if worker.group is not None:
            worker.group.unloaded(worker)
        worker.models.clear()
        worker.changed()
        worker.loading.clear()
        worker.doing = ""

    def not_loaded(self, worker: WorkerState, model: str) -> None:
        """Remember that a worker loads a model no more."""
        worker.loading.discard(model)
        if not worker.loading:
            worker.doing = ""

    def touch(self, worker: WorkerState) -> None:
        """Put a worker where it belongs after its status or number of jobs changed."""
        group = worker.group
        if group is None:
            return  # gone
        load = worker.taken if worker.status is WorkerStatus.READY else None
        has_room = worker.has_room
        group.put(worker, load=load, has_room=has_room)
        if has_room:
            self.freed.add(group)
        if load == 0:
            self.has_rested = True

    def targets(self, asked: Target) -> Iterator[Target]:
        """Yield the concrete targets of workers for a target."""
        return (group.target for group in self._covered((asked,)))

    def count(self, target: Target) -> int:
        """Return how many workers there are of one concrete target."""
        group = self._groups.get(target)
        return 0 if group is None else len(group.workers)

    def covering(self, targets: Sequence[Target]) -> Iterator[WorkerState]:
        """Yield every worker for `targets`, whatever its status."""
        for group in self._covered(targets):
            yield from group.workers.values()

    # --- inside -------------------------------------------------------------------------------

    def is_blocked(self, asked: Target, blocked: frozenset[Target]) -> bool:
        """Whether every group of workers that would serve a target is blocked."""
        if not any(asked.covers(target) for target in blocked):
            return False
        return not self._covered((asked,), blocked)

    def _covered(
        self, targets: Sequence[Target], blocked: frozenset[Target] = frozenset()
    ) -> list[Group]:
        """Return the groups that serve any of some targets, in order of these."""
        found: list[Group] = []
        for asked in targets:
            for group in self._groups.values():
                if (
                    asked.covers(group.target)
                    and not (blocked and group.target in blocked)
                    and group not in found
                ):
                    found.append(group)
        return found


def _least_busy(groups: Sequence[Group]) -> Iterator[WorkerState]:
    for load in sorted({load for group in groups for load in group.by_load}):
        for group in groups:
            yield from group.by_load.get(load, {}).values()


def _first(k: int, states: Iterable[WorkerState]) -> Sequence[WorkerView]:
    return tuple([state.view() for state in itertools.islice(states, k)])
