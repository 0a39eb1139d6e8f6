# SPDX-License-Identifier: Apache-2.0
"""`accel optimize FILE`: settings that were measured as better, written into a pipeline file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accelerate_core.errors import ConfigError

app = typer.Typer(rich_markup_mode=None)


@app.command()
def optimize(
    file: Annotated[Path, typer.Argument(help="Pipeline file (TOML).", metavar="FILE")],
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Show the change; write nothing.")] = (
        False
    ),
    is_undo: Annotated[
        bool, typer.Option("--undo", help="Take the last change back, if none followed.")
    ] = False,
    since: Annotated[str, typer.Option(help="How far back to look: 24h, 7d, 4w, all.")] = "30d",
    db: Annotated[Path, typer.Option(help="The database file.")] = Path("results.duckdb"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write settings into FILE that were measured as at least 5 % faster, with the reason beside.

    Threads, engines, preferred browsers, and which target or batch stands first. Shows the change,
    and keeps what FILE was for --undo. Exit code: 0, also when nothing is better; 2 usage, or a
    FILE that is none.
    """
    from accelerate_core.cli.output import print_json

    from ..advising.optimizing import undo
    from ..facade import Insights
    from .wording import as_typed

    if is_dry and is_undo:
        raise ConfigError("--dry-run and --undo exclude each other")
    if is_undo:
        found = undo(file)
    else:
        with as_typed():
            found = Insights(db).apply_performance_optimizations(
                file, dry_run=is_dry, time_range=since
            )
    if as_json:
        print_json(found.to_dict())
        return
    typer.echo(str(found))
    if found.backup is not None:
        typer.echo(f"Written. To take it back: accel optimize {file} --undo")
