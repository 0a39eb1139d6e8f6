# SPDX-License-Identifier: Apache-2.0
"""`accel connectors`: are people reachable?"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import AccelerateError, ConfigError, did_you_mean

if TYPE_CHECKING:
    from ..config import PluginTable
    from ..protocols import Connector

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Try the connectors of a pipeline file."
)


@app.callback()
def _connectors() -> None:
    pass


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="Pipeline file (TOML).", metavar="FILE")],
    only: Annotated[
        list[str] | None, typer.Argument(help="Ids of connectors; all without.", metavar="[ID]...")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Try credentials, reachability and rights of each connector; nobody is told anything.

    Exit code: 0 all is well, 1 something is not, 2 usage or configuration.
    """
    from ..assembly import make_connectors, make_host
    from ..config import load
    from .output import print_json

    config = load(file)
    made = make_connectors(config, make_host(config))
    for name in only or ():
        if name not in made:
            raise ConfigError(
                f"no connector has the id {name!r}",
                where=str(file),
                accepted=tuple(made),
                hint=did_you_mean(name, made),
            )
    wanted = {name: one for name, (one, _) in made.items() if not only or name in only}
    problems = _check(wanted)
    for name in _unheard(made) & wanted.keys():
        problems[name].append(
            "it hears of notifications only, and no rule names it."
            " Name it in `to` of a rule, or let it hear more with `on`."
        )
    for one, _ in made.values():
        one.close()
    if as_json:
        print_json(problems)
    else:
        _print(problems, file)
    raise typer.Exit(int(any(problems.values())))


def _unheard(made: Mapping[str, tuple[Connector, PluginTable]]) -> set[str]:
    """Return the ids of connectors that nobody ever tells anything."""
    from ..assembly import kinds_of
    from ..events import Notification

    told = {name for one, _ in made.values() for name in getattr(one, "tells", ())}
    return {name for name, one in made.items() if kinds_of(*one) <= {Notification.kind}} - told


def _check(connectors: Mapping[str, Connector]) -> dict[str, list[str]]:
    """Ask all at once: each may have to wait for its service, and Ctrl-C waits for none."""
    problems: dict[str, list[str]] = {}

    def ask(name: str, connector: Connector) -> None:
        problems[name] = _problems(connector)

    threads = [
        threading.Thread(target=ask, args=one, name=f"check-{one[0]}", daemon=True)
        for one in connectors.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {name: problems[name] for name in connectors}


def _problems(connector: Connector) -> list[str]:
    from ..secrets import redact

    found: Sequence[str]
    try:
        found = connector.check()
    except AccelerateError as error:
        found = [str(error)]
    except Exception as error:
        found = [f"its check failed with {type(error).__name__}: {error} (a bug of the plugin)"]
    return [redact(one) for one in found]


def _print(problems: Mapping[str, Sequence[str]], file: Path) -> None:
    from rich.text import Text

    from ..texts import clean
    from .output import console

    out = console()
    if not problems:
        out.print(f"{file} has no [[connectors]].")
    for name, found in problems.items():
        state = ("ok", "bold green") if not found else ("not ok", "bold red")
        out.print(Text.assemble((name, "bold"), ": ", state))
        for one in found:
            text = clean(one).replace("\n", "\n  ")
            out.print(f"  {text}", soft_wrap=True)
