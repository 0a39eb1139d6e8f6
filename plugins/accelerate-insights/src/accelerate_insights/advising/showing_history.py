# SPDX-License-Identifier: Apache-2.0
"""Trends as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ..values import Label, Point, Severity
from .recommending import number
from .sparkline import MARK, sparkline
from .trends import Trend, signed

#: Of the widest line of characters, and the narrowest that says something.
_WIDEST, _NARROWEST = 40, 12
#: What the other columns take.
_OTHERS = 56


def history_view(trends: Sequence[Trend], width: int) -> Iterator[RenderableType]:
    """Yield a table for each model, metric and machine, and below it what changed."""
    machines = {one.series.machine for one in trends}
    ordered = sorted(trends, key=_heading)
    for heading, alike in groupby(ordered, key=_heading):
        model, metric, machine = heading
        unit = next(one for one in ordered if _heading(one) == heading).series.metric.unit
        title = f"{model}, {metric} in {unit}"
        yield Text(title + (f", machine {machine}" if len(machines) > 1 else ""), style="bold")
        yield from _one(list(alike), width)
        yield Text()


def _heading(trend: Trend) -> tuple[str, str, str]:
    return trend.series.label.model, trend.series.metric.label, trend.series.machine


def _one(trends: Sequence[Trend], width: int) -> Iterator[RenderableType]:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    room = max(_NARROWEST, min(_WIDEST, width - _OTHERS))
    table.add_column("target", overflow="fold")
    table.add_column("over time", no_wrap=True, min_width=min(room, _NARROWEST))
    for name in ("n", "level", "±", "a week"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in trends:
        values = [point.value for point in one.series.points]
        marks = [finding.change.index for finding in one.findings]
        table.add_row(
            Text(_target(one.series.label)),
            Text(sparkline(values, room, marks)),
            f"{len(values):,}",
            number(one.level.value),
            "-" if one.spread is None else f"{one.spread:.0%}",
            _slope(one),
        )
    yield table
    for one in trends:
        yield from _changes(one)
    ran: dict[str, list[str]] = {}
    for one in trends:
        ran.setdefault(_versions(one.series.points), []).append(_target(one.series.label))
    for versions, targets in ran.items():
        if versions:
            who = "all" if len(ran) == 1 < len(trends) else ", ".join(targets)
            yield Text(f"  {who}: {versions}", style="dim")


def _slope(trend: Trend) -> Text:
    if trend.per_week is None:
        return Text("few points", style="dim")
    if not trend.is_moving:
        return Text("steady", style="dim")
    return Text(signed(trend.per_week.value))


def _changes(trend: Trend) -> Iterator[RenderableType]:
    for one in trend.findings:
        change, first = one.change, trend.series.points[one.change.index]
        style = {Severity.IMPROVEMENT: "green", Severity.MINOR: "yellow"}.get(one.severity, "red")
        text = Text(f"{MARK} {first.at:%Y-%m-%d %H:%M}  ")
        text.append(f"{change.relative:+.0%}", style=style)
        text.append(f" [{change.low:+.0%}, {change.high:+.0%}] {one.severity}")
        text.append(f"  {_target(trend.series.label)}")
        if first.commit:
            text.append(f", at commit {first.commit[:10]}")
        yield text


def _versions(points: Sequence[Point]) -> str:
    """Return what ran last, and what ran before it."""
    said = [
        ", ".join(part for part in (one.browser_version, one.engine_version) if part)
        for one in points
    ]
    before = next((one for one in reversed(said) if one != said[-1]), "")
    return said[-1] + (f"; before: {before}" if before else "")


def _target(label: Label) -> str:
    length = f" x{label.sequence_length}" if label.sequence_length else ""
    adapter = " (software)" if label.is_software else ""
    batch = f" batch {label.batch_size}" if label.batch_size != 1 else ""
    scenario = f" {label.scenario}" if label.scenario != "single_stream" else ""
    return f"{label.where} {label.precision}{batch}{length}{scenario}{adapter}"


def print_history(console: Console, trends: Sequence[Trend]) -> None:
    """Print it as wide as the console is."""
    for part in history_view(trends, console.width):
        console.print(part)
