# SPDX-License-Identifier: Apache-2.0
"""What analyses work on and find: metrics, points, series, changes, findings. Frozen values."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Metric:
    """Name something that is measured over time."""

    name: str  #: as in the column `metric` of `time_series_performance`
    label: str  #: for people
    unit: str
    is_lower_better: bool = True


#: By name, in order of interest.
METRICS: Mapping[str, Metric] = {
    one.name: one
    for one in (
        Metric(name="latency_ms", label="latency", unit="ms"),
        Metric(name="inference_time_ms", label="inference time", unit="ms"),
        Metric(
            name="throughput_items_per_second",
            label="throughput",
            unit="items/s",
            is_lower_better=False,
        ),
        Metric(name="memory_usage_mb", label="memory", unit="MB"),
        Metric(name="initialization_time_ms", label="time to first output", unit="ms"),
        Metric(name="launch_ms", label="browser launch", unit="ms"),
        Metric(name="fetch_ms", label="fetching the model", unit="ms"),
        Metric(name="compile_ms", label="compiling the model", unit="ms"),
        Metric(name="first_run_ms", label="first run", unit="ms"),
    )
}


@attrs.frozen(kw_only=True)
class Point:
    """One measurement of a series."""

    at: datetime  #: UTC, without a zone, as stored
    run_id: str
    measurement_id: str
    value: float
    #: What the value is the median of, where that was kept.
    samples: tuple[float, ...] = ()
    commit: str | None = None  #: of the project under test
    browser_version: str | None = None
    engine_version: str | None = None
    system: str | None = None  #: operating system and its release


@attrs.frozen(kw_only=True)
class Label:
    """Say what a series measures. Two series may look alike: of other files of the model."""

    model: str
    task: str | None = None
    backend: str
    engine: str | None = None
    browser: str | None = None
    precision: str = "fp32"
    batch_size: int = 1
    sequence_length: int | None = None
    device_type: str | None = None
    is_software: bool | None = None
    adapter: str | None = None  #: vendor and architecture
    scenario: str = "single_stream"  #: how requests arrived

    @property
    def where(self) -> str:
        """Backend, engine and browser as a target is written."""
        engine = f"/{self.engine}" if self.engine else ""
        return f"{self.backend}{engine}" + (f":{self.browser}" if self.browser else "")

    def __str__(self) -> str:
        length = f" x{self.sequence_length}" if self.sequence_length else ""
        scenario = f" {self.scenario}" if self.scenario != "single_stream" else ""
        batch = f"batch {self.batch_size}{length}{scenario}"
        return f"{self.model} on {self.where} {self.precision} {batch}"


@attrs.frozen(kw_only=True)
class Series:
    """One metric of one thing on one machine, oldest first."""

    key: str  #: `series_key` of its measurements
    machine: str
    metric: Metric
    label: Label
    points: tuple[Point, ...]


class Severity(enum.StrEnum):
    IMPROVEMENT = "improvement"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


class Status(enum.StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    FIXED = "fixed"
    WONT_FIX = "wont_fix"


@attrs.frozen(kw_only=True)
class Change:
    """A level of a series that is another from one of its points on."""

    index: int  #: of the first point at the new level
    before: float  #: median of the level before
    after: float  #: median since
    low: float  #: interval of after / before - 1, at 95%
    high: float
    confidence: float  #: 1 - the chance of such a change in a series without one
    evidence: Mapping[str, Any] = attrs.field(factory=dict)  #: detector, scores, counts

    @property
    def relative(self) -> float:
        """after / before - 1."""
        return self.after / self.before - 1


@attrs.frozen(kw_only=True)
class Finding:
    """A change that matters, as the table `performance_regressions` keeps it."""

    id: str  #: of the series, the metric and the first bad run: the same change is found once
    series: Series
    change: Change
    is_worse: bool
    severity: Severity
    detected_at: datetime
    status: Status = Status.OPEN
    cause_kind: str | None = None  #: commit, browser_version, engine_version, machine
    cause: str | None = None  #: in words
    cause_id: str | None = None  #: equal for findings with one cause
    was_measured_again: bool = False
    note: str | None = None
