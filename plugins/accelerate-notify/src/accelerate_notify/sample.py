# SPDX-License-Identifier: Apache-2.0
"""Made-up events: to try templates and rules with, before anything has happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from accelerate_core.errors import ErrorInfo
from accelerate_core.events import (
    Event,
    MeasurementStored,
    Regression,
    RunFailed,
    RunFinished,
    RunStarted,
    WorkerGone,
)
from accelerate_core.types import Cell, CellStatus, Measurement, RunInfo, RunSummary, Target

from .settings import KNOWN

#: How severe events of each kind can be, the usual first.
SEVERITIES: Mapping[str, tuple[str, ...]] = {
    "regression": ("major", "minor", "critical"),
    "run_failed": ("major", "critical"),
    "run_finished": ("good", "minor", "major"),
    "run_started": ("info",),
    "measurement_stored": ("info", "minor"),
    "worker_lost": ("minor", "info"),
}
assert set(SEVERITIES) == set(KNOWN)

_BEFORE_MS = 10.0


@attrs.frozen(kw_only=True)
class Sample:
    """Say what is to have happened."""

    kind: str = "regression"
    severity: str = "major"  #: one of its kind's
    model: str = "bert"
    target: Target = Target("webgpu", browser="chromium")
    branch: str | None = None
    metric: str = "latency_ms"
    change: float = 0.5
    is_fixed: bool = False
    at: datetime = attrs.field(factory=lambda: datetime.now(UTC))

    @property
    def run(self) -> RunInfo:
        """The run it happens in."""
        ci = {"branch": self.branch} if self.branch else {}
        return RunInfo(id="test", name="pipeline.toml", started_at=self.at, ci=ci)

    def event(self) -> Event:
        """Return an event of which everything is known that rules may ask for."""
        return _MAKE[self.kind](self, {"run_id": self.run.id, "at": self.at})

    @property
    def cell(self) -> Cell:
        """What is measured."""
        return Cell(model=self.model, target=self.target)

    def measured(self, *, is_good: bool) -> Measurement:
        """Return a measurement."""
        error = ErrorInfo(kind="JobTimeout", message="no answer within 60 s")
        return Measurement(
            id="test",
            run_id=self.run.id,
            cell=self.cell,
            status=CellStatus.OK if is_good else CellStatus.FAILED,
            started_at=self.at,
            series_key="test",
            latency_ms=_BEFORE_MS if is_good else None,
            error=None if is_good else error,
        )

    def ended(self, *, is_good: bool) -> RunSummary:
        """Return the end of the run."""
        run = attrs.evolve(self.run, finished_at=self.at + timedelta(minutes=1))
        return RunSummary(run=run, measurements=(self.measured(is_good=is_good),))


def regression() -> Event:
    """Return the usual regression."""
    return Sample().event()


def every_kind() -> tuple[Event, ...]:
    """Return an event of each kind that rules can be about."""
    usual = {kind: severities[0] for kind, severities in SEVERITIES.items()}
    return tuple(Sample(kind=kind, severity=usual[kind]).event() for kind in usual)


def _regression(wish: Sample, base: dict[str, Any]) -> Event:
    worse = _BEFORE_MS * (1 + wish.change)
    before, after = (worse, _BEFORE_MS) if wish.is_fixed else (_BEFORE_MS, worse)
    change = after / before - 1
    low, high = sorted((change * 0.9, change * 1.1))
    return Regression(
        **base,
        series_key="test",
        metric=wish.metric,
        before=before,
        after=after,
        severity=wish.severity,
        status="fixed" if wish.is_fixed else "open",
        id="test",
        label=f"{wish.metric} of {wish.model} on {wish.target}",
        model=wish.model,
        target=str(wish.target),
        change=change,
        change_low=low,
        change_high=high,
        cause_kind="commit",
        cause="between commits 0123456 and 89abcde",
        cause_id="test",
        first_bad_run="test",
        see="accel regressions show test",
    )


def _run_failed(wish: Sample, base: dict[str, Any]) -> Event:
    error = ErrorInfo(kind="StoreError", message="no room on the disk", hint="Free some space.")
    # One that broke off may have no failed cell, and then nobody knows a model of it.
    return RunFailed(
        **base,
        summary=wish.ended(is_good=False),
        error=error if wish.severity == "critical" else None,
    )


def _run_finished(wish: Sample, base: dict[str, Any]) -> Event:
    worse = f"latency_ms of {wish.model} on {wish.target}"
    return RunFinished(
        **base,
        summary=wish.ended(is_good=wish.severity != "major"),
        still_worse=(worse,) if wish.severity == "minor" else (),
    )


def _run_started(wish: Sample, base: dict[str, Any]) -> Event:
    return RunStarted(**base, run=wish.run, cells=(wish.cell,))


def _measurement(wish: Sample, base: dict[str, Any]) -> Event:
    return MeasurementStored(**base, measurement=wish.measured(is_good=wish.severity == "info"))


def _worker(wish: Sample, base: dict[str, Any]) -> Event:
    crash = ErrorInfo(kind="WorkerLost", message="the browser crashed")
    return WorkerGone(
        **base,
        worker_id=f"{wish.target.backend}-1",
        epoch=1,
        target=wish.target,
        error=None if wish.severity == "info" else crash,
    )


_MAKE: Mapping[str, Callable[[Sample, dict[str, Any]], Event]] = {
    "regression": _regression,
    "run_failed": _run_failed,
    "run_finished": _run_finished,
    "run_started": _run_started,
    "measurement_stored": _measurement,
    "worker_lost": _worker,
}
