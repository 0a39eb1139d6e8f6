# SPDX-License-Identifier: Apache-2.0
"""`accel report`: a stored run again, in any format; or what changed over several days."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from ..errors import ConfigError, StoreError
from ..texts import short_id
from .database import looked_at

if TYPE_CHECKING:
    from ..host import Host
    from ..types import RunInfo, RunSummary

app = typer.Typer(rich_markup_mode=None)

#: How far back a run is looked for, and how many are listed.
_HISTORY = 10_000
_LISTED = 20
#: Formats of --days that nobody reads in a terminal.
_FILES = ("html", "pdf")


@app.command()
def report(
    run: Annotated[
        str, typer.Argument(help="The run's id or how it begins.", metavar="RUN")
    ] = "latest",
    db: Annotated[Path, typer.Option(help="Database with the runs.")] = Path("results.duckdb"),
    format_name: Annotated[
        str, typer.Option("--format", help="terminal, html, markdown, csv, json, junit, ...")
    ] = "terminal",
    output: Annotated[
        str | None, typer.Option(metavar="FILE", help="File to write; - prints it instead.")
    ] = None,
    days: Annotated[
        float | None,
        typer.Option(help="Report about all runs of the last DAYS instead.", metavar="DAYS"),
    ] = None,
    is_list: Annotated[bool, typer.Option("--list", help="List the runs instead.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the list, or the run, as JSON.")
    ] = (False),
) -> None:
    """Report a stored run again, in any format; or, with --days, what changed over many runs.

    With --days the formats are html, markdown, json and pdf; markdown when none is given.
    """
    from ..host import Host
    from ..serial import to_plain
    from .execute import show_summary
    from .output import print_json

    host = Host()
    if days is not None:
        if run != "latest" or is_list:
            raise ConfigError("a report about days has no RUN and no --list", where="--days")
        if not 0 < days < math.inf:
            raise ConfigError(f"{days:g} is no time", where="--days", accepted=["more than 0"])
        chosen = "json" if as_json else "markdown" if format_name == "terminal" else format_name
        _report_days(host, db, days, chosen, output)
        return
    settings = _report_settings(host, format_name, output)
    with looked_at(host, db) as store:
        if is_list:
            runs = store.runs(_LISTED)
            summary = None
        else:
            summary = store.summary(_find(store.runs(_HISTORY), run, db).id)
            summary = attrs.evolve(summary, notes=host.run_notes(summary, store))
    if summary is None:
        print_json([to_plain(one) for one in runs]) if as_json else _print_runs(runs)
    elif as_json:
        print_json({**to_plain(summary), "is_failed": summary.is_failed})
    elif format_name == "terminal":
        show_summary(summary, host)
    elif output == "-":
        _print_report(host, format_name, summary)
    else:
        path = host.create("reports", format_name, settings, where="--output").write(summary)
        if path is not None:
            print(path)


def _report_days(host: Host, db: Path, days: float, name: str, output: str | None) -> None:
    """Print a text, write what is for a program: report.html, report.pdf."""
    if output is None and name in _FILES:
        output = f"report.{name}"
    if output not in (None, "-") and not Path(output).expanduser().resolve().parent.is_dir():
        raise ConfigError(
            "no such directory", where=f"--output {output}", hint="Create it, or name another."
        )
    with looked_at(host, db) as store:
        made = host.performance_report(store, days, name)
    if output is None or output == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(made)
        sys.stdout.buffer.flush()
        return
    path = Path(output).expanduser()
    try:
        path.write_bytes(made)
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", where=str(path)) from error
    print(path)


def _report_settings(host: Host, name: str, output: str | None) -> dict[str, Any]:
    """Return the report's settings; ConfigError for a format nobody has, before all else."""
    if name != "terminal":
        host.plugin("reports", name, where="--format")
    if output is None or output == "-":
        return {}
    if not host.takes("reports", name, "path"):
        raise ConfigError(
            f"the report {name!r} writes no file",
            where="--output",
            hint="Choose another format: --format html",
        )
    return {"path": output}


def _find(runs: Sequence[RunInfo], wanted: str, db: Path) -> RunInfo:
    if not runs:
        raise StoreError("no run is stored", where=str(db))
    if wanted == "latest":
        return runs[0]
    found = [run for run in runs if run.id.startswith(wanted)]
    if len(found) != 1:
        raise ConfigError(
            f"{len(found) or 'no'} run{'s begin' if found else ' begins'} with {wanted!r}",
            where=str(db),
            accepted=[short_id(run.id) for run in (found or runs)[:10]],
            hint="accel report --list shows them.",
        )
    return found[0]


def _print_report(host: Host, name: str, summary: RunSummary) -> None:
    """Print what a file report writes."""
    with tempfile.TemporaryDirectory(prefix="accel-report-") as folder:
        if not host.takes("reports", name, "path"):
            host.create("reports", name, where="--format").write(summary)
            return
        path = Path(folder, "report")
        host.create("reports", name, {"path": str(path)}, where="--output").write(summary)
        sys.stdout.write(path.read_text(encoding="utf-8"))


def _print_runs(runs: Sequence[RunInfo]) -> None:
    from rich import box
    from rich.table import Table

    from .output import console, warn

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("run", "name", "started (UTC)", "took s", "state"):
        table.add_column(heading, justify="right" if heading == "took s" else "left")
    for run in runs:
        took = (run.finished_at - run.started_at).total_seconds() if run.finished_at else None
        state = "interrupted" if run.is_interrupted else "finished" if took is not None else "open"
        table.add_row(
            short_id(run.id),
            run.name or "-",
            f"{run.started_at:%Y-%m-%d %H:%M:%S}",
            "-" if took is None else f"{took:.1f}",
            state,
        )
    console().print(table)
    if len(runs) == _LISTED:
        warn(f"the latest {_LISTED}; all of them: accel query 'SELECT * FROM run_counts'")
