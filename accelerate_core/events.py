# SPDX-License-Identifier: Apache-2.0
"""What happened, told to listeners, reports and connectors. Observers never answer.

Each class is one event type; its `kind` is the word a connector's `on = [...]` takes, and the
name of the lifecycle hook that broadcasts it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import attrs

from .errors import ErrorInfo
from .fleet.instructions import Chapter
from .fleet.metric import Point
from .types import Cell, Connection, Measurement, RunInfo, RunSummary, Target


@attrs.frozen(kw_only=True)
class Event:
    """Base of all events: which run, and when (UTC)."""

    kind: ClassVar[str] = "event"

    run_id: str
    at: datetime


@attrs.frozen(kw_only=True)
class RunStarted(Event):
    """A run begins; `cells` is everything it is going to do, in order."""

    kind: ClassVar[str] = "run_started"

    run: RunInfo
    cells: tuple[Cell, ...]
    #: Cells that an earlier process of this run has measured.
    measured: int = 0


@attrs.frozen(kw_only=True)
class RunFinished(Event):
    """A run ended, well or not; the summary holds every measurement."""

    kind: ClassVar[str] = "run_finished"

    summary: RunSummary


@attrs.frozen(kw_only=True)
class RunFailed(Event):
    """A run ended with at least one failing measurement, or could not go on."""

    kind: ClassVar[str] = "run_failed"

    summary: RunSummary
    error: ErrorInfo | None = None


@attrs.frozen(kw_only=True)
class CellStarted(Event):
    """Work on one cell begins."""

    kind: ClassVar[str] = "cell_started"

    cell: Cell
    is_again: bool = False  #: it was measured, and an analysis wants to be sure


@attrs.frozen(kw_only=True)
class CellProgress(Event):
    """A phase of a cell began: "start", "load", "warm-up", "measure"."""

    kind: ClassVar[str] = "cell_progress"

    cell: Cell
    phase: str
    done: int = 0
    total: int | None = None


@attrs.frozen(kw_only=True)
class MeasurementStored(Event):
    """A measurement was committed by the store."""

    kind: ClassVar[str] = "measurement_stored"

    measurement: Measurement


@attrs.frozen(kw_only=True)
class JobFinished(Event):
    """A job was answered or failed for good."""

    kind: ClassVar[str] = "job_finished"

    job_id: str
    model: str
    worker_id: str | None
    latency_ms: float | None
    attempts: int
    error: ErrorInfo | None = None
    #: What it went through; times are since it was submitted.
    story: tuple[Chapter, ...] = ()


@attrs.frozen(kw_only=True)
class WorkerStarted(Event):
    """A worker is ready."""

    kind: ClassVar[str] = "worker_started"

    worker_id: str
    epoch: int
    connection: Connection


@attrs.frozen(kw_only=True)
class WorkerGone(Event):
    """A worker was lost or stopped; `error` says why when it was not asked to stop."""

    kind: ClassVar[str] = "worker_lost"

    worker_id: str
    epoch: int
    target: Target
    connection: Connection | None = None
    error: ErrorInfo | None = None


@attrs.frozen(kw_only=True)
class MetricsRecorded(Event):
    """Something happened in the fleet that metrics count; for exporters."""

    kind: ClassVar[str] = "metrics_recorded"

    points: tuple[Point, ...]


@attrs.frozen(kw_only=True)
class Regression(Event):
    """A cell is worse than its history says it should be (found by an analysis)."""

    kind: ClassVar[str] = "regression"

    series_key: str
    metric: str
    before: float
    after: float
    severity: str
    id: str = ""  #: what commands and people call it
    label: str = ""  #: what became worse, in words: "latency of tiny on cpu fp32 batch 1"
    model: str = ""
    target: str = ""
    unit: str = ""
    change: float | None = None  #: after / before - 1
    change_low: float | None = None  #: interval of the change, at 95%
    change_high: float | None = None
    cause_kind: str | None = None  #: commit, browser_version, engine_version, machine
    cause: str | None = None  #: in words
    cause_id: str | None = None  #: equal where the cause is one
    last_good_run: str | None = None
    first_bad_run: str | None = None
    last_good_commit: str | None = None
    first_bad_commit: str | None = None
    #: Why it is told although it was known: it was fixed and is back.
    note: str | None = None
    see: str | None = None  #: command that shows more
    fails_run: bool = False  #: the analysis' settings want the run's exit code to say so
    evidence: dict[str, Any] = attrs.field(factory=dict)


EVENT_TYPES: dict[str, type[Event]] = {
    event.kind: event
    for event in (
        RunStarted,
        RunFinished,
        RunFailed,
        CellStarted,
        CellProgress,
        MeasurementStored,
        JobFinished,
        WorkerStarted,
        WorkerGone,
        MetricsRecorded,
        Regression,
    )
}
