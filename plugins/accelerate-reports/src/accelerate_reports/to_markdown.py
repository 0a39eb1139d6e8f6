# SPDX-License-Identifier: Apache-2.0
"""Markdown as GitHub reads it: fit for a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

from accelerate_core import hookimpl
from accelerate_core.protocols import Context, Report
from accelerate_core.texts import one_line
from accelerate_core.types import CellStatus, RunSummary

from . import notes
from .columns import COLUMNS, filled
from .files import FileReport, report_path
from .rows import CONDITIONS, UNKNOWN, Row, counts, rows, title

#: In the order shown, after the conditions that vary.
SHOWN = (
    "target",
    "status",
    "device",
    "latency",
    "interval",
    "p90",
    "p90_interval",
    "p95",
    "p95_interval",
    "p99",
    "p99_interval",
    "rate",
    "within",
    "samples",
    "inference",
    "throughput",
    "error",
    "tolerance",
    "load",
    "memory",
    "cached",
)
ALWAYS = ("target", "status", "device", "latency", "samples", "error")
FREE_TEXT = ("model", "precision", "target", "device")


def render(summary: RunSummary) -> str:
    """Return the table, then problems with their remedies, what ran, and the run's facts."""
    return "\n".join(_lines(summary, rows(summary))) + "\n"


def code(text: str, *, in_table: bool = False) -> str:
    """Return `text` as a code span, which nothing in it can end, link, mention or format."""
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    padding = " " if len(fence) > 1 else ""
    if in_table:
        text = text.replace("|", "\\|")
    return f"{fence}{padding}{text}{padding}{fence}"


def _lines(summary: RunSummary, shown: Sequence[Row]) -> Iterator[str]:
    verdict = "❌ failed" if summary.is_failed else "✅ passed"
    totals = ", ".join(f"{number} {status.value}" for status, number in counts(shown).items())
    yield f"## {verdict}: {totals or 'no measurements'}"
    yield ""
    for warning in notes.warnings(shown, is_interrupted=summary.run.is_interrupted):
        yield f"> {warning.replace('->', '&rarr;')}"
        yield ">"
    for note in summary.notes:
        yield f"> {code(one_line(note))}"
        yield ">"
    if shown:
        yield ""
        yield code(title(shown)) if title(shown) else ""
        yield ""
        yield from _table(shown)
    yield ""
    for problem in notes.problems(shown):
        mark = "❌" if problem.is_failure else "⚪"
        times = f" ({problem.cell_count} cells)" if problem.cell_count > 1 else ""
        yield f"- {mark} {code(problem.where)} {problem.status}{times}: {code(problem.explanation)}"
        if problem.remedy:
            yield f"  - What to do: {code(problem.remedy)}"
    yield ""
    yield "<details><summary>What ran</summary>"
    yield ""
    for environment in notes.environments(shown):
        parts = ", ".join(code(part) for part in environment.parts)
        yield f"- {code(environment.target)}: {parts}"
    for label, text in notes.facts(summary).items():
        yield f"- {label}: {code(text)}"
    yield ""
    yield "</details>"


def _table(shown: Sequence[Row]) -> Iterator[str]:
    names = filled((*CONDITIONS, *SHOWN), shown, ALWAYS)
    columns = [COLUMNS[name] for name in names]
    yield "| " + " | ".join(column.heading for column in columns) + " |"
    yield "|" + "|".join("---:" if column.number else ":---" for column in columns) + "|"
    for row in shown:
        yield "| " + " | ".join(_cell(name, row) for name in names) + " |"


def _cell(name: str, row: Row) -> str:
    text = COLUMNS[name].text(row)
    if name == "device" and (row.is_simulated or row.is_software):
        return f"**{text}**"
    if name == "status" and row.status != CellStatus.OK:
        return f"❌ **{text}**" if row.is_failure else f"⚪ {text}"
    return code(text, in_table=True) if name in FREE_TEXT and text != UNKNOWN else text


@attrs.frozen(kw_only=True)
class MarkdownSettings:
    """Say where the Markdown report goes."""

    #: File to write. Its directories are created, an older file is replaced.
    path: str = "report.md"


class MarkdownPlugin:
    """Write a table for a comment on a pull request."""

    name = "markdown"
    settings = MarkdownSettings

    @hookimpl
    def report_create(self, settings: MarkdownSettings, ctx: Context) -> Report:
        """Return a report that writes `settings.path`."""
        return FileReport(report_path(settings.path, where="reports.markdown.path"), render)
