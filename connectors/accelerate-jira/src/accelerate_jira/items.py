# SPDX-License-Identifier: Apache-2.0
"""Which issues an event is about. Pure."""

from __future__ import annotations

import hashlib

import attrs

from accelerate_core.delivering.message import Message, message_of
from accelerate_core.events import Event, Regression, RunFailed, RunFinished
from accelerate_core.texts import clean, one_line
from accelerate_core.types import CellStatus, Measurement, RunSummary

#: A run with more failed series has one issue: one thing broke, and not each cell by itself.
MOST_SERIES = 5


@attrs.frozen(kw_only=True)
class Item:
    """What the issue about one subject is told."""

    message: Message
    is_over: bool = False  #: what the issue is about is well again
    is_routine: bool = False  #: it is told only where an issue is known that is not over yet

    @property
    def label(self) -> str:
        """The label by which the issue is found."""
        return "accelerate-" + hashlib.sha256(self.message.subject.encode()).hexdigest()[:16]


def items_of(event: Event) -> list[Item]:
    """Return what to tell which issues: one for each series of a run, one of anything else."""
    message = message_of(event)
    if isinstance(event, RunFinished):
        return _well(message, event.summary)
    if isinstance(event, RunFailed) and (series := _failed(event.summary)):
        if len(series) <= MOST_SERIES:
            return [_of_series(message, key, ones) for key, ones in series.items()]
        return [Item(message=attrs.evolve(message, subject=_many(event.summary)))]
    is_over = isinstance(event, Regression) and event.status == "fixed"
    return [Item(message=message, is_over=is_over)]


def _failed(summary: RunSummary) -> dict[str, list[Measurement]]:
    series: dict[str, list[Measurement]] = {}
    for one in summary.measurements:
        if one.is_failure:
            series.setdefault(one.series_key, []).append(one)
    return series


def _many(summary: RunSummary) -> str:
    """Return the subject of the issue about many failed series."""
    return f"failures:{summary.run.name or summary.run.id}"


def _well(whole: Message, summary: RunSummary) -> list[Item]:
    """Return that series do not fail any more; those that never did have no issue."""
    rows: dict[str, list[tuple[str, ...]]] = {}
    for one, row in zip(summary.measurements, whole.rows, strict=True):
        rows.setdefault(one.series_key, []).append(row)
    bad = {one.series_key for one in summary.measurements if one.status is not CellStatus.OK}
    names = {one.series_key: str(one.cell) for one in summary.measurements}
    told = {
        f"series:{key}": (f"{names[key]} works again", tuple(rows[key]))
        for key in rows
        if key not in bad
    }
    if not summary.is_failed and not summary.run.is_interrupted:
        told[_many(summary)] = (whole.title, whole.rows)
    return [
        Item(
            message=attrs.evolve(
                whole,
                key=f"{whole.key}:{subject}",
                subject=subject,
                title=one_line(title),
                rows=shown,
                attachments=(),
            ),
            is_over=True,
            is_routine=True,
        )
        for subject, (title, shown) in told.items()
    ]


def _of_series(whole: Message, series: str, ones: list[Measurement]) -> Item:
    first = ones[0]
    title = f"{first.cell}: {first.status}" + (f": {first.error.message}" if first.error else "")
    return Item(
        message=attrs.evolve(
            whole,
            key=f"{whole.key}:{series}",
            subject=f"series:{series}",
            title=one_line(title),
            text=clean(first.error.hint or "") if first.error else "",
            rows=tuple(row for row in whole.rows if row[0] in {str(one.cell) for one in ones}),
        )
    )
