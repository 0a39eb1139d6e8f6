# SPDX-License-Identifier: Apache-2.0
"""Writes measurements into Prometheus, each at the time it was taken.

A request holds what one event says: Prometheus refuses a request as a whole, and one measurement
that comes too late must not take others with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from accelerate_core.errors import ConnectorError
from accelerate_core.events import Event, MeasurementStored, Regression, RunFinished

from .naming import label_value
from .plugin import RemoteWriteSettings
from .samples import Labels, Sample, make_labels, samples_of, with_labels
from .web import Client
from .writing import body

_WHERE = "prometheus-remote-write"
#: "Prometheus Remote-Write 1.0 specification", part "Protocol".
_HEADERS = {
    "content-encoding": "snappy",
    "content-type": "application/x-protobuf",
    "x-prometheus-remote-write-version": "0.1.0",
}
_NOT_ENABLED = (
    "Start Prometheus with --web.enable-remote-write-receiver, or set `url` to the whole address "
    "of another receiver."
)
_HINTS = {404: _NOT_ENABLED, 405: _NOT_ENABLED}
_TOO_LATE = (
    "Prometheus has newer values than these, and takes no older ones",
    "Let it take them: storage.tsdb.out_of_order_time_window in its configuration. "
    "Where two write the same series, give each a `job` or `labels` of its own.",
)
#: What Prometheus says of samples it will never take; not all versions answer 400 to all.
_NEVER = (
    ("out of order sample", *_TOO_LATE),
    ("out of bounds", *_TOO_LATE),
    ("too old sample", *_TOO_LATE),
    (
        "duplicate sample for timestamp",
        "Prometheus has another value of the same series and time",
        "Two write the same series: give each a `job` or `labels` of its own.",
    ),
)


class RemoteWrite:
    """Write each measurement, run and regression when it is stored."""

    kinds: ClassVar[tuple[str, ...]] = (MeasurementStored.kind, Regression.kind, RunFinished.kind)

    def __init__(self, settings: RemoteWriteSettings) -> None:
        self._labels = _labels(settings)
        self._client = Client(settings.url, settings, _WHERE)

    def deliver(self, event: Event) -> None:
        """Write what an event says, if anything."""
        if samples := samples_of(event):
            self._write(samples)

    def check(self) -> Sequence[str]:
        """Write nothing, which needs the same rights as something."""
        try:
            self._write(())
        except ConnectorError as error:
            return [str(error)]
        return []

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _write(self, samples: Sequence[Sample]) -> None:
        content = body(samples, self._labels)
        try:
            self._client.send("POST", "", content=content, headers=_HEADERS, hints=_HINTS)
        except ConnectorError as error:
            for words, message, hint in _NEVER:
                if words in error.info.message:
                    raise ConnectorError(
                        message, where=_WHERE, hint=hint, retryable=False
                    ) from None
            raise


def _labels(settings: RemoteWriteSettings) -> Labels:
    own = ((name, label_value(value)) for name, value in settings.labels.items())
    return with_labels(make_labels(job=settings.job), own)
