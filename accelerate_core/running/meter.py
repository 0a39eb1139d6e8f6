# SPDX-License-Identifier: Apache-2.0
"""Watch one runner's machine: tell what it does as metrics, and say how its fleet is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from .. import events
from ..fleet import events as ev
from ..fleet import instructions as do
from ..fleet import report
from ..fleet.breaker import BreakerState
from ..fleet.breakers import Circuit
from ..fleet.machine import Machine
from ..fleet.tally import Tally
from ..metrics import JobMetrics, Totals, WorkerMetrics
from ..status import Status
from ..types import RunInfo


class Meter:
    """See every event of a machine."""

    def __init__(
        self,
        machine: Machine,
        *,
        name_of: Callable[[str], str],
        tell: Callable[[events.Event], None],
        run_id: str,
    ) -> None:
        self._machine = machine
        self._name_of = name_of
        self._tell = tell
        self._run_id = run_id
        self._tally = Tally(name_of)
        self._totals = Totals()

    def saw(self, event: ev.FleetEvent, said: Sequence[do.Instruction]) -> None:
        """Take note of an event and of what the machine said to it."""
        points = self._tally.take(event, said)
        if points:
            self._totals.add(points, event.at_ns)
            now = datetime.now(UTC)
            self._tell(events.MetricsRecorded(run_id=self._run_id, at=now, points=points))

    def health(self, plugin_problems: tuple[str, ...] = ()) -> report.HealthStatus:
        """Return how the fleet is; to be called in the thread of the machine."""
        now = time.perf_counter_ns()
        return report.verdict(
            report.workers(self._machine.fleet, now, self._name_of),
            tripped=report.breakers(self._circuits(), self._name_of),
            pending=self._totals.pending(),
            lost=self._totals.lost(),
            lost_ns=self._totals.lost_ns,
            now_ns=now,
            plugin_problems=plugin_problems,
        )

    def status(self, run: RunInfo, plugin_problems: tuple[str, ...] = ()) -> Status:
        """Return all of it, for other processes; to be called in the thread of the machine."""
        jobs, workers = self.metrics()
        return Status(
            pid=os.getpid(),
            name=run.name or "run",
            run_id=run.id,
            started_at=run.started_at,
            at=datetime.now(UTC),
            health=self.health(plugin_problems),
            jobs=jobs,
            workers=workers,
        )

    def _circuits(self) -> Mapping[Circuit, BreakerState]:
        return self._machine.breakers.states(self._machine.fleet.now_ns)

    def metrics(self) -> tuple[JobMetrics, WorkerMetrics]:
        """Return what became of jobs and workers; may be called from any thread."""
        known = report.workers(self._machine.fleet, time.perf_counter_ns(), self._name_of)
        return self._totals.jobs(), self._totals.workers(report.utilisation(known))
