# SPDX-License-Identifier: Apache-2.0
"""What events say as numbers with labels, the same whichever way they travel. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import attrs

from accelerate_core.events import Event, MeasurementStored, Regression, RunFinished
from accelerate_core.types import CellStatus, Measurement, RunSummary

from .naming import label_value

#: Gauges, and what they say.
GAUGES = {
    "accelerate_measurement_success": "1: measured and right. 0: wrong, failed, or missing though "
    "required.",
    "accelerate_measurement_latency_seconds": "Median from submission to the result.",
    "accelerate_measurement_inference_seconds": "Median in the page or process.",
    "accelerate_measurement_items_per_second": "Throughput.",
    "accelerate_measurement_memory_bytes": "Memory of the worker's processes.",
    "accelerate_measurement_relative_error": "Relative L2 distance from native CPU.",
    "accelerate_regression_severity": "0: well again, 1: minor, 2: major, 3: critical.",
    "accelerate_run_success": "0: a measurement failed, or nothing was measured.",
    "accelerate_run_duration_seconds": "From the first cell to the last.",
    "accelerate_run_finished_timestamp_seconds": "When the run ended, in seconds since 1970.",
}

#: An analysis may have words of its own: they are taken as "major", as messages to people do.
_SEVERITIES = {"good": 0, "info": 0, "improvement": 0, "minor": 1, "major": 2, "critical": 3}

Labels = tuple[tuple[str, str], ...]


@attrs.frozen
class Sample:
    """Hold one value of one gauge; labels are sorted, and none is empty."""

    name: str
    labels: Labels
    value: float
    at: datetime


def samples_of(event: Event) -> tuple[Sample, ...]:
    """Return what an event says in numbers; nothing for most kinds."""
    if isinstance(event, MeasurementStored):
        return of_measurement(event.measurement)
    if isinstance(event, Regression):
        return _of_regression(event)
    if isinstance(event, RunFinished):
        return of_run(event.summary, event.at)
    return ()


def of_measurement(one: Measurement) -> tuple[Sample, ...]:
    """Return a measurement's numbers, at the time it began; what was not measured is left out."""
    is_told = one.is_failure or one.status is CellStatus.OK
    values = {
        "success": float(not one.is_failure) if is_told else None,
        "latency_seconds": _seconds(one.latency_ms),
        "inference_seconds": _seconds(one.inference_time_ms),
        "items_per_second": one.throughput_items_per_second,
        "memory_bytes": one.memory_bytes,
        "relative_error": one.relative_l2,
    }
    cell = one.cell
    labels = make_labels(
        model=cell.model,
        target=cell.target,
        precision=cell.precision,
        batch_size=cell.batch_size,
        sequence_length=cell.sequence_length,
        scenario=cell.scenario,
    )
    return tuple(
        Sample(f"accelerate_measurement_{name}", labels, float(value), one.started_at)
        for name, value in values.items()
        if value is not None
    )


def of_run(summary: RunSummary, at: datetime) -> tuple[Sample, ...]:
    """Return how a run went; nothing of one that was interrupted, for it may go on."""
    run = summary.run
    if run.is_interrupted:
        return ()
    ended = run.finished_at or at
    labels = make_labels(pipeline=run.name)
    values = {
        "success": float(not summary.is_failed),
        "duration_seconds": (ended - run.started_at).total_seconds(),
        "finished_timestamp_seconds": ended.timestamp(),
    }
    return tuple(
        Sample(f"accelerate_run_{name}", labels, value, ended) for name, value in values.items()
    )


def make_labels(**values: object) -> Labels:
    """Return labels, sorted; empty ones are left out, which means the same to Prometheus."""
    made = ((name, label_value(value)) for name, value in values.items() if value is not None)
    return with_labels((), made)


def with_labels(labels: Labels, more: Iterable[tuple[str, str]]) -> Labels:
    """Return labels with others in their place or beside them, sorted."""
    return tuple(
        sorted((name, value) for name, value in (dict(labels) | dict(more)).items() if value)
    )


def _of_regression(event: Regression) -> tuple[Sample, ...]:
    # Without id, cause and numbers: one series tells the story of what got worse and well again.
    labels = make_labels(
        model=event.model,
        target=event.target,
        metric=event.metric,
        series=event.series_key[:12],
    )
    severity = 0 if event.status == "fixed" else _SEVERITIES.get(event.severity, 2)
    return (Sample("accelerate_regression_severity", labels, float(severity), event.at),)


def _seconds(value_ms: float | None) -> float | None:
    return None if value_ms is None else value_ms / 1e3
