# SPDX-License-Identifier: Apache-2.0
"""A comparison as a table, as Markdown for a pull request, and as JSON data. Pure but for rich."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accelerate_core.serial import to_plain
from accelerate_core.texts import short_id
from accelerate_core.types import RunInfo

from ..values import METRICS
from .rows import Comparison, Row, Verdict

if TYPE_CHECKING:
    from rich.table import Table

UNKNOWN = "-"
_STYLES = {Verdict.WORSE: "bold red", Verdict.BETTER: "green", Verdict.UNDECIDED: "yellow"}
_HEADINGS = ("cell", "metric", "A", "B", "B to A", "interval")


def summary_line(comparison: Comparison) -> str:
    """Return one line that says what came of it."""
    counts = [
        f"{comparison.count(verdict)} {verdict}" for verdict in Verdict if comparison.count(verdict)
    ]
    return f"{comparison.verdict.upper()}: {', '.join(counts)}"


def fine_print(comparison: Comparison) -> list[str]:
    """Return what the verdicts rest on, and all that was not compared."""
    terms = comparison.terms
    how = "taken in turns (A B B A)" if comparison.is_interleaved else "of two separate runs"
    lines = [
        f"A is {_run(comparison.old)}; B is {_run(comparison.new)}. Samples {how}.",
        f"Changes below {100 * terms.min_effect:.3g} % do not count. The chance that anything is "
        f"called worse when nothing is slower is at most {100 * terms.alpha:.3g} %.",
    ]
    lines += [f"{row.cell}, {_named(row)}: {row.note}" for row in comparison.rows if row.note]
    lines += [f"Only in A: {cell}" for cell in comparison.only_old]
    lines += [f"Only in B: {cell}" for cell in comparison.only_new]
    lines += comparison.notes
    return lines


def table(comparison: Comparison) -> Table:
    """Return the rows as a table for a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in (*_HEADINGS, "verdict"):
        is_number = heading in ("A", "B", "B to A", "interval")
        # What people named is folded where room is short, never a number or a verdict.
        grid.add_column(
            heading,
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=heading != "cell",
        )
    for row in comparison.rows:
        grid.add_row(*_cells(row), Text(row.verdict, style=_STYLES.get(row.verdict, "")))
    return grid


def markdown(comparison: Comparison) -> str:
    """Return a comment for a pull request: the verdict, what matters, and the rest folded."""
    worse = [row for row in comparison.rows if row.verdict is Verdict.WORSE]
    parts = [f"**{summary_line(comparison)}**"]
    if worse:
        parts.append(_grid(worse))
    lines = "\n".join(f"- {_escaped(line)}" for line in fine_print(comparison))
    title, rest = "How it was measured", ""
    if len(worse) < len(comparison.rows):
        title, rest = "All rows, and how it was measured", f"{_grid(comparison.rows)}\n\n"
    parts.append(f"<details><summary>{title}</summary>\n\n{rest}{lines}\n\n</details>")
    return "\n\n".join(parts) + "\n"


def plain(comparison: Comparison) -> dict[str, Any]:
    """Return JSON data: the verdict on the whole, then all rows."""
    return {"verdict": comparison.verdict.value, **to_plain(comparison)}


def _grid(rows: list[Row] | tuple[Row, ...]) -> str:
    headings = (*_HEADINGS, "verdict")
    lines = [f"| {' | '.join(headings)} |", f"|{' --- |' * len(headings)}"]
    for row in rows:
        lines.append(f"| {' | '.join(map(_escaped, (*_cells(row), f'**{row.verdict}**')))} |")
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    metric = METRICS.get(row.metric)
    return (
        str(row.cell),
        _named(row),
        _number(row.old, metric.unit if metric else ""),
        _number(row.new, metric.unit if metric else ""),
        _change(row.change),
        UNKNOWN if row.low is None else f"{_change(row.low)} to {_change(row.high)}",
    )


def _named(row: Row) -> str:
    return METRICS[row.metric].label if row.metric in METRICS else row.metric


def _number(value: float | None, unit: str) -> str:
    return UNKNOWN if value is None else f"{value:.3g} {unit}"


def _change(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:+.1%}" if abs(value) < 0.1 else f"{value:+.0%}"


def _run(run: RunInfo) -> str:
    commit = f", commit {run.project_commit[:12]}" if run.project_commit else ""
    return (
        f"{run.name or 'a run'} {short_id(run.id)} of {run.started_at:%Y-%m-%d %H:%M} UTC{commit}"
    )


def _escaped(text: str) -> str:
    """Keep what users named from being Markdown or HTML."""
    for mark in ("\\", "|", "`", "[", "]", "_"):
        text = text.replace(mark, f"\\{mark}")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("@", "&#64;")
    return " ".join(text.split())
