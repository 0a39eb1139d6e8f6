# SPDX-License-Identifier: Apache-2.0
"""`accel browsers`: list the browsers of this system, and get more."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="List the browsers of this system, and get more.")


@app.command("list")
def list_browsers(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the browsers found here, and for each other one the command that gets it."""
    from accelerate_core.host import Host

    from .browsers import BrowserFound, look

    results = look(Host().context.cache_dir)
    if as_json:
        typer.echo(
            json.dumps(
                [
                    {
                        "browser": one.browser,
                        "is_found": isinstance(one, BrowserFound),
                        "version": getattr(one, "version", None),
                        "path": _text(getattr(one, "path", None)),
                        "driver": _text(getattr(one, "driver", None)),
                        "reason": getattr(one, "reason", None),
                        "remedy": getattr(one, "remedy", None),
                    }
                    for one in results
                ],
                indent=2,
            )
        )
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("browser", no_wrap=True)
    table.add_column("version", no_wrap=True)
    table.add_column("where, or how to get it", overflow="fold")
    for one in results:
        if isinstance(one, BrowserFound):
            places = [_short(one.path), *([f"driver {_short(one.driver)}"] if one.driver else [])]
            table.add_row(one.browser, one.version or "?", "\n".join(places))
        else:
            how = f"{one.reason}. {one.remedy}" if one.remedy else one.reason
            table.add_row(one.browser, "-", how, style="dim")
    Console(markup=False, highlight=False).print(table)


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


@app.command()
def install(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which ones; without names, all that can be had.")
    ] = None,
) -> None:
    """Install browsers: Debian's when root there, the headless shell with WebNN elsewhere."""
    from accelerate_core.host import Host

    from . import install as installing
    from .browsers import BrowserMissing, look

    cache_dir = Host().context.cache_dir
    installing.install(names or (), cache_dir, lambda line: print(line, file=sys.stderr))
    for one in look(cache_dir):
        if isinstance(one, BrowserMissing):
            if one.remedy and not names:
                typer.echo(f"{one.browser}: {one.reason}. To get it: {one.remedy}")
        elif not names or one.browser in names:
            typer.echo(f"{one.browser} {one.version or ''} {one.path}")
