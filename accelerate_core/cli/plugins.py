# SPDX-License-Identifier: Apache-2.0
"""`accel plugins list|show|check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from ..inventory import Checked, Details, Installed

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List, show and check the installed plugins.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_plugins(as_json: AsJson = False) -> None:
    """List the installed plugins, from metadata alone: imports none of them."""
    from ..inventory import installed
    from .output import console, print_json

    plugins = installed()
    if as_json:
        print_json([_plain(plugin) for plugin in plugins])
        return
    table = _table("family", "name", "distribution", "version", "problem")
    for plugin in plugins:
        found, problem = plugin.found, plugin.problem
        table.add_row(
            plugin.family,
            found.name,
            found.distribution,
            found.version,
            problem.info.message if problem else "",
            style="bold red" if problem else "",
        )
    console().print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Plugin, or family.plugin.", metavar="NAME")],
    as_json: AsJson = False,
) -> None:
    """Load a plugin and show its settings and hooks."""
    from ..host import Host
    from ..inventory import details, installed, select
    from .output import print_json

    host = Host()
    shown = [(plugin, details(host, plugin)) for plugin in select(installed(), name)]
    if as_json:
        print_json([{**_plain(plugin), **_plain_details(about)} for plugin, about in shown])
        return
    for plugin, about in shown:
        _print_details(plugin, about)


@app.command()
def check(
    name: Annotated[
        str | None, typer.Argument(help="Plugin, or family.plugin; all without.", metavar="NAME")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load plugins and hold them to their contract; exit code 1 when one is broken."""
    from .. import inventory
    from ..host import Host
    from .output import console, print_json

    host = Host()
    plugins = inventory.installed()
    if name is not None:
        plugins = inventory.select(plugins, name)
    checked = [inventory.check(host, plugin) for plugin in plugins]
    if as_json:
        print_json([_plain_checked(one) for one in checked])
    else:
        table = _table("plugin", "import ms", "state")
        for one in checked:
            table.add_row(
                one.installed.key,
                "-" if one.import_ms is None else f"{one.import_ms:.0f}",
                "\n".join(one.faults) or _slow(one) or "ok",
                style="bold red" if one.faults else "yellow" if one.is_slow else "",
            )
        console().print(table)
    raise typer.Exit(int(any(one.faults for one in checked)))


def _slow(checked: Checked) -> str:
    from ..inventory import IMPORT_LIMIT_MS

    if not checked.is_slow:
        return ""
    return f"slow: over {IMPORT_LIMIT_MS:g} ms; import heavy libraries inside functions"


def _print_details(plugin: Installed, about: Details) -> None:
    from rich.text import Text

    from .output import console

    found = plugin.found
    out = console()
    out.print(Text(plugin.key, style="bold"), Text(f"({found.distribution} {found.version})"))
    if about.doc:
        out.print(about.doc)
    out.print(Text(f"from {found.value}", style="dim"))
    if about.hooks:
        out.print(f"hooks: {', '.join(about.hooks)}")
    if about.settings:
        table = _table("setting", "type", "default", "meaning")
        for one in about.settings:
            table.add_row(one.name, one.type, one.default, one.doc)
        out.print(table)
    elif about.hooks:
        out.print("takes no settings")


def _table(*headings: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="right" if "ms" in heading else "left")
    return table


def _plain(plugin: Installed) -> dict[str, Any]:
    found = plugin.found
    return {
        "family": plugin.family,
        "name": found.name,
        "distribution": found.distribution,
        "version": found.version,
        "value": found.value,
        "problem": plugin.problem.info.message if plugin.problem else None,
    }


def _plain_details(about: Details) -> dict[str, Any]:
    import attrs

    return attrs.asdict(about)


def _plain_checked(checked: Checked) -> dict[str, Any]:
    return {
        **_plain(checked.installed),
        "faults": list(checked.faults),
        "import_ms": checked.import_ms,
    }
