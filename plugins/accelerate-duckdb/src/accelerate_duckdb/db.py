# SPDX-License-Identifier: Apache-2.0
"""`accel db`: import, export, prune, merge, upgrade and look at database files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import attrs
import typer

from accelerate_core.errors import ConfigError

if TYPE_CHECKING:
    from accelerate_core.protocols import TableSet

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Import, export, prune, merge, upgrade and look at database files.",
)

Db: TypeAlias = Annotated[Path, typer.Option(help="The database file.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DB = Path("results.duckdb")
_AGE = re.compile(r"(\d+)([dwhy])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24, "y": 365 * 24}
#: Reasons that are printed; --json has all of them.
_SHOWN = 20


@app.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(help="JSON, JSON lines or CSV.", metavar="FILE")],
    db: Db = _DB,
    as_json: Json = False,
) -> None:
    """Import older results, and JSON or CSV reports; what is there already is not imported again.

    Exit code 2 for a file that is foreign, damaged or half-written; then nothing is imported.
    """
    from . import importing
    from .store import DuckDbStore

    incoming = [importing.read(path) for path in files]
    store = DuckDbStore.open(db)
    try:
        added = [store.add(one.runs, one.measurements) for one in incoming]
    finally:
        store.close()
    if as_json:
        _json(
            [
                {
                    "file": str(one.path),
                    "imported": new,
                    "known": len(one.measurements) - new,
                    "skipped": [attrs.asdict(row) for row in one.skipped],
                }
                for one, new in zip(incoming, added, strict=True)
            ]
        )
        return
    for one, new in zip(incoming, added, strict=True):
        typer.echo(
            f"{one.path}: {new} imported, {len(one.measurements) - new} there already, "
            f"{len(one.skipped)} skipped"
        )
        for row in one.skipped[:_SHOWN]:
            typer.echo(f"  row {row.row}: {row.reason}")
        if len(one.skipped) > _SHOWN:
            typer.echo(f"  and {len(one.skipped) - _SHOWN} more: --json has all of them")


@app.command("export")
def export_tables(
    folder: Annotated[
        Path, typer.Argument(help="One that is not there yet, or empty.", metavar="FOLDER")
    ],
    db: Db = _DB,
    as_json: Json = False,
) -> None:
    """Write every table as Parquet, in a folder that appears whole or not at all.

    Exit code 2 when there is no such database or the folder is not empty, 1 when the database
    cannot be read.
    """
    from .exporting import export

    counts = export(db, folder)
    if as_json:
        _json(counts)
        return
    _table(("table", "rows"), [(f"{table}.parquet", count) for table, count in counts.items()])


@app.command("prune")
def prune_runs(
    older_than: Annotated[str, typer.Option(help="Age of what goes: 90d, 12w, 36h, 1y.")],
    keep_runs: Annotated[
        int, typer.Option(min=0, help="The latest N runs stay, whatever their age.", metavar="N")
    ] = 0,
    is_dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    db: Db = _DB,
    as_json: Json = False,
) -> None:
    """Delete old runs with what belongs to them, and make the file smaller.

    Runs that an open finding names stay, and so do tables of plugins. Exit code 2 for an age
    that is none and when there is no such database, 1 when it cannot be written.
    """
    from .pruning import prune

    before = datetime.now(UTC).replace(tzinfo=None) - _age(older_than)
    pruned = prune(db, before, keep_runs=keep_runs, is_dry_run=is_dry_run)
    if as_json:
        _json({"is_dry_run": is_dry_run, "before": before.isoformat(), **attrs.asdict(pruned)})
        return
    _table(("table", "would go" if is_dry_run else "gone"), list(pruned.rows.items()))
    if not is_dry_run:
        typer.echo(f"{_size(pruned.size_before)} before, {_size(pruned.size_after)} now")


@app.command("merge")
def merge_files(
    others: Annotated[list[Path], typer.Argument(help="Databases to copy from.", metavar="FILE")],
    db: Db = _DB,
    as_json: Json = False,
) -> None:
    """Copy what databases of other machines hold into one; what is there already stays.

    Exit code 2 for a file that is not there, 1 for one that cannot be used.
    """
    from .merging import merge

    merged = merge(db, others, tables=_contributed())
    if as_json:
        _json([{**attrs.asdict(one), "path": str(one.path)} for one in merged])
        return
    for one in merged:
        typer.echo(f"{one.path}:")
        changed = [name for name in one.added if one.added[name] or one.updated[name]]
        rows = [(name, one.added[name], one.updated[name]) for name in changed]
        if rows:
            _table(("table", "added", "updated"), rows)
        else:
            typer.echo("  nothing new")
        if one.unknown:
            typer.echo(f"  not copied, the plugin is not installed: {', '.join(one.unknown)}")


@app.command("upgrade")
def upgrade(db: Db = _DB, as_json: Json = False) -> None:
    """Bring a file of an older version forward; a run or an import does so, too.

    Exit code 2 when there is no such database, 1 when it cannot be written.
    """
    from .looking import look
    from .store import DuckDbStore

    before = look(db).versions
    DuckDbStore.open(db, tables=_contributed()).close()
    after = look(db).versions
    if as_json:
        _json({"before": before, "after": after})
        return
    rows = [(name, before.get(name, 0), version) for name, version in after.items()]
    _table(("tables of", "before", "now"), rows)


@app.command("info")
def info(db: Db = _DB, as_json: Json = False) -> None:
    """Show a file's size, rows, span and versions, also during a run.

    Exit code 2 when there is no such database, 1 when it cannot be read.
    """
    from .looking import look

    found = look(db)
    if as_json:
        _json(attrs.asdict(found))
        return
    typer.echo(f"{found.path}: {_size(found.size)}, DuckDB {found.duckdb}")
    span = " to ".join(str(moment) for moment in (found.first, found.last))
    typer.echo(f"runs: {span}" if found.first else "no runs")
    _table(("tables of", "version"), list(found.versions.items()))
    _table(("table", "rows"), list(found.rows.items()))


def _contributed() -> Sequence[TableSet]:
    from accelerate_core.host import Host

    return Host().tables()


def _age(text: str) -> timedelta:
    if not (match := _AGE.fullmatch(text.strip())):
        raise ConfigError(
            f"{text!r} is no age", where="--older-than", accepted=("90d", "12w", "36h", "1y")
        )
    hours = int(match[1]) * _HOURS[match[2]]
    if hours > 100 * _HOURS["y"]:
        raise ConfigError(f"{text!r} is more than 100 years", where="--older-than")
    return timedelta(hours=hours)


def _size(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def _table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table()
    for index, title in enumerate(titles):
        grid.add_column(title, justify="right" if index else "left")
    for row in rows:
        grid.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    Console().print(grid)
