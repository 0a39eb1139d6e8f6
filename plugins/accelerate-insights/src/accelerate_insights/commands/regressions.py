# SPDX-License-Identifier: Apache-2.0
"""`accel regressions`: what became worse, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..watching.alerts import Alert, Stored

app = typer.Typer(
    rich_markup_mode=None,
    help="What became worse than it was, and what became of it. Without a word: list.\n\n"
    "Exit code: 0, or 2 for an unknown id or wrong usage, 1 when the database cannot be used.",
)

_Db = Annotated[Path, typer.Option(help="The database file.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Id = Annotated[str, typer.Argument(metavar="ID", help="The finding, or how its id begins.")]
_Note = Annotated[str | None, typer.Option(help="Why; kept with the finding.")]
_Since = Annotated[str, typer.Option(help="Detected within 24h, 7d, 4w, ...")]
_All = Annotated[
    bool, typer.Option("--all", help="Also what is fixed, will not be fixed, or became better.")
]
_USUAL = Path("results.duckdb")

#: How long to wait for a run that holds the file.
_WAIT_S = 120.0


@app.callback(invoke_without_command=True)
def regressions(
    context: typer.Context,
    db: _Db = _USUAL,
    since: _Since = "all",
    is_all: _All = False,
    as_json: _Json = False,
) -> None:
    """List them."""
    if context.invoked_subcommand is None:
        show_list(db, since, is_all, as_json)


@app.command("list")
def show_list(
    db: _Db = _USUAL, since: _Since = "all", is_all: _All = False, as_json: _Json = False
) -> None:
    """List what is open or acknowledged; findings with one cause are one alert."""
    from accelerate_core.cli.output import print_json

    from ..advising.asking import since as moment
    from ..reading import Database
    from ..values import Status
    from ..watching import alerts

    found = alerts.read(
        Database(db),
        statuses=tuple(Status) if is_all else alerts.PENDING,
        since=moment(since, where="--since"),
        with_better=is_all,
    )
    if as_json:
        print_json([_plain_alert(one) for one in found])
    else:
        _print_alerts(found, is_all)


@app.command("find")
def find_(
    detector: Annotated[str, typer.Option(help="An installed detector.")] = "shift",
    min_effect: Annotated[
        float, typer.Option(min=0.005, max=1.0, help="Least change that matters, relative.")
    ] = 0.05,
    db: _Db = _USUAL,
    is_all: Annotated[bool, typer.Option("--all", help="Also what became better.")] = False,
    as_json: _Json = False,
) -> None:
    """Look for changes in all that was measured, and keep nothing: a detector on trial."""
    from accelerate_core.cli.output import print_json
    from accelerate_core.host import Host

    from ..detecting import find
    from ..detecting.choosing import choose
    from ..reading import Database, read_series
    from ..watching import alerts
    from ..watching.plugin import WatchSettings

    chosen = choose(Host(), detector, min_effect, where="--detector")
    series = read_series(Database(db), metrics=WatchSettings().metrics)
    found = alerts.of(one for one in find(series, detector=chosen) if one.is_worse or is_all)
    if as_json:
        print_json([_plain_alert(one) for one in found])
    else:
        _print_alerts(found, is_all)


@app.command()
def show(finding: _Id, db: _Db = _USUAL, as_json: _Json = False) -> None:
    """Show all that is known of a finding."""
    from accelerate_core.cli.output import print_json

    from ..reading import Database
    from ..watching import alerts

    one = alerts.find(Database(db), finding)
    if as_json:
        print_json(_plain(one))
    else:
        _print(one)


@app.command()
def ack(finding: _Id, note: _Note = None, db: _Db = _USUAL) -> None:
    """Say that somebody looks at it."""
    _set(finding, "acknowledged", note, db)


@app.command()
def fix(finding: _Id, note: _Note = None, db: _Db = _USUAL) -> None:
    """Say that it is fixed; it is opened again when it comes back."""
    _set(finding, "fixed", note, db)


@app.command()
def wontfix(finding: _Id, note: _Note = None, db: _Db = _USUAL) -> None:
    """Say that it stays as it is."""
    _set(finding, "wont_fix", note, db)


@app.command("open")
def open_(finding: _Id, note: _Note = None, db: _Db = _USUAL) -> None:
    """Open it again."""
    _set(finding, "open", note, db)


def _set(prefix: str, word: str, note: str | None, db: Path) -> None:
    from accelerate_duckdb.store import DuckDbStore

    from ..reading import Database
    from ..values import Status
    from ..watching import alerts, keeping

    # Asked first: the process that holds the file answers, and a wrong id needs no waiting.
    one = alerts.find(Database(db), prefix)
    store = DuckDbStore.open(db, wait_s=_WAIT_S)
    try:
        with store.transaction() as transaction:
            keeping.set_status(transaction, one.id, Status(word), note)
    finally:
        store.close()
    typer.echo(f"{one.id[: alerts.SHORT]} {one.status} -> {word}: {one.what}")


def _print_alerts(found: list[Alert], is_all: bool) -> None:
    from accelerate_core.cli.output import console

    out = console()
    for alert in found:
        out.print(alert.why, style="bold", soft_wrap=True)
        for one in alert.findings:
            out.print(f"  {_line(one)}", soft_wrap=True)
    out.print(_count(found, is_all))


def _line(one: Stored) -> str:
    from ..watching.alerts import SHORT

    state = one.status if one.note is None else f"{one.status}: {one.note}"
    return f"{one.id[:SHORT]}  {one.severity:<11} {one.what}: {_numbers(one)}  [{state}]"


def _numbers(one: Stored) -> str:
    from accelerate_core.cli.table import number

    text = f"{number(one.before)} -> {number(one.after, one.unit)} ({one.change:+.0%}"
    if one.change_low is not None and one.change_high is not None:
        text += f", between {one.change_low:+.0%} and {one.change_high:+.0%}"
    return text + ")"


def _count(found: list[Alert], is_all: bool) -> str:
    number = sum(len(one.findings) for one in found)
    what = "finding" if is_all else "regression"
    what += "" if number == 1 else "s"
    causes = "1 cause" if len(found) == 1 else f"{len(found)} causes"
    return f"{number} {what} with {causes}" if found else f"No {what}."


def _print(one: Stored) -> None:
    from rich.table import Table

    from accelerate_core.cli.output import console

    from ..picturing.words import confidence

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    commits = f"{one.last_good_commit or 'unknown'} .. {one.first_bad_commit or 'unknown'}"
    for name, text in (
        ("id", one.id),
        ("what", one.what),
        ("change", _numbers(one)),
        ("severity", f"{one.severity}, at {confidence(one.confidence)} confidence"),
        ("status", f"{one.status}, {one.updated_at:%Y-%m-%d %H:%M} UTC"),
        ("note", one.note),
        ("cause", one.cause),
        ("commits", commits),
        ("last good run", one.last_good_run),
        ("first bad run", f"{one.first_bad_run}, {one.changed_at:%Y-%m-%d %H:%M} UTC"),
        ("measured again", "yes, and it stayed" if one.was_measured_again else "no"),
        ("machine", one.machine),
        ("evidence", ", ".join(f"{key} {value}" for key, value in one.evidence.items())),
    ):
        if text:
            grid.add_row(name, text)
    console().print(grid)


def _plain_alert(alert: Alert) -> dict[str, Any]:
    return {"cause": alert.why, "findings": [_plain(one) for one in alert.findings]}


def _plain(one: Stored) -> dict[str, Any]:
    import attrs

    from accelerate_core.serial import to_plain

    plain: dict[str, Any] = to_plain(attrs.asdict(one))
    return plain
