# SPDX-License-Identifier: Apache-2.0
"""The history of the resource pool: events of a fleet become rows, one every few seconds."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from accelerate_core import events
from accelerate_core.protocols import Store
from accelerate_core.types import Target

from .keeping import utc

#: Rows of `resource_pool_metrics` are at least so far apart.
INTERVAL = timedelta(seconds=5)


@attrs.define
class _Since:
    """Count what happened since the last row."""

    at: datetime
    busy_s: float = 0.0
    jobs: Counter[str] = attrs.field(factory=Counter)
    errors: int = 0
    attempts: int = 0
    memory_bytes: int | None = None  #: the most of it


class PoolHistory:
    """Keep what events say of a pool. Times are those of the events.

    A row is written by the first event after `INTERVAL`, and when the last worker ends. Workers
    that start are not counted before they are ready. Who is at work is told when a run on a worker
    ends: `active` is how many workers the time of these runs filled, rounded up. The pool scaled
    where a target has more or fewer workers than before, and neither none nor by a loss.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._workers: dict[str, Target] = {}
        #: How many workers of a target there were before one was lost, and now otherwise.
        self._sizes: Counter[Target] = Counter()
        self._queued = 0
        #: Of all workers, as far as they were weighed; None while none was.
        self._memory_bytes: int | None = None
        self._since: _Since | None = None

    def keepers(self) -> Mapping[str, Callable[[Any], None]]:
        """Return what to call, by kind of event."""
        return {
            events.WorkerStarted.kind: self.started,
            events.WorkerGone.kind: self.gone,
            events.MetricsRecorded.kind: self.recorded,
            events.JobFinished.kind: self.finished,
        }

    def started(self, event: events.WorkerStarted) -> None:
        """Count a worker that is ready."""
        self._due(event)
        target = event.connection.info.target
        self._workers[event.worker_id] = target
        self._event(event, "started", event.worker_id, target, f"epoch {event.epoch}")
        count = self._count(target)
        if count > self._sizes[target]:
            self._scaled(event, target, count)

    def gone(self, event: events.WorkerGone) -> None:
        """Count a worker no more; with an error it was lost."""
        what = "stopped" if event.error is None else "lost"
        detail = f"{event.error.kind}: {event.error.message}" if event.error else None
        self._event(event, what, event.worker_id, event.target, detail)
        known = self._workers.pop(event.worker_id, None)
        if known is not None and event.error is None:
            self._scaled(event, known, self._count(known))
        if known is not None and not self._workers:
            self._row(event)
        else:
            self._due(event)

    def recorded(self, event: events.MetricsRecorded) -> None:
        """Add up the time of work, and who waits."""
        self._due(event)
        for point in event.points:
            if point.name == "accelerate.worker.busy_time":
                self._counted(event).busy_s += point.value
            elif point.name == "accelerate.job.pending":
                self._queued += int(point.value)
            elif point.name == "accelerate.worker.memory":
                self._memory_bytes = (self._memory_bytes or 0) + int(point.value)
                since = self._counted(event)
                since.memory_bytes = max(since.memory_bytes or 0, self._memory_bytes)
            elif point.name == "accelerate.attempt.duration":
                self._counted(event).attempts += 1

    def finished(self, event: events.JobFinished) -> None:
        """Count a job by its model."""
        since = self._counted(event)
        since.jobs[event.model] += 1
        since.errors += event.error is not None
        self._due(event)

    def _counted(self, event: events.Event) -> _Since:
        if self._since is None:
            self._since = _Since(at=event.at)
        return self._since

    def _due(self, event: events.Event) -> None:
        if event.at - self._counted(event).at >= INTERVAL:
            self._row(event)

    def _row(self, event: events.Event) -> None:
        since = self._counted(event)
        self._since = _Since(at=event.at, memory_bytes=self._memory_bytes)
        seconds = (event.at - since.at).total_seconds()
        size = len(self._workers)
        at_work = since.busy_s / seconds if seconds > 0 else 0.0
        self._insert(
            "resource_pool_metrics",
            {
                "timestamp": utc(event.at),
                "session_id": event.run_id,
                "size": size,
                "ready": size,
                "active": min(size, math.ceil(at_work)),
                "utilisation": min(1.0, at_work / size) if size else None,
                "queued": max(0, self._queued),
                "by_browser": _counts(one.browser for one in self._workers.values()),
                "by_platform": _counts(one.backend for one in self._workers.values()),
                "by_model": json.dumps(since.jobs),
                "jobs": since.jobs.total(),
                "errors": since.errors,
                "attempts": since.attempts,
                "memory_bytes": since.memory_bytes,
            },
        )

    def _count(self, target: Target) -> int:
        return sum(one == target for one in self._workers.values())

    def _scaled(self, event: events.Event, target: Target, count: int) -> None:
        before, self._sizes[target] = self._sizes[target], count
        if before and count and before != count:
            detail = f"{before} to {count} workers, {max(0, self._queued)} jobs waiting"
            self._event(event, "scaled", None, target, detail)

    def _event(
        self,
        event: events.Event,
        what: str,
        worker_id: str | None,
        target: Target,
        detail: str | None,
    ) -> None:
        self._insert(
            "resource_pool_events",
            {
                "timestamp": utc(event.at),
                "session_id": event.run_id,
                "event": what,
                "worker_id": worker_id,
                "platform": target.backend,
                "browser": target.browser,
                "detail": detail,
            },
        )

    def _insert(self, table: str, row: Mapping[str, Any]) -> None:
        marks = ", ".join("?" for _ in row)
        with self._store.transaction() as transaction:
            transaction.execute(
                f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values())
            )


def _counts(names: Iterable[str | None]) -> str:
    return json.dumps(Counter(name for name in names if name is not None))
