# SPDX-License-Identifier: Apache-2.0
"""`accel prometheus`: what Prometheus and Grafana need, and what they know."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from accelerate_core.errors import ConfigError

if TYPE_CHECKING:
    from .asking import Series

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Alert rules, a dashboard, and what a Prometheus knows.",
)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@app.command()
def rules() -> None:
    """Print alert rules: accel prometheus rules > rules.yml."""
    from importlib.resources import files

    typer.echo(files(__package__).joinpath("rules.yml").read_text("utf-8"), nl=False)


@app.command()
def dashboard() -> None:
    """Print a dashboard for Grafana to import: accel prometheus dashboard > dashboard.json."""
    from accelerate_core.cli.output import print_json

    from .dashboard import dashboard as made

    print_json(made())


@app.command()
def history(
    metric: Annotated[
        str,
        typer.Argument(
            help="As Prometheus calls it, with labels if you like: "
            "'accelerate_measurement_latency_seconds{model=\"tiny\"}'."
        ),
    ],
    url: Annotated[str, typer.Option(help="Where Prometheus is.")] = "http://127.0.0.1:9090",
    since: Annotated[str, typer.Option(help="How far back: 90m, 24h, 30d, 8w.")] = "30d",
    username: Annotated[str, typer.Option(help="For basic authentication.")] = "",
    password: Annotated[
        str | None, typer.Option(help="env:NAME, file:PATH or keyring:SERVICE/USER.")
    ] = None,
    token: Annotated[str | None, typer.Option(help="Bearer token, written likewise.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Show what a metric was over time, a line for each series.

    Exit code: 0, also when there is nothing; 1 Prometheus cannot be asked, 2 usage.
    """
    from accelerate_core.cli.output import print_json
    from accelerate_core.settings import structure

    from .access import Asked
    from .asking import history as ask

    given = {"url": url, "username": username, "password": password, "token": token}
    table = {name: value for name, value in given.items() if value}
    access = structure(table, Asked, where="accel prometheus history")
    found = ask(access.url, metric, _span(since), access)
    if as_json:
        print_json(
            [
                {
                    "labels": dict(one.labels),
                    "points": [[moment.isoformat(), value] for moment, value in one.points],
                }
                for one in found
            ]
        )
    elif found:
        _print(found)
    else:
        typer.echo(f"Prometheus has nothing of it within {since}.")


def _span(text: str) -> timedelta:
    match = re.fullmatch(r"([1-9]\d{0,4})([mhdw])", text)
    if not match:
        raise ConfigError(
            f"{text!r} is no length of time",
            where="--since",
            accepted=("90m", "24h", "30d", "8w"),
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _print(found: Sequence[Series]) -> None:
    from rich import box
    from rich.table import Table

    from accelerate_core.cli.output import console
    from accelerate_core.texts import one_line

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for name in ("series", "first", "lowest", "highest", "latest", "on"):
        table.add_column(name, justify="left" if name in ("series", "on") else "right")
    for one in found:
        values = [value for _, value in one.points]
        labels = ", ".join(
            f"{name}={one_line(value)}"
            for name, value in sorted(one.labels.items())
            if name != "__name__"
        )
        numbers = (values[0], min(values), max(values), values[-1])
        latest = f"{one.points[-1][0]:%Y-%m-%d %H:%M}"
        table.add_row(labels, *(f"{number:.4g}" for number in numbers), latest)
    console().print(table)
