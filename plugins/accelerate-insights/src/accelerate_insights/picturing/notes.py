# SPDX-License-Identifier: Apache-2.0
"""What is said of one run against its history."""

from __future__ import annotations

from collections.abc import Sequence

from accelerate_core.types import CellStatus, RunSummary

from ..reading import Results, Where, read_series
from ..values import Status
from .known import Known, detected, merged, stored

#: Of more changes than these the first are told.
_MOST = 5


def run_notes(summary: RunSummary, results: Results) -> tuple[str, ...]:
    """Return what became worse and better, up to this run, of what it measured."""
    began = summary.run.started_at.replace(tzinfo=None)
    keys = tuple({one.series_key for one in summary.measurements if one.status is CellStatus.OK})
    if not keys:
        return ()
    machine = results.query(
        "SELECT any_value(machine) FROM time_series_performance WHERE run_id = ?", [summary.run.id]
    ).rows[0][0]
    last = max(one.started_at for one in summary.measurements).replace(tzinfo=None)
    series = [
        one
        for one in read_series(results, Where(series_keys=keys), with_samples=True)
        if one.machine == machine
    ]
    found = [
        one
        for one in merged(stored(results, began, keys), detected(series))
        if one.machine == machine
        and one.changed_at <= last
        and one.status in (Status.OPEN, Status.ACKNOWLEDGED)
    ]
    worse, better = (
        [one for one in found if one.is_worse == is_worse] for is_worse in (True, False)
    )
    return (*_told(worse, "regression"), *_told(better, "improvement"))


def _told(found: Sequence[Known], word: str) -> tuple[str, ...]:
    if not found:
        return ()
    lines = [
        f"{word}: {one.metric.label} of {one.label}: {one.size}, since {one.since}"
        for one in found[:_MOST]
    ]
    more = len(found) - _MOST
    return (*lines, f"and {more} more: accel report --days 30") if more > 0 else tuple(lines)
