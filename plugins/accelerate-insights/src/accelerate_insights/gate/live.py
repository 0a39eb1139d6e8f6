# SPDX-License-Identifier: Apache-2.0
"""Measure now: one pipeline, or two in turns, so that what the machine does meets both alike."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import attrs

from accelerate_core import events
from accelerate_core.assembly import make_host, make_store
from accelerate_core.cli.progress import Progress
from accelerate_core.config import Config, PluginTable
from accelerate_core.errors import ConfigError
from accelerate_core.host import Host
from accelerate_core.measuring import pipeline
from accelerate_core.measuring.cell import Turn
from accelerate_core.protocols import Store
from accelerate_core.settings import Seconds
from accelerate_core.types import Cell, Connection, RunSummary

Say: TypeAlias = Callable[[str], None]

#: After every cell of a run: what is left of it waits for nothing.
_DONE = (2**31, 0)
NAMES = ("A", "B")
#: Requests of each side where a file asks for fewer: 30 blocks find 10 % in most noise.
REPEATS = 60


class Turns:
    """Let two runs of the same cells work one at a time: A B B A A B B A ...

    The one that is less far goes on; where both are equally far, A before even samples and B
    before odd ones. So the two halves of a block lie about one moment, and each side follows the
    other as often as itself.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._numbers = {cell: number for number, cell in enumerate(cells)}
        self._places: list[tuple[int, int]] = [(-1, 0), (-1, 0)]
        self._moved = asyncio.Condition()

    async def reach(self, side: int, cell: Cell, sample: int) -> None:
        """Wait until it is the turn of a side (0 or 1) to make a sample of a cell."""
        place = (self._numbers[cell], sample)
        async with self._moved:
            self._places[side] = place
            self._moved.notify_all()
            first = sample % 2 if sample >= 0 else 0

            def is_next() -> bool:
                other = self._places[1 - side]
                return place < other or (place == other and side == first)

            await self._moved.wait_for(is_next)

    async def leave(self, side: int) -> None:
        """Let the other go on alone."""
        async with self._moved:
            self._places[side] = _DONE
            self._moved.notify_all()


async def run_fresh(config: Config, stop: asyncio.Event, say: Say) -> RunSummary:
    """Run one pipeline and return what it measured."""
    host = make_host(config)
    with _stores((config,), (host,)) as (store,):
        return await _run(config, host, store, stop, say)


async def run_in_turns(
    configs: tuple[Config, Config], repeats: int | None, stop: asyncio.Event, say: Say
) -> tuple[RunSummary, RunSummary]:
    """Run two pipelines with the same cells, taking turns; the workers of both stay warm.

    Both make as many repeats: `repeats`, or what their files say, but at least 60. ConfigError
    when they do not measure the same cells.
    """
    most = repeats or max(REPEATS, *(one.repeats for both in configs for one in both.benchmarks))
    hosts = (make_host(configs[0]), make_host(configs[1]))
    planned = [
        [one.cell for one in await pipeline.preview(config, host)]
        for config, host in zip(configs, hosts, strict=True)
    ]
    _check_cells(*planned)
    turns = Turns(planned[0])

    async def one(side: int, store: Store | None) -> RunSummary:
        config, name = configs[side], NAMES[side]
        benchmarks = tuple(
            # The time of one side passes while the other works, too.
            attrs.evolve(each, repeats=most, interval=None, budget=Seconds(2 * each.budget))
            for each in config.benchmarks
        )
        try:
            return await _run(
                attrs.evolve(config, benchmarks=benchmarks),
                hosts[side],
                store,
                stop,
                lambda text: say(f"{name} {text}"),
                lambda cell, sample: turns.reach(side, cell, sample),
            )
        finally:
            await turns.leave(side)

    with _stores(configs, hosts) as stores:
        try:
            async with asyncio.TaskGroup() as group:
                old, new = (group.create_task(one(side, stores[side])) for side in (0, 1))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
    return old.result(), new.result()


def _check_cells(old: Sequence[Cell], new: Sequence[Cell]) -> None:
    if old == new:
        return
    other = [cell for cell in (*old, *new) if (cell in old) != (cell in new)]
    raise ConfigError(
        "the two pipelines do not measure the same cells in the same order",
        where=", ".join(str(cell) for cell in other[:3]) or "the order",
        hint="Give models the same names, and both the same targets, precisions and batch sizes.",
    )


async def _run(
    config: Config,
    host: Host,
    store: Store | None,
    stop: asyncio.Event,
    say: Say,
    turn: Turn | None = None,
) -> RunSummary:
    """Run a pipeline without its reports, and store what it measured once it is measured.

    Nothing is stored meanwhile: a commit of one side would fall into a sample of the other.
    """
    connections: dict[str, Connection] = {}
    progress = _Progress(say)

    def observe(event: events.Event) -> None:
        progress(event)
        if isinstance(event, events.WorkerStarted | events.WorkerGone) and event.connection:
            connections[event.connection.id] = event.connection

    bare = attrs.evolve(
        config, store=None, reports=(), pool=attrs.evolve(config.pool, durable=False)
    )
    outcome = await pipeline.run(bare, host, observer=observe, stop=stop, turn=turn)
    if store is not None:
        await asyncio.to_thread(_save, store, outcome.summary, connections.values())
    return outcome.summary


class _Progress(Progress):
    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say

    def say(self, text: str) -> None:
        self._say(text)


@contextlib.contextmanager
def _stores(configs: Sequence[Config], hosts: Sequence[Host]) -> Iterator[list[Store | None]]:
    """Open the store of each configuration; one that both name is opened once."""
    opened: list[tuple[PluginTable, Store]] = []
    found: list[Store | None] = []
    with contextlib.ExitStack() as stack:
        for config, host in zip(configs, hosts, strict=True):
            table = config.store
            store = next((one for known, one in opened if known == table), None)
            if table is not None and store is None:
                store = make_store(config, host)
                stack.callback(store.close)
                opened.append((table, store))
            found.append(store)
        yield found


def _save(store: Store, summary: RunSummary, connections: Iterable[Connection]) -> None:
    store.save_run(summary.run)
    for connection in connections:
        store.save_connection(connection)
    for measurement in summary.measurements:
        store.save_measurement(measurement)
