# SPDX-License-Identifier: Apache-2.0
"""What it costs to write jobs down, and how soon a host that was killed has its jobs in hand."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np

from accelerate_core.durable.journal import Journal, Record, open_journal
from accelerate_core.durable.journal.frames import What
from accelerate_core.testing import durable_host

from ._measure import Figure, median
from ._world import Options, conditions

#: What a job carries: the tokens of a short text, and an image.
_SIZES = {"1 KiB": 256, "588 KiB": 3 * 224 * 224}
_TOGETHER = 64
#: More than are done before it is killed.
_JOBS = 4_000


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield the time to accept a job alone and with others, then that to resume."""
    rounds = 5 if options.quick else 40
    with tempfile.TemporaryDirectory(prefix="accel-bench-") as folder:
        journal = await asyncio.to_thread(open_journal, Path(folder))
        try:
            for size, length in _SIZES.items():
                alone, together = await _accepting(journal, length, rounds)
                about = conditions(size=size, together=_TOGETHER)
                yield Figure(
                    figure="durable_accept_alone_p50_ms",
                    value=1e3 * median(alone),
                    unit="ms",
                    conditions=about,
                )
                yield Figure(
                    figure="durable_accept_together_p50_ms",
                    value=1e3 * median(together) / _TOGETHER,
                    unit="ms",
                    conditions=about,
                )
        finally:
            await asyncio.to_thread(journal.close)
    times, found = [], 0
    with tempfile.TemporaryDirectory(prefix="accel-bench-") as folder:
        for _ in range(3 if options.quick else 10):
            taken_s, jobs = await asyncio.to_thread(_kill_and_resume, Path(folder))
            times.append(taken_s)
            found += jobs
    yield Figure(
        figure="durable_resume_worst_s",
        value=max(times),
        unit="s",
        at_most=3.0,
        conditions=conditions(kills=len(times), jobs_found=found, p50_s=median(times)),
    )


async def _accepting(journal: Journal, length: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds one job took alone, and a group of them, by turns."""
    tensors = {"x": np.zeros(length, np.float32)}
    alone, together = [], []
    for number in range(rounds):
        for count, times in ((1, alone), (_TOGETHER, together)):
            names = [f"{number}-{count}-{index}" for index in range(count)]
            started = time.perf_counter()
            await asyncio.gather(
                *(
                    asyncio.wrap_future(
                        journal.write(Record(what=What.ACCEPTED, job=name, tensors=tensors))
                    )
                    for name in names
                )
            )
            times.append(time.perf_counter() - started)
            for name in names:
                journal.write(Record(what=What.FORGOTTEN, job=name))
            await asyncio.wrap_future(journal.jobs())
    return alone, together


def _kill_and_resume(folder: Path) -> tuple[float, int]:
    """Kill a host at work; return the seconds the next takes to answer what it found.

    They count from its start as a process, imports and the model's load included.
    """
    before = durable_host.read_log(folder)
    _kill_after(folder, lambda lines: len(lines) > len(before) + 200)
    before = durable_host.read_log(folder)
    answered = durable_host.said(before, "answer")
    started = time.time()

    def resumed(lines: list[dict[str, Any]]) -> list[float]:
        """Return when the jobs that were found were answered, once all of them are."""
        own = lines[len(before) :]
        found = durable_host.said(own, "found") - answered
        is_begun = bool(durable_host.said(own, "accepted"))
        at = [line["at"] for line in own if line["what"] == "answer" and line["job"] in found]
        return at if is_begun and len(at) == len(found) else []

    _kill_after(folder, lambda lines: bool(resumed(lines)))
    at = resumed(durable_host.read_log(folder))
    return max(at) - started, len(at)


def _kill_after(folder: Path, is_so: Callable[[list[dict[str, Any]]], bool]) -> None:
    """Let a host work until its log says something, and kill it."""
    words = [sys.executable, "-m", "accelerate_core.testing.durable_host", str(folder), str(_JOBS)]
    process = subprocess.Popen(words)
    try:
        while not is_so(durable_host.read_log(folder)):
            if process.poll() is not None:
                raise RuntimeError(f"the host ended by itself: {process.returncode}")
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
