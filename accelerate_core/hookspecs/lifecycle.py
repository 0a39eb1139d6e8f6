# SPDX-License-Identifier: Apache-2.0
"""Lifecycle hooks: broadcast to every plugin that implements them, in any family.

An observer that raises is logged, counted and shown by `accel doctor`; it never hurts the run.
"""

from .. import events
from ..markers import hookspec


@hookspec
def run_started(event: events.RunStarted) -> None:
    """A run begins."""


@hookspec
def run_finished(event: events.RunFinished) -> None:
    """A run did all it could, or was interrupted."""


@hookspec
def run_failed(event: events.RunFailed) -> None:
    """A run failed: sent after `run_finished`, or instead when an error ended it."""


@hookspec
def cell_started(event: events.CellStarted) -> None:
    """Work on a cell begins."""


@hookspec
def cell_progress(event: events.CellProgress) -> None:
    """A phase of a cell began or advanced."""


@hookspec
def measurement_stored(event: events.MeasurementStored) -> None:
    """A measurement was committed."""


@hookspec
def job_finished(event: events.JobFinished) -> None:
    """A job was answered, or failed for good."""


@hookspec
def worker_started(event: events.WorkerStarted) -> None:
    """A worker is ready."""


@hookspec
def worker_lost(event: events.WorkerGone) -> None:
    """A worker was lost or stopped."""


@hookspec
def metrics_recorded(event: events.MetricsRecorded) -> None:
    """Something happened that metrics count: each point is added to its counter or histogram.

    Names, units and attributes follow OpenTelemetry's conventions; docs/pool.md lists them.
    """


@hookspec
def regression(event: events.Regression) -> None:
    """An analysis found a measurement worse than its history, or well again: see its status."""


@hookspec
def notification(event: events.Notification) -> None:
    """Rules made a message of other events."""
