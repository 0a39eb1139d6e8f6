# SPDX-License-Identifier: Apache-2.0
"""Fleets for testing policies: the fleet's own index, watched for policies that walk it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..fleet.index import Fleet
from ..fleet.policy import ENOUGH, JobView, Latency, WorkerView
from ..fleet.state import Attempt, JobState, WorkerState, WorkerStatus
from ..types import Target, WorkerInfo

#: Worker views one decision may ask for, in a fleet of any size.
MOST_VIEWS = 512


class WatchedFleet:
    """A fleet to build step by step, which is also the view a policy gets.

    AssertionError when one decision (since `begin`) asks for more than `MOST_VIEWS` workers.
    """

    def __init__(self, seed: int = 0) -> None:
        self.now_ns = 0
        self.rng = random.Random(seed)
        self.history: Mapping[str, Any] = {}
        self._fleet = Fleet()
        self._views = 0

    def begin(self) -> None:
        """Start counting anew: a decision is about to be made."""
        self._views = 0

    # --- what policies see --------------------------------------------------------------------

    def worker(self, worker_id: str) -> WorkerView | None:
        """Return one worker, or None when it is gone."""
        self._count(1)
        return self._fleet.worker(worker_id)

    def idle(self, targets: Sequence[Target], k: int = 16) -> Sequence[WorkerView]:
        """Return up to `k` workers with room for `targets`."""
        return self._counted(self._fleet.idle(targets, k))

    def idle_with(self, model: str, targets: Sequence[Target], k: int = 16) -> Sequence[WorkerView]:
        """Return up to `k` workers with room for `targets` that have the model loaded."""
        return self._counted(self._fleet.idle_with(model, targets, k))

    def least_loaded(self, k: int, targets: Sequence[Target]) -> Sequence[WorkerView]:
        """Return up to `k` ready workers, busy ones included."""
        return self._counted(self._fleet.least_loaded(k, targets))

    def latency(self, model: str, target: Target, enough: int = ENOUGH) -> Latency | None:
        """Return how long a model takes on a target, as `took` said."""
        return self._fleet.latency(model, target, enough)

    def load_ns(self, model: str, target: Target) -> int | None:
        """Return how long loading a model takes on a target, as `load_took` said."""
        return self._fleet.load_ns(model, target)

    def targets(self, targets: Sequence[Target]) -> Sequence[Target]:
        """Return the concrete targets of workers for `targets`."""
        return self._fleet.targets(targets)

    def waiting(self, targets: Sequence[Target]) -> int:
        """Return how many jobs wait for these targets, as `wait` said."""
        return self._fleet.waiting(targets)

    @property
    def hedged_share(self) -> float:
        """Return which part of the last attempts were hedges, as `dispatched` said."""
        return self._fleet.hedged_share

    # --- what tests do ------------------------------------------------------------------------

    def add(
        self,
        worker_id: str,
        target: str,
        *,
        slots: int = 1,
        models: Iterable[str] = (),
        sessions: int = 0,
    ) -> None:
        """Add a ready worker."""
        concrete = Target.parse(target)
        state = WorkerState(worker_id, 1, concrete, status=WorkerStatus.READY, is_paced=True)
        state.info = WorkerInfo(target=concrete, slots=slots)
        state.sessions = sessions
        self._fleet.add(state)
        self._fleet.touch(state)
        for model in models:
            self._fleet.loaded(state, model)

    def remove(self, worker_id: str) -> None:
        """Lose a worker."""
        self._fleet.remove(self._fleet.workers[worker_id])

    def take(self, worker_id: str, job: JobView, *, is_loaded: bool = True) -> None:
        """Place a job on a worker, and load its model there; or begin to."""
        state = self._fleet.workers[worker_id]
        taken = state.jobs[job.id] = JobState(job, job.targets, job.model)
        taken.live[worker_id] = Attempt(1, state, job.model, placed_ns=self.now_ns)
        self._fleet.touch(state)
        if is_loaded:
            self._fleet.loaded(state, job.model)

    def finish(self, worker_id: str) -> None:
        """Finish the oldest job of a worker."""
        state = self._fleet.workers[worker_id]
        state.jobs.pop(next(iter(state.jobs)))
        self._fleet.touch(state)

    def took(self, model: str, target: str, took_ns: int, times: int = 100) -> None:
        """Have attempts of a model taken this long on a target."""
        for _ in range(times):
            self._fleet.latencies.add(model, Target.parse(target), took_ns)

    def load_took(self, model: str, target: str, took_ns: int) -> None:
        """Have a load of a model taken this long on a target."""
        self._fleet.loads.add(model, Target.parse(target), took_ns)

    def paced(self, worker_id: str, pace: float) -> None:
        """Have a worker taken this many times the usual lately."""
        state = self._fleet.workers[worker_id]
        state.pace, state.paced_ns = pace, self.now_ns
        state.changed()

    def wait(self, job: JobView) -> None:
        """Let a job wait."""
        self._fleet.queue.add(JobState(job, job.targets, job.model))

    def dispatched(self, times: int = 1, *, is_hedge: bool = False) -> None:
        """Have dispatched attempts."""
        for _ in range(times):
            self._fleet.dispatched(is_hedge=is_hedge)

    def busy(self) -> list[str]:
        """Return the ids of all workers that run something."""
        return [state.id for state in self._fleet.workers.values() if state.jobs]

    def view(self, worker_id: str) -> WorkerView | None:
        """Return one worker, uncounted: for tests, not for policies."""
        return self._fleet.worker(worker_id)

    def ids(self) -> list[str]:
        """Return the ids of all workers."""
        return list(self._fleet.workers)

    def _counted(self, views: Sequence[WorkerView]) -> Sequence[WorkerView]:
        self._count(len(views))
        return views

    def _count(self, views: int) -> None:
        self._views += views
        assert self._views <= MOST_VIEWS, (
            f"one decision asked for {self._views} workers: a policy asks the indexed view for "
            "a few, it does not walk the fleet"
        )
