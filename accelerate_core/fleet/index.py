# SPDX-License-Identifier: Apache-2.0
"""All workers, indexed by what policies ask for, and the view policies get of them."""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..types import Target
from .group import Group
from .latency import WINDOW, Latencies
from .policy import ENOUGH, Latency, WorkerView
from .queue import Queue
from .state import WorkerState, WorkerStatus


class Fleet:
    """Index workers so that no policy walks all of them; read-only for policies (`FleetView`)."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.rng = random.Random(0)
        self.history: Mapping[str, Any] = {}
        self.workers: dict[str, WorkerState] = {}
        self.latencies = Latencies()
        self.loads = Latencies()
        self.queue = Queue()
        #: Of the last attempts, which were hedges.
        self._hedges: deque[bool] = deque(maxlen=WINDOW)
        self._hedged = 0
        #: By concrete target; there are few, however many workers there are.
        self._groups: dict[Target, Group] = {}
        #: Groups of which a worker has got room or is gone since this was emptied, and whether
        #: one of any has come to rest or is gone: time to ask about waiting jobs again.
        self.freed: set[Group] = set()
        self.has_rested = False
        #: Concrete targets whose last worker of use failed, until one is of use again.
        self.fallen: set[Target] = set()
        #: Jobs may have to go elsewhere, or may come back, since this was unset.
        self.has_turned = False

    # --- what policies see --------------------------------------------------------------------

    def worker(self, worker_id: str) -> WorkerView | None:
        """Return one ready worker, or None."""
        state = self.workers.get(worker_id)
        return state.view() if state and state.status is WorkerStatus.READY else None

    def latency(self, model: str, target: Target, enough: int = ENOUGH) -> Latency | None:
        """Return how long a model takes on a concrete target; None for fewer attempts."""
        return self.latencies.of(model, target, enough)

    def load_ns(self, model: str, target: Target) -> int | None:
        """Return how long loading a model takes on a concrete target; None: it was never done."""
        found = self.loads.of(model, target, 1)
        return None if found is None else found.p50_ns

    def targets(
        self, targets: Sequence[Target], blocked: frozenset[Target] = frozenset()
    ) -> Sequence[Target]:
        """Return the concrete targets of workers for `targets`, in their order."""
        return [group.target for group in self._covered(targets, blocked)]

    def waiting(self, targets: Sequence[Target]) -> int:
        """Return how many jobs wait for exactly these targets, of any model."""
        return self.queue.waiting(tuple(targets))

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
        group = self.workers.pop(worker.id).group
        assert group is not None
        self.freed.add(group)
        self.has_rested = True
        group.put(worker, load=None, has_room=False)
        if worker.status is not WorkerStatus.STOPPING:
            self.failed(worker)
        worker.status = WorkerStatus.GONE
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
        since_ns = worker.loading.get(model)
        if since_ns is not None:
            self.loads.add(model, worker.target, self.now_ns - since_ns)
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
        worker.loading.pop(model, None)
        if not worker.loading:
            worker.doing = ""

    def touch(self, worker: WorkerState) -> None:
        """Put a worker where it belongs after its status or number of jobs changed."""
        if worker.is_paced:
            worker.changed()
        group = worker.group
        if group is None:
            return  # gone
        load = worker.taken if worker.status is WorkerStatus.READY else None
        was_up, has_room = worker.load is not None, worker.has_room
        group.put(worker, load=load, has_room=has_room)
        if load is not None and not was_up:
            self._rose(group.target)
        elif load is None and worker.status is not WorkerStatus.STOPPING:
            self.failed(worker)
        if has_room:
            self.freed.add(group)
        if load == 0:
            self.has_rested = True

    def failed(self, worker: WorkerState) -> None:
        """Learn that a worker is of no use for now; it may have been the last of its target."""
        group = worker.group
        if group is not None and not group.is_up and group.target not in self.fallen:
            self.fallen.add(group.target)
            self.has_turned = True

    def stuck(self, worker: WorkerState) -> None:
        """Learn that a worker is overdue with something."""
        if not worker.is_stuck:
            worker.is_stuck = True
            self.failed(worker)

    def moved(self, worker: WorkerState) -> None:
        """Learn that a worker makes progress."""
        if worker.is_stuck:
            worker.is_stuck = False
            if worker.load is not None:
                self._rose(worker.target)

    def _rose(self, target: Target) -> None:
        if self.fallen:
            self.fallen.discard(target)
            self.has_turned = True  # it may do what waits for another target, too

    def count(self, target: Target) -> int:
        """Return how many workers there are of one concrete target."""
        group = self._groups.get(target)
        return 0 if group is None else len(group.workers)

    def covering(self, targets: Sequence[Target]) -> Iterator[WorkerState]:
        """Yield every worker for `targets`, whatever its status."""
        for group in self._covered(targets):
            yield from group.workers.values()

    # --- inside -------------------------------------------------------------------------------

    def is_up(self, asked: Target, blocked: frozenset[Target] = frozenset()) -> bool:
        """Whether a worker that serves a target is ready and does not seem stuck."""
        return any(group.is_up for group in self._covered((asked,), blocked))

    def has_fallen(self, asked: Target) -> bool:
        """Whether a target's last worker of use failed, and none is of use again."""
        return any(map(asked.covers, self.fallen)) and not self.is_up(asked)

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
