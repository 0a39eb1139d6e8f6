# SPDX-License-Identifier: Apache-2.0
"""`accel query "SQL"`: ask the results, also while a run writes them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from accelerate_core.errors import ConfigError
from accelerate_core.protocols import Table

# One command: the callback is the command. Options may follow the SQL.
app = typer.Typer(rich_markup_mode=None)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One read-only statement.", metavar="SQL")],
    db: Annotated[Path, typer.Option(help="The database file.")] = Path("results.duckdb"),
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
) -> None:
    """Run a read-only SQL query on stored results, also during a run."""
    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other")
    from .client import query as ask

    table = ask(db, sql)
    if as_json:
        typer.echo(to_json(table))
    elif as_csv:
        typer.echo(to_csv(table), nl=False)
    else:
        _print(table)


def to_json(table: Table) -> str:
    """Return a JSON array of objects; NaN and infinity become null, other types text."""
    names = _unique(table.columns)
    rows = [dict(zip(names, map(_plain, row), strict=True)) for row in table.rows]
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False)


def to_csv(table: Table) -> str:
    """Return CSV with a header; NULL is empty, lists and structs are JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow(["" if value is None else _cell(value) for value in row])
    return text.getvalue()


def _print(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=10_000)  # a pipe has no edge to fold at
    count = len(table.rows)
    grid = Grid(caption=f"{count} {'row' if count == 1 else 'rows'}", caption_justify="left")
    for index, name in enumerate(table.columns):
        is_number = any(_is_number(row[index]) for row in table.rows)
        grid.add_column(Text(name), justify="right" if is_number else "left")
    for row in table.rows:
        grid.add_row(
            *(Text("NULL", "dim") if value is None else Text(_cell(value)) for value in row)
        )
    console.print(grid)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | dict):
        return json.dumps(_plain(value), ensure_ascii=False)
    plain = _plain(value)
    return str(value if plain is None else plain)


def _plain(value: Any) -> Any:
    """Return JSON data."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _unique(names: Sequence[str]) -> list[str]:
    """Number repeated column names, so that no value of an object is lost."""
    unique: list[str] = []
    for name in names:
        candidate, number = name, 0
        while candidate in unique:
            number += 1
            candidate = f"{name}_{number}"
        unique.append(candidate)
    return unique
