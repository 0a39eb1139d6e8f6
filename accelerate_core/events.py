# SPDX-License-Identifier: Apache-2.0
"""What happened, told to listeners, reports and connectors. Observers never answer.

Each class is one event type; its `kind` is the word a connector's `on = [...]` takes, and the
name of the lifecycle hook that broadcasts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

import attrs

from .errors import ErrorInfo
from .fleet.instructions import Chapter
from .fleet.metric import Point
from .types import Cell, Connection, Measurement, RunInfo, RunSummary, Target


@attrs.frozen(kw_only=True)
class Attachment:
    """A file for people: a picture, a table."""

    name: str  #: of the file, with its suffix
    media_type: str  #: "image/png", "text/csv"
    data: bytes = attrs.field(repr=False)
    description: str = ""  #: what is to be seen, for who cannot see it


@attrs.frozen(kw_only=True)
class Event:
    """Base of all events: which run, and when (UTC)."""

    kind: ClassVar[str] = "event"

    run_id: str
    at: datetime
    #: Where people read more: a report, a CI job.
    link: str | None = None
    #: Not stored, and made when somebody first looks at them: that may take seconds.
    attachments: Sequence[Attachment] = ()

    @property
    def key(self) -> str:
        """What this event has and no other: told twice, it is one message to people."""
        return ":".join((self.kind, self.run_id, *self._named()))

    @property
    def subject(self) -> str:
        """What it is about: where there is an item about that already, it is brought up to date."""
        return f"run:{self.run_id}"

    def _named(self) -> tuple[str, ...]:
        """Return what tells it from other events of its kind and run."""
        return (self.at.isoformat(),)


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
    """A run did all it could, or was interrupted; the summary holds every measurement."""

    kind: ClassVar[str] = "run_finished"

    summary: RunSummary
    #: What earlier runs told to be worse and is so still, a line each.
    still_worse: tuple[str, ...] = ()

    def _named(self) -> tuple[str, ...]:
        return _ending(self.summary)


@attrs.frozen(kw_only=True)
class RunFailed(Event):
    """A run ended with at least one failing measurement, or could not go on."""

    kind: ClassVar[str] = "run_failed"

    summary: RunSummary
    #: What ended it before its time; then nothing tells that it finished.
    error: ErrorInfo | None = None

    def _named(self) -> tuple[str, ...]:
        return _ending(self.summary)


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

    def _named(self) -> tuple[str, ...]:
        return (self.measurement.id,)


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

    def _named(self) -> tuple[str, ...]:
        return (self.job_id,)


@attrs.frozen(kw_only=True)
class WorkerStarted(Event):
    """A worker is ready."""

    kind: ClassVar[str] = "worker_started"

    worker_id: str
    epoch: int
    connection: Connection

    def _named(self) -> tuple[str, ...]:
        return (self.worker_id, str(self.epoch))


@attrs.frozen(kw_only=True)
class WorkerGone(Event):
    """A worker was lost or stopped; `error` says why when it was not asked to stop."""

    kind: ClassVar[str] = "worker_lost"

    worker_id: str
    epoch: int
    target: Target
    connection: Connection | None = None
    error: ErrorInfo | None = None

    def _named(self) -> tuple[str, ...]:
        return (self.worker_id, str(self.epoch))


@attrs.frozen(kw_only=True)
class MetricsRecorded(Event):
    """Something happened in the fleet that metrics count; for exporters."""

    kind: ClassVar[str] = "metrics_recorded"

    points: tuple[Point, ...]


@attrs.frozen(kw_only=True)
class Regression(Event):
    """A cell is worse than its history says it should be, or well again (found by an analysis).

    With the status "fixed", `before` is the level it was worse at, and `after` the one of now.
    """

    kind: ClassVar[str] = "regression"

    series_key: str
    metric: str
    before: float
    after: float
    severity: str
    status: str = "open"  #: or "fixed"
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

    @property
    def subject(self) -> str:
        """The regression itself, whichever run tells of it: found, back again, fixed."""
        return f"regression:{self.id or f'{self.series_key}:{self.metric}'}"

    def _named(self) -> tuple[str, ...]:
        return (self.id or f"{self.series_key}:{self.metric}", self.status)


@attrs.frozen(kw_only=True)
class Notification(Event):
    """Something to tell chosen connectors, made of other events by rules."""

    kind: ClassVar[str] = "notification"

    id: str
    to: tuple[str, ...]  #: ids of connectors
    title: str
    severity: str = "info"
    text: str = ""
    of: tuple[str, ...] = ()  #: keys of the events it is about
    facts: tuple[tuple[str, str], ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    not_before: datetime | None = None  #: it waits until then

    @property
    def subject(self) -> str:
        """Its own id."""
        return f"notification:{self.id}"

    def _named(self) -> tuple[str, ...]:
        return (self.id,)


def _ending(summary: RunSummary) -> tuple[str, ...]:
    """Return which end of its run this is: one that is resumed ends again."""
    resumed = len(summary.run.resumed_at)
    return (str(resumed),) if resumed else ()


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
        Notification,
    )
}
