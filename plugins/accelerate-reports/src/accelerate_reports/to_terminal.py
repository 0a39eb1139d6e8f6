# SPDX-License-Identifier: Apache-2.0
"""The terminal: a compact table, also while the run goes on, and notes below it.

table = ResultTable(cells)
with rich.live.Live(table):
    table.add(measurement)      # as each one arrives
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from accelerate_core import hookimpl
from accelerate_core.protocols import Context, Report
from accelerate_core.texts import one_line
from accelerate_core.types import Cell, CellStatus, Measurement, RunSummary

from . import notes
from .columns import COLUMNS, Column, filled, short
from .rows import CONDITIONS, Row, counts, duration_s, row, rows, title, varying

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table
    from rich.text import Text

#: In the order shown.
SHOWN = (
    *CONDITIONS,
    "target",
    "status",
    "device",
    "latency",
    "interval",
    "p95",
    "p99",
    "rate",
    "within",
    "samples",
    "inference",
    "throughput",
    "error",
    "load",
    "memory",
    "cached",
)
#: Left out one after the other until the table fits. The rest is always shown.
DISPENSABLE = (
    "cached",
    "p95",
    "p99",
    "memory",
    "load",
    "throughput",
    "interval",
    "inference",
    "rate",
    "within",
)
#: Columns that may be wrapped, and the width up to which they are not.
WRAPPED = {"model": 20, "target": 29}

#: Width where nobody says how wide the output is: a log file, a pipe. Nothing is cut or wrapped.
UNLIMITED = 1000


def row_cells(measurement: Measurement | Row, names: Sequence[str] = SHOWN) -> list[Text]:
    """Return one table row: a styled text for each column name."""
    from rich.text import Text

    shown = row(measurement) if isinstance(measurement, Measurement) else measurement
    return [Text(COLUMNS[name].text(shown), style=_style(shown, name)) for name in names]


def _style(row: Row, name: str) -> str:
    if name == "device" and row.is_simulated:
        return "bold magenta"
    if not row.is_failure and row.status != CellStatus.OK:
        return "dim"
    if name == "status":
        return "bold red" if row.is_failure else "green"
    if name == "error" and row.status == CellStatus.MISMATCH:
        return "bold red"
    if name == "device" and row.is_software:
        return "yellow"
    return "bold" if name in ("target", "latency") else ""


def fitting(rows: Sequence[Row], width: int, names: Sequence[str] = SHOWN) -> tuple[str, ...]:
    """Choose the columns that fit `width` without cutting a number."""
    kept = list(names)

    def needed() -> int:
        return sum(_width(name, rows) + 2 for name in kept)

    for name in DISPENSABLE:
        if needed() <= width:
            break
        if name in kept:
            kept.remove(name)
    return tuple(kept)


def _width(name: str, rows: Sequence[Row]) -> int:
    from rich.cells import cell_len

    column = COLUMNS[name]
    texts = [column.title, column.unit, *(column.text(row) for row in rows)]
    return min(max(map(cell_len, texts)), WRAPPED.get(name, 1000))


class ResultTable:
    """A rich renderable that grows row by row and drops columns to fit where it is shown."""

    def __init__(self, cells: Iterable[Cell] = ()) -> None:
        """Say which cells will come: what they share is said once, in the title."""
        self._cells = tuple(cells)
        self._rows: list[Row] = []

    def add(self, measurement: Measurement) -> None:
        """Append one measurement."""
        self._rows.append(row(measurement))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.table(options.max_width)

    def table(self, width: int = UNLIMITED) -> Table:
        """Return the table of what was added so far, at most `width` characters wide."""
        from rich import box
        from rich.table import Table

        conditions = varying(self._cells or self._rows)
        others = [name for name in SHOWN if name not in CONDITIONS]
        always = [name for name in others if name not in DISPENSABLE]
        names = fitting(self._rows, width, (*conditions, *filled(others, self._rows, always)))
        table = Table(
            title=title(self._cells or self._rows) or None,
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            padding=(0, 1, 0, 0),
        )
        for name in names:
            _add_column(table, COLUMNS[name], is_wrapped=name in WRAPPED)
        for shown in self._rows:
            table.add_row(*row_cells(shown, names))
        return table


def _add_column(table: Table, column: Column, *, is_wrapped: bool) -> None:
    from rich.text import Text

    header = Text(column.title)
    if column.unit:
        header.append(f"\n{column.unit}", style="dim")
    table.add_column(
        header,
        justify="right" if column.number else "left",
        no_wrap=not is_wrapped,
        overflow="fold",
    )


def notes_below(summary: RunSummary) -> RenderableType:
    """Return what belongs below the table: counts, warnings, problems, what ran where."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    shown = rows(summary)
    lines: list[RenderableType] = [""]
    for problem in notes.problems(shown):
        style = "bold red" if problem.is_failure else "dim"
        times = f" ({problem.cell_count} cells)" if problem.cell_count > 1 else ""
        head = Text(f"{problem.where} {problem.status}{times}: ", style=style)
        head.append(problem.explanation, style="not bold" if problem.is_failure else "dim")
        lines.append(head)
        if problem.remedy:
            lines.append(Padding.indent(Text(problem.remedy, style="cyan"), 4))
    lines += [""] if len(lines) > 1 else []
    for environment in notes.environments(shown):
        lines.append(Text(f"{environment.target}: {', '.join(environment.parts)}", style="dim"))
    for warning in notes.warnings(shown, is_interrupted=summary.run.is_interrupted):
        lines.append(Text(warning, style="yellow"))
    lines += [Text(one_line(note), style="bold") for note in summary.notes]
    lines.append(_totals(summary, shown))
    return Group(*lines)


def _totals(summary: RunSummary, shown: Sequence[Row]) -> Text:
    from rich.text import Text

    parts = [f"{number} {status.value}" for status, number in counts(shown).items()]
    seconds = duration_s(summary)
    took = f" in {short(seconds)} s" if seconds is not None else ""
    verdict = ("FAILED", "bold red") if summary.is_failed else ("PASSED", "bold green")
    return Text.assemble(verdict, f" {', '.join(parts) or 'no measurements'}{took}")


class TerminalReport:
    """Print a run to standard output."""

    def write(self, summary: RunSummary) -> None:
        """Print the table and the notes; colours only where NO_COLOR and a terminal allow."""
        from rich.console import Console

        is_sized = sys.stdout.isatty() or "COLUMNS" in os.environ
        console = Console(width=None if is_sized else UNLIMITED, highlight=False)
        table = ResultTable(measurement.cell for measurement in summary.measurements)
        for measurement in summary.measurements:
            table.add(measurement)
        with console.capture() as captured:
            if summary.measurements:
                console.print(table)
            console.print(notes_below(summary))
        # An error text may hold anything; a terminal that cannot show it must not end the report.
        encoding = sys.stdout.encoding or "utf-8"
        text = captured.get().encode(encoding, "replace").decode(encoding)
        if not sys.stdout.isatty():
            text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
        sys.stdout.write(text)
        sys.stdout.flush()

    def notes(self, summary: RunSummary) -> RenderableType:
        """Return what `write` prints below the table."""
        return notes_below(summary)

    def live(self, cells: Iterable[Cell]) -> ResultTable:
        """Return a table for `rich.live.Live`, to which the caller adds what arrives."""
        return ResultTable(cells)


class TerminalPlugin:
    """Print the results as a table."""

    name = "terminal"

    @hookimpl
    def report_create(self, settings: None, ctx: Context) -> Report:
        """Return a report that prints to standard output."""
        return TerminalReport()
