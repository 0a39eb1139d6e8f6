# SPDX-License-Identifier: Apache-2.0
"""The workers of one concrete target, indexed by what policies ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING

from ..types import Target

if TYPE_CHECKING:
    from .state import WorkerState


class Group:
    """Know which workers of a target are ready, how busy they are, and who has which model.

    Groups are compared by identity: hashing one costs less than hashing its target.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        #: In order of starting.
        self.workers: dict[str, WorkerState] = {}
        #: How many have room.
        self.roomy = 0
        #: Number of jobs -> ready workers, longest in that state first.
        self.by_load: defaultdict[int, dict[str, WorkerState]] = defaultdict(dict)
        #: Model -> workers with room that have it loaded.
        self._with_model: defaultdict[str, dict[str, WorkerState]] = defaultdict(dict)

    @property
    def is_up(self) -> bool:
        """Whether any of its workers is ready and does not seem stuck."""
        return any(not one.is_stuck for alike in self.by_load.values() for one in alike.values())

    def with_model(self, model: str) -> Collection[WorkerState]:
        """Return the workers with room that have a model loaded."""
        found = self._with_model.get(model)
        return () if found is None else found.values()

    def put(self, worker: WorkerState, *, load: int | None, has_room: bool) -> None:
        """Put a worker where it belongs by now; `load` is None for one that is not ready."""
        if worker.load is not None:
            del self.by_load[worker.load][worker.id]
        if load is not None:
            self.by_load[load][worker.id] = worker
        if has_room:
            for model in worker.models:
                self._with_model[model][worker.id] = worker
        elif worker.is_roomy:
            self.unloaded(worker)
        self.roomy += has_room - worker.is_roomy
        worker.load, worker.is_roomy = load, has_room

    def loaded(self, worker: WorkerState, model: str) -> None:
        """Learn that a worker has a model."""
        if worker.is_roomy:
            self._with_model[model][worker.id] = worker

    def unloaded(self, worker: WorkerState) -> None:
        """Offer the models of a worker no more."""
        for model in worker.models:
            self._with_model[model].pop(worker.id, None)
