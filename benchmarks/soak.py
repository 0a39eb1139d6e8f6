# SPDX-License-Identifier: Apache-2.0
"""Requests for a long time in two browsers: does memory grow, does anything stay behind?"""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import attrs
import numpy as np
import psutil
from accelerate_browser.processes import is_running

from accelerate_core.errors import AccelerateError
from accelerate_core.host import Host
from accelerate_core.running.runner import Runner
from accelerate_core.running.work import Work
from accelerate_core.testing.models import expected_matmul, matmul_input, tiny_matmul
from accelerate_core.types import Target

from ._measure import Figure, median, percentiles, rounded
from ._world import Options, conditions, new_host, worker_facts

_BROWSERS = ("chromium", "firefox")
#: Rows of a request: one that travels inside its message, one that is streamed.
_ROWS = (2, 65_536)
_PAUSE_S = 0.01
_GROWTH = 1.1


@attrs.define
class Record:
    """Hold what one browser, or the host itself, did over time."""

    latencies_ms: list[float] = attrs.field(factory=list)
    memory_bytes: list[int] = attrs.field(factory=list)
    failures: list[str] = attrs.field(factory=list)

    def growth(self) -> float:
        """Return memory in the last quarter over that in the second; the first warms up."""
        quarter = len(self.memory_bytes) // 4
        early = self.memory_bytes[quarter : 2 * quarter]
        return median(self.memory_bytes[-quarter:]) / median(early)


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield growth and failures for each browser and the host, then what was left behind."""
    seconds = options.seconds(30, 30)
    seen: set[psutil.Process] = set()
    own = Record()
    with new_host() as host:
        names = options.browsers(_BROWSERS)
        records = {Target("wasm", "ort", name): Record() for name in names}
        runner = Runner({"wasm": host.create("backends", "wasm", {"threads": 1})}, host.context)
        try:
            await _soak(runner, host, records, own, seen, seconds)
            facts = {str(one.target): worker_facts(one) for one in runner.live().values()}
        finally:
            await runner.close()
        left = sum(map(is_running, seen))
        folders = [str(folder) for folder in _folders(host)]
    for target, record in records.items():
        more = {**facts.get(str(target), {}), "minutes": seconds / 60}
        for figure in _figures(target.browser or "", record, more):
            yield figure
    yield _growth("host", own, {"minutes": seconds / 60})
    yield _none("soak_processes_left", left, {"processes_seen": len(seen)})
    yield _none("soak_folders_left", len(folders), {"folders": folders})


async def _soak(
    runner: Runner,
    host: Host,
    records: dict[Target, Record],
    own: Record,
    seen: set[psutil.Process],
    seconds: float,
) -> None:
    ends_at = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for target, record in records.items():
            work = Work(spec=tiny_matmul(host.context.assets), targets=(target,))
            group.create_task(_ask(runner, work, record, ends_at))
        group.create_task(_watch(runner, records, own, seen, ends_at, max(1.0, seconds / 200)))


async def _ask(runner: Runner, work: Work, record: Record, ends_at: float) -> None:
    questions = [matmul_input(rows) for rows in _ROWS]
    answers = [expected_matmul(inputs)["y"] for inputs in questions]
    for inputs, wanted in itertools.cycle(zip(questions, answers, strict=True)):
        if time.monotonic() > ends_at:
            return
        try:
            answer = await runner.submit(work, inputs, timeout_s=60.0)
            if not np.array_equal(np.asarray(answer.result.outputs["y"]), wanted):
                record.failures.append("a wrong answer")
            record.latencies_ms.append(answer.latency_ms)
        except AccelerateError as error:
            record.failures.append(str(error))
        await asyncio.sleep(_PAUSE_S)


async def _watch(
    runner: Runner,
    records: dict[Target, Record],
    own: Record,
    seen: set[psutil.Process],
    ends_at: float,
    every_s: float,
) -> None:
    myself = psutil.Process()
    while time.monotonic() < ends_at:
        for worker_id, info in runner.live().items():
            if (size := await runner.memory(worker_id)) is not None:
                records[info.target].memory_bytes.append(size)
        own.memory_bytes.append(myself.memory_info().rss)
        seen.update(await asyncio.to_thread(myself.children, recursive=True))
        await asyncio.sleep(every_s)


def _folders(host: Host) -> Iterator[Path]:
    """Yield folders of launches of this process: in the state folder, or where paths are short."""
    yield from (host.context.state_dir / "launches").glob("*")
    yield from Path(tempfile.gettempdir()).glob(f"accelerate-{os.getpid():x}-*")


def _figures(browser: str, record: Record, more: dict[str, object]) -> Iterator[Figure]:
    facts = {
        **more,
        "requests": len(record.latencies_ms),
        "latency_ms": percentiles(record.latencies_ms),
        "failures": record.failures[:5],
    }
    yield _none(f"soak_{browser}_failed_requests", len(record.failures), facts)
    yield _growth(browser, record, facts)


def _growth(name: str, record: Record, more: dict[str, object]) -> Figure:
    mebibytes = [size / (1 << 20) for size in record.memory_bytes]
    return Figure(
        figure=f"soak_{name}_memory_growth",
        value=record.growth(),
        unit="x",
        at_most=_GROWTH,
        conditions=conditions(
            **more,
            samples=len(mebibytes),
            first_mib=rounded(mebibytes[0]),
            last_mib=rounded(mebibytes[-1]),
            most_mib=rounded(max(mebibytes)),
        ),
    )


def _none(figure: str, count: int, more: dict[str, object]) -> Figure:
    return Figure(figure=figure, value=count, unit="", at_most=0, conditions=conditions(**more))
