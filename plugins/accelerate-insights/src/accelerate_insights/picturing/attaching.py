# SPDX-License-Identifier: Apache-2.0
"""Pictures that go with messages: the series of a regression, the cells of a run."""

from __future__ import annotations

from datetime import timedelta

import attrs
from accelerate_reports import plots as of_a_run
from accelerate_reports.plots import Plot

from accelerate_core.events import Attachment, Regression
from accelerate_core.memory_store import MemoryStore
from accelerate_core.protocols import Store
from accelerate_core.types import RunSummary

from ..values import METRICS
from . import plots
from .gathering import Line, lines, spots
from .known import Known, stored

#: So much of the past is drawn; whoever wants more has the report.
_DAYS = 90
#: Fewer cells are compared by nobody.
_FEWEST = 2
#: More make a picture that no message shows well.
_MOST = 16


def of_regression(event: Regression, store: Store) -> tuple[Attachment, ...]:
    """Return the series over time with the change marked; nothing where it is not stored."""
    if isinstance(store, MemoryStore) or event.metric not in METRICS:
        return ()
    since = (event.at - timedelta(days=_DAYS)).replace(tzinfo=None)
    found = [one for one in stored(store, since, (event.series_key,)) if one.id == event.id]
    if not found:
        return ()
    (change,) = found
    mine = [line for line in lines(store, since, (event.metric,)) if _is_of(line, change)]
    plot = plots.over_time(mine, spots(store, since, mine) if mine else {}, found, 0)
    if plot is None:
        return ()
    what = event.label or change.label
    return (_png("series", plot, f"{what}, the last {_DAYS} days: {change.size}"),)


def of_run(summary: RunSummary) -> tuple[Attachment, ...]:
    """Return the latencies of a run's cells beside each other; nothing for a single one."""
    measured = [one for one in summary.measurements if one.latency_ms is not None]
    (plot, *_) = (*of_a_run.plots(measured[:_MOST]), None)
    if plot is None or plot.id != "latency" or len(plot.data) < _FEWEST:
        return ()
    drawn, count = len(plot.data), len(measured)
    title = f"Latency of the first {drawn} of {count} cells" if count > drawn else "Latency"
    said = "; ".join(f"{row['label']}: {row['text']}" for row in plot.data)
    return (_png("latency", attrs.evolve(plot, title=title), f"{title}: {said}"),)


def _is_of(line: Line, change: Known) -> bool:
    return line.id == (change.series_key, change.machine, change.metric.name)


def _png(name: str, plot: Plot, description: str) -> Attachment:
    from .painting import painted

    return Attachment(
        name=f"{name}.png",
        media_type="image/png",
        data=painted(plot),
        description=description,
    )
