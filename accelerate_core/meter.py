# SPDX-License-Identifier: Apache-2.0
"""Watch one runner's machine: tell what it does as metrics, and say how its fleet is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from . import events
from .fleet import events as ev
from .fleet import instructions as do
from .fleet import report
from .fleet.state import Fleet
from .fleet.tally import Tally
from .metrics import JobMetrics, Totals, WorkerMetrics


class Meter:
    """See every event of a machine. What it found out may be read from any thread."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        name_of: Callable[[str], str],
        tell: Callable[[events.Event], None],
        run_id: str,
    ) -> None:
        self._fleet = fleet
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
        """Return how the fleet is."""
        now = time.perf_counter_ns()
        return report.verdict(
            report.workers(self._fleet, now, self._name_of),
            pending=self._totals.pending(),
            lost=self._totals.lost(),
            lost_ns=self._totals.lost_ns,
            now_ns=now,
            plugin_problems=plugin_problems,
        )

    def metrics(self) -> tuple[JobMetrics, WorkerMetrics]:
        """Return what became of jobs and workers."""
        known = report.workers(self._fleet, time.perf_counter_ns(), self._name_of)
        return self._totals.jobs(), self._totals.workers(report.utilisation(known))
