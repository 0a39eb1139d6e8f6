# SPDX-License-Identifier: Apache-2.0
"""Run or preview a configuration and show what came of it: what `run` and `bench` share."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..assembly import make_host
from ..config import Config
from ..errors import BackendUnavailable
from ..host import Host
from ..measuring import pipeline
from ..measuring.matrix import Planned
from ..serial import to_plain
from ..types import RunSummary
from .commands import INTERRUPTED
from .interrupts import stoppable
from .output import console, print_json, warn
from .profile import check_trace, plain_profiles, show_profiles, write_trace
from .progress import Progress, make_progress
from .table import failures, plain_table, regression_lines

TERMINAL = "terminal"
_TICK_S = 0.25


def execute(
    config: Config,
    *,
    only: Sequence[str],
    as_json: bool,
    is_profiled: bool = False,
    trace: Path | None = None,
    resume: bool | None = None,
) -> int:
    """Run a configuration, print its results and return the exit code.

    `trace` is a file for the kernels of a profiled run; `resume` is as for `pipeline.run`.
    """
    if trace is not None:
        check_trace(trace)
    host = make_host(config)
    check_sources(config, host)
    # Reports may print; with --json, stdout is for JSON alone.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        try:
            outcome = asyncio.run(
                _run(config, host, only, is_profiled or trace is not None, resume)
            )
        except asyncio.CancelledError:
            warn(f"Cancelled. What was stored before is kept.{_way_on(config, resume)}")
            return INTERRUPTED
    summary = outcome.summary
    if trace is not None:
        write_trace(trace, outcome.profiles)
    if as_json:
        print_json(
            {
                **to_plain(summary),
                "is_failed": summary.is_failed,
                "reports": {name: path and str(path) for name, path in outcome.reports.items()},
                "problems": list(outcome.problems),
                "regressions": to_plain(outcome.regressions),
                "still_worse": list(outcome.still_worse),
                "profiles": plain_profiles(outcome.profiles),
            }
        )
    else:
        if not any(table.use == TERMINAL for table in config.reports):
            show_summary(summary, host)
        for name, path in outcome.reports.items():
            if path is not None:
                print(f"{name} report: {path}")
        show_profiles(outcome.profiles)
        for line in regression_lines(outcome.regressions):
            print(line)
        for line in outcome.still_worse:
            print(f"still worse: {line}")
    for line in (*_broken(host), *outcome.problems):
        warn(f"warning: {line}")
    if summary.run.is_interrupted:
        measured = f"{_measured(summary)} of {len(summary.measurements)} cells measured."
        warn(f"Interrupted: {measured}{_way_on(config, resume)}")
        return INTERRUPTED
    return int(outcome.is_failed)


def preview(config: Config, *, only: Sequence[str], as_json: bool) -> int:
    """Print the cells a run would measure; 1 when a required one is missing, else 0."""
    host = make_host(config)
    check_sources(config, host)
    planned = asyncio.run(pipeline.preview(config, host, only))
    if as_json:
        print_json([_plain_cell(one) for one in planned])
    else:
        _print_cells(planned)
    return int(any(one.is_required and _missing(one) is not None for one in planned))


def check_sources(config: Config, host: Host) -> None:
    """Refuse references that no installed source serves, before anything starts."""
    for model in config.models:
        host.source(model.source)


def show_summary(summary: RunSummary, host: Host) -> None:
    """Print a run with the report plugin `terminal`, or plainly where there is none."""
    if TERMINAL in host.names("reports"):
        host.create("reports", TERMINAL).write(summary)
        return
    out = console()
    out.print(plain_table(summary))
    for line in failures(summary):
        out.print(line)


async def _run(
    config: Config, host: Host, only: Sequence[str], is_profiled: bool, resume: bool | None
) -> pipeline.Outcome:
    with _progress(is_continuing=bool(resume)) as progress:
        return await stoppable(
            lambda stop: pipeline.run(
                config,
                host,
                observer=progress,
                only=only,
                stop=stop,
                is_profiled=is_profiled,
                resume=resume,
            ),
            progress.say,
        )


@contextlib.contextmanager
def _progress(*, is_continuing: bool) -> Iterator[Progress]:
    progress = make_progress(is_continuing=is_continuing)

    async def tick() -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            progress.tick()

    ticking = asyncio.ensure_future(tick())
    try:
        yield progress
    finally:
        ticking.cancel()
        progress.close()


def _missing(planned: Planned) -> BackendUnavailable | None:
    return None if planned.benchmark.fallback else planned.missing


def _plain_cell(planned: Planned) -> dict[str, Any]:
    missing = _missing(planned)
    return {
        "cell": to_plain(planned.cell),
        "is_required": planned.is_required,
        "missing": to_plain(missing.info) if missing else None,
    }


def _print_cells(planned: Sequence[Planned]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("target", "model", "prec", "batch", "tokens", "state"):
        is_number = heading in ("batch", "tokens")
        table.add_column(heading, overflow="fold", justify="right" if is_number else "left")
    reasons: dict[str, dict[str, None]] = {}
    for one in planned:
        cell, missing = one.cell, _missing(one)
        if missing is not None:
            hint = f"\n    {missing.info.hint}" if missing.info.hint else ""
            reasons.setdefault(f"{missing.info.message}{hint}", {})[str(cell.target)] = None
        state = "ready" if missing is None else "missing"
        state += ", required" if one.is_required else ""
        table.add_row(
            str(cell.target),
            cell.model,
            cell.precision,
            str(cell.batch_size),
            str(cell.sequence_length or "-"),
            Text(
                state,
                style="green" if missing is None else "bold red" if one.is_required else "dim",
            ),
        )
    out = console()
    out.print(table)
    for reason, targets in reasons.items():
        out.print(f"{', '.join(targets)}: {reason}", soft_wrap=not out.is_terminal)
    ready = sum(_missing(one) is None for one in planned)
    out.print(f"{ready} of {len(planned)} cells can be measured here.")


def _broken(host: Host) -> list[str]:
    return [f"{one.group} {one.name!r} was skipped: {one.error}" for one in host.problems]


def _way_on(config: Config, resume: bool | None) -> str:
    if resume is False and config.pool.durable:
        return " The same command without --fresh goes on where it was."
    return " The same command goes on where it was." if resume or config.pool.durable else ""


def _measured(summary: RunSummary) -> int:
    return sum(bool(one.samples_ms) for one in summary.measurements)
