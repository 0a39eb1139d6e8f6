# SPDX-License-Identifier: Apache-2.0
"""Delivering: what gets lost or doubled under faults and kills, and what a run pays for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import attrs
from accelerate_duckdb.store import DuckDbStore

from accelerate_core.assembly import make_host
from accelerate_core.config import parse
from accelerate_core.delivering import tending
from accelerate_core.delivering.dispatcher import Dispatcher, Route
from accelerate_core.delivering.outbox import OutboxPlugin
from accelerate_core.delivering.relay import SILENT_S
from accelerate_core.events import Event, Regression, RunFinished
from accelerate_core.measuring import pipeline
from accelerate_core.testing import samples
from accelerate_core.types import RunSummary
from tools.places import ROOT

from ._measure import Figure, median, paired_ratio, turns
from ._notes import NotesPlugin
from ._sender import PAUSE_S
from ._services import LINK, PLACES, Place
from ._world import Options, conditions, new_folder

#: Requests of a run that is to be short.
_SHORT = 20
#: Of all requests, so many fail.
_SHARE = 0.2
_MODEL = Path(str(resources.files("accelerate_core") / "data")) / "tiny_mlp.onnx"


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield the time of an event put, the cost of connectors that are down, then what arrived."""
    with new_folder() as folder:
        yield await asyncio.to_thread(_put, folder / "put.duckdb", options.count(500, 50))
    async for figure in _down(options):
        yield figure
    for name in [one for one in PLACES if not options.only or one in options.only]:
        count = options.length(1000, 40)
        yield await asyncio.to_thread(_killed, name, count)


def _put(path: Path, count: int) -> Figure:
    store = DuckDbStore.open(path, tables=OutboxPlugin().store_tables())
    dispatcher = Dispatcher(store, {"nobody": _nowhere()})
    taken: dict[str, list[float]] = {"alone": [], "with": [], "without": []}
    try:
        store.save_run(samples.run_info())
        for number, event in enumerate(_events(count)):
            one = samples.measurement(3 * number)
            for name, act in (
                ("alone", lambda event=event: dispatcher.tell(event)),
                ("without", lambda one=one: store.save_measurement(one)),
                ("with", lambda event=event, one=one: _stored(dispatcher, store, event, one)),
            ):
                began = time.perf_counter()
                act()
                taken[name].append(1e3 * (time.perf_counter() - began))
    finally:
        store.close()
    more = median(taken["with"]) - median(taken["without"])
    return Figure(
        figure="connectors_put_p50_ms",
        value=median(taken["alone"]),
        unit="ms",
        conditions=conditions(events=count, beside_a_measurement_ms=round(more, 3)),
    )


def _stored(dispatcher: Dispatcher, store: DuckDbStore, event: Event, one: Any) -> None:
    def make() -> Sequence[Event]:
        store.save_measurement(attrs.evolve(one, id=f"{one.id}-with"))
        return (attrs.evolve(event, run_id="with"),)

    dispatcher.storing(make)


def _nowhere() -> Route:
    """Return a route whose relay is never started: what is put stays."""
    connector: Any = None
    return Route(connector, frozenset((Regression.kind, RunFinished.kind)))


def _events(count: int) -> list[Event]:
    """Return regressions, each of a series of its own."""
    sample = next(one for one in samples.every_event() if isinstance(one, Regression))
    return [
        attrs.evolve(
            sample, id=f"r-{number:04}", series_key=5 * f"{number:012}", label=f"series {number}"
        )
        for number in range(count)
    ]


def _runs(count: int) -> list[Event]:
    """Return ends of runs of ten pipelines."""
    return [
        RunFinished(
            run_id=run.id,
            at=samples.START,
            link=LINK.format(run.id),
            summary=RunSummary(run=run, measurements=(samples.measurement(run_id=run.id),)),
        )
        for number in range(count)
        for run in [samples.run_info(f"run-{number:04}", name=f"pipeline-{number % 10}")]
    ]


# --- a run with all connectors down ---------------------------------------------------------------


async def _down(options: Options) -> AsyncIterator[Figure]:
    pairs = options.count(15, 3)
    with new_folder() as folder, socket.create_server(("127.0.0.1", 0)) as hole:
        # It takes connections into its backlog, and never answers.
        silent = f"http://127.0.0.1:{hole.getsockname()[1]}"
        down = [
            {"use": "notes", "id": "refused", "url": "http://127.0.0.1:9"},
            {"use": "notes", "id": "silent", "url": silent, "timeout_s": 30.0},
        ]
        repeats = await _repeats(folder, options.count(4, 1))
        # Both databases are made before anything is compared.
        await _run(folder, "none", _SHORT, [])
        await _run(folder, "down", _SHORT, [])
        first_s, known_s = [await _run(folder, "down", _SHORT, down) for _ in range(2)]
        taken: dict[str, list[float]] = {"a": [], "b": []}
        for pair in turns(pairs):
            for which in pair:
                seconds = await (
                    _run(folder, "down", repeats, down)
                    if which == "a"
                    else _run(folder, "none", repeats, [])
                )
                taken[which].append(seconds)
    ratio = paired_ratio(taken["a"], taken["b"])
    about = conditions(pairs=pairs, run_s=round(median(taken["b"]), 2), interval=ratio.interval)
    yield Figure(
        figure="connectors_all_down_ratio",
        value=ratio.value,
        unit="x",
        at_most=1.02,
        conditions=about,
    )
    yield Figure(
        figure="connectors_first_run_that_meets_silence_s",
        value=first_s - known_s,
        unit="s",
        at_most=SILENT_S + 1.0,
        conditions=about,
    )


