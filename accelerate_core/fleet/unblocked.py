# SPDX-License-Identifier: Apache-2.0
"""The view a scheduler gets while circuits are open."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from ..types import Target
from .index import Fleet
from .policy import ENOUGH, Latency, WorkerView


class Unblocked:
    """A fleet's view (`FleetView`) in which workers of some concrete targets have no part."""

    def __init__(self, fleet: Fleet, blocked: frozenset[Target]) -> None:
        self._fleet = fleet
        self._blocked = blocked

    @property
    def now_ns(self) -> int:
        """Time of the event being handled."""
        return self._fleet.now_ns

    @property
    def rng(self) -> random.Random:
        """The fleet's random numbers."""
        return self._fleet.rng

    @property
    def history(self) -> Mapping[str, Any]:
        """The fleet's past measurements."""
        return self._fleet.history

    @property
    def hedged_share(self) -> float:
        """Which part of the last attempts were hedges."""
        return self._fleet.hedged_share

    def worker(self, worker_id: str) -> WorkerView | None:
        """Return one ready worker, or None when it is gone or blocked."""
        found = self._fleet.worker(worker_id)
        return None if found is None or found.target in self._blocked else found

    def latency(self, model: str, target: Target, enough: int = ENOUGH) -> Latency | None:
        """Return how long a model takes on a concrete target."""
        return self._fleet.latency(model, target, enough)

    def load_ns(self, model: str, target: Target) -> int | None:
        """Return how long loading a model takes on a concrete target."""
        return self._fleet.load_ns(model, target)

    def targets(self, targets: Sequence[Target]) -> Sequence[Target]:
        """Return the concrete targets of workers for `targets`."""
        return self._fleet.targets(targets, self._blocked)

    def waiting(self, targets: Sequence[Target]) -> int:
        """Return how many jobs wait for exactly these targets."""
        return self._fleet.waiting(targets)

    def idle_with(self, model: str, targets: Sequence[Target], k: int = 16) -> Sequence[WorkerView]:
        """Return up to `k` workers with room that have the model loaded."""
        return self._fleet.idle_with(model, targets, k, self._blocked)

    def idle(self, targets: Sequence[Target], k: int = 16) -> Sequence[WorkerView]:
        """Return up to `k` workers with room."""
        return self._fleet.idle(targets, k, self._blocked)

    def least_loaded(self, k: int, targets: Sequence[Target]) -> Sequence[WorkerView]:
        """Return up to `k` ready workers, busy ones included."""
        return self._fleet.least_loaded(k, targets, self._blocked)
