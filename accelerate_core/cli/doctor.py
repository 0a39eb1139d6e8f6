# SPDX-License-Identifier: Apache-2.0
"""`accel doctor`: what works here, what does not, and how to get it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from ..doctor import Diagnosis, Probe

app = typer.Typer(rich_markup_mode=None)

_STYLES = {
    "real": "bold green",
    "software": "yellow",
    "simulated": "magenta",
    "missing": "dim",
    "broken": "bold red",
}


@app.command()
def doctor(
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD", help="Only targets with this word in them. Repeatable."),
    ] = None,
    is_fixing: Annotated[bool, typer.Option("--fix", help="Mend what can be mended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Try every backend and browser for real, and say what is missing.

    Starts each, runs a tiny model on it and compares the numbers. Exit code: 0 all is well,
    1 something that is installed is broken, or nothing can run a model.
    """
    from ..doctor import examine
    from ..host import Host
    from .output import print_json

    with contextlib.redirect_stdout(sys.stderr), _progress() as tell:
        diagnosis = asyncio.run(
            examine(Host(), only=tuple(only or ()), is_fixing=is_fixing, tell=tell)
        )
    if as_json:
        print_json(_plain(diagnosis))
    else:
        _print(diagnosis, is_fixing=is_fixing)
    raise typer.Exit(int(not diagnosis.is_healthy))


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    from .output import console, warn

    out = console(is_stderr=True)
    if not out.is_terminal:
        yield lambda text: warn(f"trying {text}")
        return
    with out.status("looking") as status:
        yield lambda text: status.update(f"trying {text}")


def _plain(diagnosis: Diagnosis) -> dict[str, Any]:
    from ..serial import to_plain

    return {**to_plain(diagnosis), "is_healthy": diagnosis.is_healthy}


def _print(diagnosis: Diagnosis, *, is_fixing: bool) -> None:
    from rich.text import Text

    from .output import console

    out = console()
    if diagnosis.probes:
        out.print(_matrix(diagnosis.probes))
        out.print()
    if any(probe.worker for probe in diagnosis.probes):
        out.print(_ran(diagnosis.probes))
        out.print()
    for (state, message, hint), targets in _reasons(diagnosis.probes).items():
        head = Text(f"{', '.join(targets)} {state}: ", style=_STYLES[state])
        out.print(head.append(message, style="not bold not dim default"))
        if hint:
            out.print(Text(f"    {hint}", style="cyan"))
    out.print()
    for finding in diagnosis.findings:
        mark = Text("ok   " if finding.is_ok else "fail ", "green" if finding.is_ok else "bold red")
        out.print(mark.append(f"{finding.name}: {finding.detail}", style="not bold default"))
        if finding.remedy and not finding.is_ok:
            out.print(Text(f"    {finding.remedy}", style="cyan"))
        if finding.can_fix and not finding.is_ok and not is_fixing:
            out.print(Text("    accel doctor --fix mends it", style="cyan"))
    out.print()
    listed = ", ".join(f"{name} {version}" for name, version in diagnosis.versions.items())
    out.print(Text(listed, style="dim"))


def _reasons(probes: Sequence[Probe]) -> dict[tuple[str, str, str | None], list[str]]:
    """Return the targets that do not work by state, reason and remedy; broken ones first."""
    reasons: dict[tuple[str, str, str | None], list[str]] = {}
    for probe in sorted(probes, key=lambda probe: probe.state != "broken"):
        if probe.error is not None:
            key = (probe.state.value, probe.error.message, probe.error.hint)
            reasons.setdefault(key, []).append(str(probe.target))
    return reasons


def _matrix(probes: Sequence[Probe]) -> Table:
    """Return backends across, browsers down, and what came of each."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    backends = list(dict.fromkeys(probe.target.backend for probe in probes))
    browsers = list(dict.fromkeys(probe.target.browser or "" for probe in probes))
    cells = {(one.target.backend, one.target.browser or ""): one.state.value for one in probes}
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("browser")
    for backend in backends:
        table.add_column(backend)
    for browser in browsers:
        states = (cells.get((backend, browser), "") for backend in backends)
        table.add_row(
            browser or "(none: native)", *(Text(one, _STYLES.get(one, "")) for one in states)
        )
    return table


def _ran(probes: Sequence[Probe]) -> Table:
    """Return what is known of those that started."""
    from rich import box
    from rich.table import Table

    from .table import UNKNOWN

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("target", "version", "engine", "computed on"):
        table.add_column(heading, overflow="fold")
    table.add_column("took s", justify="right")
    for probe in probes:
        if probe.worker is None:
            continue
        table.add_row(
            str(probe.target),
            probe.version or UNKNOWN,
            probe.worker.engine_version or UNKNOWN,
            _device(probe),
            f"{(probe.took_ms or 0) / 1e3:.1f}",
        )
    return table


def _device(probe: Probe) -> str:
    worker = probe.worker
    adapter = worker.adapter if worker else None
    named = (adapter.description or adapter.device or adapter.architecture) if adapter else None
    vendor = adapter.vendor if adapter and not adapter.description else None
    words = [worker.device_type if worker else None, vendor, named]
    return " ".join(word for word in words if word) or "unknown"
