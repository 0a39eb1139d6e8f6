# SPDX-License-Identifier: Apache-2.0
"""`accel outbox`: what connectors were told, what waits, and what was given up."""

from __future__ import annotations

import collections
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from .database import looked_at, opened

if TYPE_CHECKING:
    from ..delivering.tending import Delivery
    from ..protocols import Store

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="What connectors are told: what waits, what was given up, what arrived.\n\n"
    "Exit code: 0, or 2 for an unknown name or wrong usage, 1 when something cannot be done.",
)

_Db = Annotated[Path, typer.Option(help="The database file.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
_Which = Annotated[
    list[str] | None,
    typer.Argument(
        help="Numbers, or how keys begin, as the list shows them.", metavar="[WHICH]..."
    ),
]
_AllDead = Annotated[bool, typer.Option("--all", help="Everything that was given up.")]
_USUAL = Path("results.duckdb")


@app.command("list")
def show(
    db: _Db = _USUAL,
    connector: Annotated[str | None, typer.Option(help="Only of this connector.")] = None,
    is_all: Annotated[
        bool, typer.Option("--all", help="Also what arrived or was dropped.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """List what waits and what was given up, oldest first."""
    from ..delivering import tending
    from ..host import Host
    from ..serial import to_plain
    from .output import print_json

    states = tending.STATES if is_all else ("waiting", "dead")
    with looked_at(Host(), db) as records:
        known = tending.deliveries(records)
    names = sorted({one.connector for one in known})
    found = [one for one in known if one.state in states and connector in (None, one.connector)]
    if as_json:
        print_json([to_plain(one) for one in found])
    elif connector is not None and connector not in names:
        typer.echo(f"Nothing was ever for {connector}, only for: {', '.join(names) or 'nobody'}.")
    else:
        _print(found, is_all=is_all)


@app.command()
def retry(
    which: _Which = None,
    is_all: _AllDead = False,
    db: _Db = _USUAL,
) -> None:
    """Make deliveries due again, as if they were new; the next run, or `send`, tries them."""
    from ..delivering import tending
    from ..host import Host

    _check(which, is_all)
    with opened(Host(), db) as store:
        again = tending.retry(store, _wanted(store, which), datetime.now(UTC))
    typer.echo(f"{_count(len(again))} due again; send them: accel outbox send FILE")


@app.command()
def drop(
    which: _Which = None,
    is_all: _AllDead = False,
    db: _Db = _USUAL,
) -> None:
    """Forget deliveries: what did not arrive never will."""
    from ..delivering import tending
    from ..host import Host

    _check(which, is_all)
    with opened(Host(), db) as store:
        dropped = tending.drop(store, _wanted(store, which), datetime.now(UTC))
    typer.echo(f"{_count(len(dropped))} dropped")


@app.command()
def send(
    file: Annotated[Path, typer.Argument(help="Pipeline file (TOML).", metavar="FILE")],
    wait_s: Annotated[
        float, typer.Option("--wait", help="Seconds to try, at most.", min=0.0)
    ] = 60.0,
    as_json: _Json = False,
) -> None:
    """Deliver what is due, without a run: for cron, and after `retry`.

    Exit code: 0 nothing is left that is due, 1 something could not be delivered.
    """
    from ..assembly import assemble, make_host
    from ..config import load
    from ..delivering import tending
    from ..serial import to_plain
    from ..texts import clean
    from .output import print_json, warn

    config = load(file)
    if config.store is None:
        raise ConfigError(
            "without a store nothing outlives a run",
            where=str(file),
            hint='Keep it: [store] use = "duckdb" (pip install accelerate-duckdb)',
        )
    with assemble(config, make_host(config)) as assembly:
        before = tending.deliveries(assembly.store, ("waiting",))
        assembly.dispatcher.settle(wait_s, is_stubborn=True)
        problems = assembly.dispatcher.problems()
        assembly.dispatcher.close()  # it writes down what was tried
        left = tending.deliveries(assembly.store, ("waiting",))
        known = assembly.dispatcher.names
    problems += [
        f"{name}: {_count(count)} for a connector that {file} does not have"
        for name, count in collections.Counter(one.connector for one in left).items()
        if name not in known
    ]
    if as_json:
        print_json({"left": [to_plain(one) for one in left], "problems": problems})
    else:
        for problem in problems:
            warn(clean(problem))
        typer.echo(f"{len(before) - len(left)} of {_count(len(before))} delivered or given up")
    raise typer.Exit(int(bool(problems)))


def _check(which: list[str] | None, is_all: bool) -> None:
    if bool(which) == is_all:
        raise ConfigError(
            "name deliveries, or all", accepted=("WHICH...", "--all"), hint="accel outbox list"
        )


def _wanted(store: Store, which: list[str] | None) -> list[Delivery]:
    from ..delivering import tending

    return tending.chosen(store, which) if which else tending.deliveries(store, ("dead",))


def _count(number: int) -> str:
    return "1 message" if number == 1 else f"{number} messages"


def _print(found: list[Delivery], *, is_all: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from .output import console

    out = console()
    if not found:
        out.print("The outbox is empty." if is_all else "Everything was delivered.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("no", "connector", "event", "state", "tries", "since", "not before", "why"):
        table.add_column(name, overflow="fold" if name == "why" else "ellipsis")
    styles = {"waiting": "yellow", "dead": "bold red", "delivered": "green", "dropped": "dim"}
    for one in found:
        table.add_row(
            str(one.number),
            one.connector,
            one.kind,
            Text(one.state, style=styles[one.state]),
            str(one.attempts),
            f"{one.put_at:%m-%d %H:%M}",
            f"{one.due_at:%m-%d %H:%M}" if one.due_at > one.put_at else "",
            _why(one),
        )
    out.print(table)


def _why(one: Delivery) -> str:
    from ..texts import clean

    if one.state == "delivered":
        return clean(one.url or "")
    return clean(one.error.message) if one.error else ""
