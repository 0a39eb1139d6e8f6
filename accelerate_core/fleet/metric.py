# SPDX-License-Identifier: Apache-2.0
"""The metrics of a fleet: what they are called and what they count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

Instrument = Literal["counter", "up_down_counter", "histogram"]


#: Attributes of points. The last is OpenTelemetry's own.
MODEL = "accelerate.model"
TARGET = "accelerate.target"
MEND = "accelerate.mend"
ERROR = "error.type"


@attrs.frozen
class Metric:
    """Describe a metric as OpenTelemetry does: an instrument, and a unit in UCUM."""

    name: str
    instrument: Instrument
    unit: str
    description: str


@attrs.frozen
class Point:
    """Hold one value of one metric: to add to a counter, or to record in a histogram."""

    name: str
    instrument: Instrument
    unit: str
    value: float
    attributes: Mapping[str, Any] = attrs.field(factory=dict)


METRICS: Mapping[str, Metric] = {
    one.name: one
    for one in (
        Metric(
            "accelerate.job.duration",
            "histogram",
            "s",
            "From submission to the answer; error.type is the error's name, or cancelled.",
        ),
        Metric(
            "accelerate.job.wait_time",
            "histogram",
            "s",
            "From submission to the first dispatch: the queue, and starting and loading.",
        ),
        Metric("accelerate.job.submissions", "counter", "{job}", "Jobs that were submitted."),
        Metric(
            "accelerate.job.pending",
            "up_down_counter",
            "{job}",
            "Jobs that were submitted and are not dispatched yet.",
        ),
        Metric(
            "accelerate.job.retries",
            "counter",
            "{attempt}",
            "Attempts made because one before them failed.",
        ),
        Metric(
            "accelerate.job.hedges",
            "counter",
            "{attempt}",
            "Attempts made beside one that is late or in doubt.",
        ),
        Metric(
            "accelerate.job.failovers",
            "counter",
            "{attempt}",
            "Retries on another target than the one that failed.",
        ),
        Metric(
            "accelerate.job.degradations",
            "counter",
            "{attempt}",
            "Attempts with a smaller precision than was asked for.",
        ),
        Metric(
            "accelerate.attempt.duration",
            "histogram",
            "s",
            "From dispatch to its end; error.type is the kind of failure, or cancelled.",
        ),
        Metric("accelerate.worker.count", "up_down_counter", "{worker}", "Workers that are ready."),
        Metric(
            "accelerate.worker.start.duration",
            "histogram",
            "s",
            "From asking for a worker, or mending one, until it is ready or has failed to start.",
        ),
        Metric(
            "accelerate.worker.losses",
            "counter",
            "{worker}",
            "Workers that were lost; error.type is the kind of failure.",
        ),
        Metric(
            "accelerate.worker.mends",
            "counter",
            "{worker}",
            "Workers mended; accelerate.mend is device or page.",
        ),
        Metric(
            "accelerate.worker.busy_time", "counter", "s", "Time that attempts took on workers."
        ),
        Metric(
            "accelerate.worker.memory",
            "up_down_counter",
            "By",
            "Memory of workers' processes: as measured with a cell, and every 5 s under a limit.",
        ),
    )
}