async def _repeats(folder: Path, seconds: float) -> int:
    """Return how many requests a run of so many seconds makes."""
    more = 2000
    taken = [await _run(folder, "trial", count, []) for count in (_SHORT, _SHORT, _SHORT + more)]
    return int(more * seconds / max(0.05, taken[2] - taken[1]))


async def _run(folder: Path, name: str, repeats: int, connectors: list[dict[str, Any]]) -> float:
    config = parse(
        {
            "store": {"use": "duckdb", "path": str(folder / f"{name}.duckdb")},
            "models": [{"name": "tiny", "source": f"file:{_MODEL}"}],
            "benchmarks": [{"targets": ["cpu"], "repeats": repeats, "budget": "120s"}],
            "disabled": ["insights"],  # what it suspects is measured again
            "connectors": connectors,
        }
    )
    host = make_host(config, cache_dir=folder / "cache", state_dir=folder / "state")
    host.add("connectors", NotesPlugin.name, NotesPlugin)
    began = time.perf_counter()
    await pipeline.run(config, host)
    return time.perf_counter() - began


# --- faults and kills -----------------------------------------------------------------------------


def _killed(name: str, count: int) -> Figure:
    with new_folder() as folder, PLACES[name]() as place:
        events = _runs(count) if place.is_of_runs else _events(count)
        database = folder / "r.duckdb"
        store = DuckDbStore.open(database, tables=OutboxPlugin().store_tables())
        dispatcher = Dispatcher(store, {name: _nowhere()})
        with store.transaction():
            for event in events:
                if isinstance(event, RunFinished):
                    store.save_run(event.summary.run)
                    store.save_measurement(event.summary.measurements[0])
            dispatcher.put(events)
        store.close()
        place.service.fail_some(_SHARE)
        began = time.perf_counter()
        kills = sum(
            _send(database, folder, name, place, until=_asked(place, count * part // 3, events))
            for part in (1, 2)
        )
        _send(database, folder, name, place, until=None)
        taken_s = time.perf_counter() - began
        place.service.fail_some(0.0)
        shown = place.shown(events)
        store = DuckDbStore.open(database, tables=OutboxPlugin().store_tables())
        dead = len(tending.deliveries(store, ("dead",)))
        store.close()
    counts = [shown.get(event.key, 0) for event in events]
    lost, more = counts.count(0), sum(max(0, one - 1) for one in counts)
    # Who cannot be asked is told again where an answer got lost, and once for each kill.
    allowed = 0 if place.can_be_asked else place.service.lost + kills
    return Figure(
        figure=f"connectors_{name}_lost_or_doubled",
        value=lost + max(0, more - allowed),
        unit="events",
        at_most=0,
        conditions=conditions(
            events=count,
            faults=_SHARE,
            pause_s=PAUSE_S,
            kills=kills,
            lost=lost,
            doubled=more,
            answers_lost=place.service.lost,
            given_up=dead,
            requests=len(place.service.requests),
            taken_s=round(taken_s, 1),
        ),
    )


def _asked(place: Place, wanted: int, events: Sequence[Event]) -> Any:
    return lambda: sum(place.shown(events).values()) >= wanted


def _send(database: Path, folder: Path, name: str, place: Place, *, until: Any) -> bool:
    """Start the sender; kill it once `until` holds, else wait for its end."""
    command = [sys.executable, "-m", "benchmarks._sender", str(database), str(folder), name]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environ = {**os.environ, **place.environ, "PYTHONPATH": path}
    with (
        (folder / "sender.log").open("w+") as log,
        subprocess.Popen(
            [*command, json.dumps(place.settings)], cwd=folder, env=environ, stdout=log, stderr=log
        ) as process,
    ):
        while process.poll() is None:
            began = time.monotonic()
            if until is not None and until():
                process.send_signal(signal.SIGKILL)
                process.wait()
                return True
            # To look takes a second where there are a thousand issues.
            time.sleep(0.1 + 5 * (time.monotonic() - began))
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"the sender ended with {process.returncode}: {log.read()[-2000:]}")
    return False
