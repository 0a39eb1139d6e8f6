# SPDX-License-Identifier: Apache-2.0
"""Which jobs are taken: those that fit into the queue, can be done at all, and in time."""

from __future__ import annotations

import attrs

from ..errors import AccelerateError, ErrorInfo, Overloaded
from ..types import Target
from .desk import Desk
from .policy import FINAL, FailureKind, JobView
from .rules import overloaded, rank
from .settings import SECOND
from .state import WorkerStatus

#: For so long after a backend could not be started, or a model not loaded, nobody tries again.
MEMORY_NS = 10 * SECOND
#: So many starts in a row that failed say that the next one will, whatever the errors.
_ENOUGH_STARTS = 3
#: Errors of starts that say that the next one would fail as well.
_FOR_GOOD = frozenset({"BackendUnavailable", "ConfigError", "Unsupported"})
_UP = (WorkerStatus.READY, WorkerStatus.SUSPECT, WorkerStatus.QUARANTINED)
#: Part of the queue that shall be done before a refused caller comes back.
_DRAINED = 0.1


class Admission:
    """Refuse at once what would only be refused later."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._worked: set[Target] = set()
        #: Target -> starts that failed since one worked.
        self._failed: dict[Target, int] = {}
        #: Target -> until when it is not tried again, and why.
        self._hopeless: dict[Target, tuple[int, ErrorInfo]] = {}
        #: (model, target) -> the same.
        self._unloadable: dict[tuple[str, Target], tuple[int, ErrorInfo]] = {}

    def worked(self, target: Target) -> None:
        """Learn that a worker came up."""
        self._worked.add(target)
        self._failed.pop(target, None)
        self._hopeless.pop(target, None)

    def start_failed(self, target: Target, error: ErrorInfo) -> None:
        """Learn that a worker could not be started; what once worked may work again at first."""
        count = self._failed[target] = self._failed.get(target, 0) + 1
        if error.kind not in _FOR_GOOD or target in self._worked:
            workers = self._desk.fleet.covering((target,))
            if count < _ENOUGH_STARTS or any(one.status in _UP for one in workers):
                return
            message = f"{error.message} ({count} starts in a row failed)"
            error = attrs.evolve(error, message=message)
        self._hopeless[target] = (self._desk.fleet.now_ns + MEMORY_NS, error)

    def load_failed(self, target: Target, model: str, kind: FailureKind, error: ErrorInfo) -> None:
        """Learn that a model cannot be loaded by workers of a target."""
        if kind in FINAL:
            until_ns = self._desk.fleet.now_ns + MEMORY_NS
            self._unloadable[model, target] = (until_ns, error)

    def refusal(self, asked: JobView) -> AccelerateError | None:
        """Return why a job is not taken, or None."""
        desk = self._desk
        if (self._hopeless or self._unloadable) and (reason := self._unsatisfiable(asked)):
            return AccelerateError.from_info(reason)
        waiting = len(desk.queue)
        if waiting >= desk.settings.max_queue:
            return overloaded(waiting, self._retry_after(asked))
        if desk.settings.refuses_late and asked.deadline_ns is not None:
            return self._too_late(asked, asked.deadline_ns)
        return None

    def hopeful(self, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        """Return the targets that are worth trying."""
        if not self._hopeless:
            return targets
        now = self._desk.fleet.now_ns
        return tuple(one for one in targets if self._hopeless.get(one, (0, None))[0] <= now)

    def _unsatisfiable(self, asked: JobView) -> ErrorInfo | None:
        targets = self.hopeful(asked.targets)
        if not targets:
            return self._hopeless[asked.targets[-1]][1]
        # A model's own error is final: no other target would be tried after it.
        until_ns, error = self._unloadable.get((asked.model, targets[0]), (0, None))
        return error if self._desk.fleet.now_ns < until_ns else None

    # --- estimates ----------------------------------------------------------------------------

    def _too_late(self, asked: JobView, deadline_ns: int) -> Overloaded | None:
        """Refuse what would miss its deadline even if all went as it usually does."""
        own_ns = self._typical_ns(asked.model, asked.targets[0])
        queued_ns = self._queued_ns(asked)
        if own_ns is None or queued_ns is None:
            return None
        late_ns = self._desk.fleet.now_ns + queued_ns + own_ns - deadline_ns
        if late_ns <= 0:
            return None
        seconds = (queued_ns + own_ns) / 1e9
        return Overloaded(
            f"it would take about {seconds:.2g} s, longer than it may",
            where=str(asked.targets[0]),
            retry_after=late_ns / 1e9,
            hint=f"Come back in {late_ns / 1e9:.2g} s, or give it longer.",
        )

    def _retry_after(self, asked: JobView) -> float:
        """Return seconds until a good part of the queue is done; 1 where nothing is known."""
        queued_ns = self._queued_ns(asked)
        return max(queued_ns * _DRAINED / 1e9, 0.001) if queued_ns else 1.0

    def _queued_ns(self, asked: JobView) -> int | None:
        """Return how long the jobs before one take all workers that are ready; None: unknown."""
        target, fleet = asked.targets[0], self._desk.fleet
        slots = free = 0
        for worker in fleet.covering((target,)):
            if worker.status is WorkerStatus.READY and worker.info is not None:
                slots += worker.info.slots
                free += max(0, worker.info.slots - worker.taken)
        if not slots:
            return None
        rank_ns = rank(asked, fleet.now_ns)
        total_ns = 0
        for line in self._desk.queue.lines():
            if not line.target.covers(target) and not target.covers(line.target):
                continue
            each_ns = self._typical_ns(line.model, line.target)
            if each_ns is None:
                return None
            total_ns += each_ns * line.before(rank_ns)
        if not free:  # those at work are half done
            total_ns += (self._typical_ns(asked.model, target) or 0) // 2
        return total_ns // slots

    def _typical_ns(self, model: str, target: Target) -> int | None:
        for concrete in self._desk.fleet.targets((target,)):
            if (latency := self._desk.fleet.latency(model, concrete)) is not None:
                return latency.p50_ns
        return None
