# SPDX-License-Identifier: Apache-2.0
"""What an event means to people: a title, facts and a table, before any service's markup. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from .. import events
from ..texts import clean, one_line
from ..types import CellStatus, Measurement, RunInfo, RunSummary

#: From harmless to harmful. `good` is news that something is well again.
SEVERITIES = ("good", "info", "minor", "major", "critical")


@attrs.frozen(kw_only=True)
class Message:
    """Hold what people are told. Texts are cleaned, not escaped, and as long as they are."""

    key: str  #: of the event: the same message is told once
    subject: str  #: what it is about: later messages about it have it, too
    title: str  #: one line
    severity: str = "info"  #: one of `SEVERITIES`
    text: str = ""  #: may have several lines
    facts: tuple[tuple[str, str], ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    link: str | None = None
    attachments: Sequence[events.Attachment] = ()  #: made when somebody first looks at them


def message_of(event: events.Event) -> Message:
    """Return what to tell people of an event; of what is for machines, its name."""
    told = _TOLD.get(type(event), _other)(event)
    return attrs.evolve(
        told,
        title=one_line(told.title),
        text=clean(told.text),
        facts=tuple((one_line(name), one_line(value)) for name, value in told.facts),
        header=tuple(map(one_line, told.header)),
        rows=tuple(tuple(map(one_line, row)) for row in told.rows),
        link=event.link,
        attachments=event.attachments,
    )


def _run_started(event: events.RunStarted) -> Message:
    return _about(
        event,
        title=f"{_name(event.run)} started",
        facts=(("To measure", f"{len(event.cells)} cells"), *_of_run(event.run)),
    )


def _run_finished(event: events.RunFinished) -> Message:
    summary = event.summary
    word = "was interrupted" if summary.run.is_interrupted else "finished"
    bad = _failures(summary)
    worse = f", {len(event.still_worse)} still worse" if event.still_worse else ""
    return _about(
        event,
        title=f"{_name(summary.run)} {word}: {_counted(summary)}{worse}",
        severity="major" if summary.is_failed else "minor" if bad or worse else "good",
        text="\n".join(f"Still worse: {line}" for line in event.still_worse),
        facts=_of_run(summary.run),
        header=_HEADER,
        rows=tuple(map(_row, summary.measurements)),
    )


def _run_failed(event: events.RunFailed) -> Message:
    bad = _failures(event.summary)
    text = str(event.error.message) if event.error else ""
    if event.error and event.error.hint:
        text += f"\n{event.error.hint}"
    return _about(
        event,
        title=f"{_name(event.summary.run)} failed: "
        + (event.error.message if event.error else _counted(event.summary)),
        severity="critical" if event.error else "major",
        text=text,
        facts=_of_run(event.summary.run),
        header=("What", "Status", "Why"),
        rows=tuple(
            (str(one.cell), str(one.status), one.error.message if one.error else "") for one in bad
        ),
    )


def _measured(event: events.MeasurementStored) -> Message:
    one = event.measurement
    return _about(
        event,
        title=f"{one.cell}: {one.status if one.latency_ms is None else _ms(one.latency_ms)}",
        severity="info" if one.status in (CellStatus.OK, CellStatus.SKIPPED) else "minor",
        text=one.error.message if one.error else "",
        header=_HEADER,
        rows=(_row(one),),
    )


def _regression(event: events.Regression) -> Message:
    what = event.label or f"{event.metric} of {event.series_key[:12]}"
    numbers = f"{event.before:.4g} → {event.after:.4g} {event.unit}".rstrip()
    facts = [("Before → after", numbers)]
    if event.change is not None:
        change = f"{event.change:+.1%}"
        if event.change_low is not None and event.change_high is not None:
            change += f" (95%: {event.change_low:+.1%} to {event.change_high:+.1%})"
        facts.append(("Change", change))
    facts.append(("Severity", event.severity))
    named = (
        ("Cause", event.cause),
        ("Last good commit", event.last_good_commit),
        ("First bad commit", event.first_bad_commit),
        ("Last good run", event.last_good_run),
        ("First bad run", event.first_bad_run),
        ("Note", event.note),
        ("More", event.see),
    )
    facts += [(name, value) for name, value in named if value]
    is_fixed = event.status == "fixed"
    return _about(
        event,
        title=f"{what} {'is well again' if is_fixed else 'became worse'}: {numbers}",
        severity="good" if is_fixed else _known(event.severity),
        facts=tuple(facts),
    )


def _worker_gone(event: events.WorkerGone) -> Message:
    return _about(
        event,
        title=f"{event.target} {'was lost' if event.error else 'stopped'} ({event.worker_id})",
        severity="minor" if event.error else "info",
        text=event.error.message if event.error else "",
    )


def _notification(event: events.Notification) -> Message:
    return _about(
        event,
        title=event.title,
        severity=_known(event.severity),
        text=event.text,
        facts=event.facts,
        header=event.header,
        rows=event.rows,
    )


def _other(event: events.Event) -> Message:
    return _about(event, title=event.kind.replace("_", " "))


_TOLD: dict[type[events.Event], Callable[[Any], Message]] = {
    events.RunStarted: _run_started,
    events.RunFinished: _run_finished,
    events.RunFailed: _run_failed,
    events.MeasurementStored: _measured,
    events.Regression: _regression,
    events.WorkerGone: _worker_gone,
    events.Notification: _notification,
}

_HEADER = ("Model", "Target", "Precision", "Batch", "Status", "Latency", "Throughput")


def _about(
    event: events.Event,
    *,
    title: str,
    severity: str = "info",
    text: str = "",
    facts: Sequence[tuple[str, str]] = (),
    header: tuple[str, ...] = (),
    rows: tuple[tuple[str, ...], ...] = (),
) -> Message:
    return Message(
        key=event.key,
        subject=event.subject,
        title=title,
        severity=severity,
        text=text,
        facts=tuple(facts),
        header=header,
        rows=rows,
    )


def _row(one: Measurement) -> tuple[str, ...]:
    rate = one.throughput_items_per_second
    return (
        one.cell.model,
        str(one.cell.target),
        one.cell.precision,
        str(one.cell.batch_size),
        str(one.status),
        "" if one.latency_ms is None else _ms(one.latency_ms),
        "" if rate is None else f"{rate:.4g}/s",
    )


def _ms(value: float) -> str:
    return f"{value:.4g} ms"


def _name(run: RunInfo) -> str:
    return run.name or f"run {run.id[:8]}"


def _of_run(run: RunInfo) -> list[tuple[str, str]]:
    commit = run.project_commit
    named: Iterable[tuple[str, object]] = (
        ("Run", run.id),
        ("Commit", commit[:12] if commit else None),
        ("Branch", run.ci.get("branch")),
        ("Pull request", run.ci.get("pull_request")),
        ("Job", run.ci.get("job")),
        ("Machine", run.host.get("cpu") or run.host.get("processor")),
    )
    return [(name, str(value)) for name, value in named if value]


def _failures(summary: RunSummary) -> list[Measurement]:
    return [one for one in summary.measurements if one.is_failure]


def _counted(summary: RunSummary) -> str:
    counts = {status: 0 for status in CellStatus}
    for one in summary.measurements:
        counts[one.status] += 1
    words = [f"{count} {status}" for status, count in counts.items() if count]
    return ", ".join(words) or "nothing was measured"


def _known(severity: str) -> str:
    return severity if severity in SEVERITIES else "major"
