# SPDX-License-Identifier: Apache-2.0
"""Every asked scenario under every asked strategy: progress, rows, database, report."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from accelerate_core.cli.interrupts import stoppable
from accelerate_core.cli.output import print_json, warn
from accelerate_core.errors import ConfigError, did_you_mean
from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.host import Host
from accelerate_core.protocols import Store
from accelerate_core.types import BROWSERS, Target

from . import experiment, host_crash, scenarios
from .checker import Rule
from .fleet import FleetPlan
from .records import Request, Row, Struck
from .workload import Workload, named, slow, tiny

#: Seconds a row takes beside its requests, to begin with.
_START_S = 3.5
#: Exit code of a process that SIGINT ended.
_INTERRUPTED = 130


@attrs.frozen(kw_only=True)
class Wanted:
    """Say what a campaign runs."""

    scenario: str
    strategies: tuple[str, ...] = ("immediate",)
    browsers: tuple[str, ...] = ("chromium",)
    backend: str = "wasm"
    requests: int = 100
    rate: float = 20.0
    deadline_s: float = 5.0
    every_s: float = 3.0
    workers: int = 3
    size: int = 64
    model: str | None = None
    seed: int = 0


def plans(host: Host, wanted: Wanted) -> tuple[experiment.Plan, ...]:
    """Return what is to be run, in order; ConfigError for a name nobody knows."""
    faults = experiment.known_faults(host)
    names = scenarios.names(faults) if wanted.scenario == "all" else (wanted.scenario,)
    for name in names:
        scenarios.check(name, faults)
    strategies = _known("strategy", wanted.strategies, host.names("recovery"), takes_all=True)
    browsers = _known("browser", wanted.browsers, BROWSERS)
    backend, _, engine = wanted.backend.partition("/")
    _known("backend", (backend,), host.names("backends"))
    settings = FleetSettings(
        max_workers=max(wanted.workers, len(browsers)),
        min_workers=-(-wanted.workers // len(browsers)),
        is_adaptive=True,
    )
    return tuple(
        experiment.Plan(
            scenario=name,
            fleet=FleetPlan(
                targets=tuple(Target(backend, engine or None, one) for one in browsers),
                strategy=strategy,
                settings=settings,
            ),
            requests=wanted.requests,
            rate=wanted.rate,
            deadline_s=wanted.deadline_s,
            every_s=wanted.every_s,
            seed=wanted.seed,
        )
        for name, strategy in itertools.product(names, strategies)
    )


def execute(wanted: Wanted, *, db: Path | None, html: Path | None, as_json: bool) -> int:
    """Run a campaign, tell of it, and return the exit code."""
    host = Host()
    todo = plans(host, wanted)
    for path in (db, html):
        if path is not None and not path.absolute().parent.is_dir():
            raise ConfigError(f"{path} cannot be written: its folder is not there", where="chaos")
    with contextlib.ExitStack() as stack:
        store: Store | None = None
        if db is not None:
            table = {"path": str(db)}
            store = host.create("stores", "duckdb", table, where="--db", tables=host.tables())
            stack.callback(store.close)
        try:
            rows = asyncio.run(_run(host, wanted, todo, store))
        except asyncio.CancelledError:
            return _INTERRUPTED
    if html is not None:
        from .report import write

        write(html, rows)
        warn(f"wrote {html}")
    if as_json:
        print_json([summary(row) for row in rows])
    else:
        _print(rows)
    if any(row.is_interrupted for row in rows) or len(rows) < len(todo):
        return _INTERRUPTED
    return 1 if any(row.verdict == "broken" for row in rows) else 0


async def _run(
    host: Host, wanted: Wanted, todo: Sequence[experiment.Plan], store: Store | None
) -> tuple[Row, ...]:
    from .store import save

    run_id = secrets.token_hex(8)

    async def work(stop: asyncio.Event) -> tuple[Row, ...]:
        workload = await _workload(host, wanted)
        rows: list[Row] = []
        refused: dict[str, Row] = {}  # scenarios that these targets cannot suffer
        asking_s = sum(plan.seconds for plan in todo)
        began_s = time.monotonic()
        for number, plan in enumerate(todo, 1):
            taken_s = (time.monotonic() - began_s) / len(rows) if rows else None
            # Before anything was measured: a start of browsers takes some seconds.
            left_s = (len(todo) - len(rows)) * (taken_s or asking_s / len(todo) + _START_S)
            left = f"about {left_s / 60:.0f} min left"
            warn(f"[{number}/{len(todo)}] {plan.scenario} x {plan.fleet.strategy}, {left}")
            if plan.scenario in refused:
                row = attrs.evolve(refused[plan.scenario], strategy=plan.fleet.strategy or "none")
            else:
                row = await _one(host, plan, workload, stop)
            if row.reason is not None:
                refused[plan.scenario] = row
            rows.append(row)
            warn(f"  {row.verdict}{': ' + row.reason if row.reason else ''}")
            if store is not None:
                await asyncio.to_thread(save, store, run_id, row)
            if stop.is_set():
                break
        return tuple(rows)

    return await stoppable(work, warn)


async def one(host: Host, wanted: Wanted) -> Row:
    """Run the first scenario of a campaign and return its row."""
    plan = plans(host, wanted)[0]
    return await _one(host, plan, await _workload(host, wanted), asyncio.Event())


async def _workload(host: Host, wanted: Wanted) -> Workload:
    if wanted.model is not None:
        return await named(host, wanted.model)
    return await (slow(host, wanted.size) if wanted.size else tiny(host))


async def _one(host: Host, plan: experiment.Plan, workload: Workload, stop: asyncio.Event) -> Row:
    if plan.scenario == scenarios.HOST_CRASH:
        return await host_crash.run(host, plan, stop=stop, tell=_teller(plan))
    return await experiment.run(host, plan, workload, stop=stop, tell=_teller(plan))


def _teller(plan: experiment.Plan) -> Callable[[Request | Struck], None]:
    counts = {"answered": 0, "errors": 0}
    every = max(1, plan.requests // 10)

    def tell(one: Request | Struck) -> None:
        if isinstance(one, Struck):
            warn(f"  {one.fault}: {one.seen or one.reason}")
            return
        counts["answered" if one.error is None else "errors"] += 1
        done = sum(counts.values())
        if done % every == 0:
            warn(f"  {done}/{plan.requests} requests, {counts['errors']} errors")

    return tell


def summary(row: Row) -> dict[str, Any]:
    """Return a row as JSON data: what was counted, not every request."""
    import numpy as np

    found: dict[str, Any] = {
        "scenario": row.scenario,
        "strategy": row.strategy,
        "targets": list(row.targets),
        "verdict": row.verdict,
        "reason": row.reason,
    }
    if row.reason is not None:
        return found
    errors = sorted({one.error for one in row.requests if one.error is not None})
    return {
        **found,
        "requests": len(row.requests),
        "answered": row.answered,
        "errors": {kind: sum(one.error == kind for one in row.requests) for kind in errors},
        **{rule.value: row.count(rule) for rule in Rule},
        "latency_ms": {
            f"p{part}": float(np.percentile(row.latencies_ms, part)) for part in (50, 95, 99)
        }
        if row.latencies_ms
        else None,
        "faults": [attrs.asdict(one) for one in row.struck],
        "recovery_ms": row.recoveries_ms,
        "workers_lost": row.workers_lost,
        "processes_left": row.processes_left,
        "folders_left": row.folders_left,
        "is_interrupted": row.is_interrupted,
    }


def _print(rows: Sequence[Row]) -> None:
    from rich.table import Table

    from accelerate_core.cli.output import console

    table = Table()
    for name in ("scenario", "strategy", "verdict", "faults", "answered", "recovery", "p99", ""):
        table.add_column(name)
    for row in rows:
        told = summary(row)
        latency = told.get("latency_ms") or {}
        worst = max(row.recoveries_ms, default=None)
        table.add_row(
            row.scenario,
            row.strategy,
            row.verdict,
            str(row.faults) if row.reason is None else "",
            f"{row.answered}/{len(row.requests)}" if row.reason is None else "",
            f"{worst:.0f} ms" if worst is not None else "",
            f"{latency['p99']:.0f} ms" if latency else "",
            row.reason or "; ".join(f"{one.rule} {one.about}" for one in row.findings[:3]),
        )
    console().print(table)


def _known(
    word: str, given: Sequence[str], known: Sequence[str], *, takes_all: bool = False
) -> tuple[str, ...]:
    """Return the names that were asked for; ConfigError for one nobody knows."""
    if takes_all and "all" in given:
        return tuple(known)
    for name in given:
        if name not in known:
            raise ConfigError(
                f"no {word} is called {name!r}",
                where=f"--{word}",
                accepted=(*(("all",) if takes_all else ()), *known),
                hint=did_you_mean(name, known),
            )
    return tuple(dict.fromkeys(given))
