# SPDX-License-Identifier: Apache-2.0
"""What faults of real browsers are taken for, and pages made as new in the same browser."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import numpy as np
import psutil
import pytest

from accelerate_core.errors import ModelError, Unsupported, WorkerLost
from accelerate_core.fleet.policy import Mend
from accelerate_core.protocols import Context
from accelerate_core.testing import models
from accelerate_core.types import LoadOptions, WorkerEvent, WorkerEventKind

Start = Any


async def _compute(worker: Any, context: Context) -> Any:
    handle = await worker.load(models.tiny_mlp(context.assets))
    inputs = models.mlp_input()
    result = await worker.run(handle, inputs)
    expected = models.expected_mlp(inputs)["out"]
    np.testing.assert_allclose(result.outputs["out"], expected, rtol=1e-3)
    return handle


async def _page_process(worker: Any) -> psutil.Process:
    await worker._autopsy.learn()
    page: psutil.Process = worker._autopsy._page
    return page


class Heard:
    """Collect a worker's events, with when they came."""

    def __init__(self, worker: Any) -> None:
        self.queue: asyncio.Queue[tuple[float, WorkerEvent]] = asyncio.Queue()
        self.ended = asyncio.create_task(self._listen(worker))

    async def _listen(self, worker: Any) -> None:
        async for event in worker.events():
            self.queue.put_nowait((time.perf_counter(), event))

    async def next(
        self, kind: WorkerEventKind, within_s: float = 20.0
    ) -> tuple[float, WorkerEvent]:
        """Return the first event of a kind, and forget it and those before it."""
        async with asyncio.timeout(within_s):
            while True:
                at, event = await self.queue.get()
                if event.kind is kind:
                    return at, event


@pytest.mark.parametrize("browser", ["wasm:chromium-headless-shell", "wasm:firefox"])
async def test_a_page_is_mended_doubted_and_at_last_lost_by_a_crash(
    start: Start, context: Context, browser: str
) -> None:
    worker = await start(browser)
    heard = Heard(worker)
    handle = await _compute(worker, context)
    browser_pid = worker.launched.pid
    for how in (Mend.DEVICE, Mend.PAGE):
        await worker.mend(how)
        with pytest.raises(ModelError, match="not loaded"):
            await worker.run(handle, models.mlp_input())
        handle = await _compute(worker, context)
        assert psutil.pid_exists(browser_pid) and not worker.connection.lost.done()
        assert not heard.ended.done()
    with pytest.raises(Unsupported):
        await worker.mend(Mend.RESTART)

    page = await _page_process(worker)
    stopped = time.perf_counter()
    page.send_signal(signal.SIGSTOP)
    try:
        silent_ms = 0.0
        while silent_ms < 300:
            at, silent = await heard.next(WorkerEventKind.SILENT)
            silent_ms = silent.data["silent_ms"]
        assert at - stopped < 3.0, "an idle page is watched as closely as a busy one"
        with pytest.raises(Unsupported, match="does not answer"):
            await worker.mend(Mend.PAGE)
    finally:
        page.send_signal(signal.SIGCONT)
    await heard.next(WorkerEventKind.HEARD)
    await _compute(worker, context)

    page.kill()
    killed = time.perf_counter()
    at, lost = await heard.next(WorkerEventKind.LOST)
    assert at - killed < 5.0, "no heartbeat is that quick"
    assert lost.data["reason"] == "crash"
    assert psutil.pid_exists(browser_pid)
    with pytest.raises(WorkerLost):
        await worker.load(models.tiny_mlp(context.assets))


async def test_a_socket_that_is_reset_is_a_lost_connection_and_a_killed_browser_a_crash(
    start: Start, context: Context
) -> None:
    worker = await start("wasm:chromium-headless-shell")
    heard = Heard(worker)
    await _page_process(worker)
    worker.connection.abort()
    _, lost = await heard.next(WorkerEventKind.LOST)
    assert lost.data["reason"] == "connection"
    await worker.close(kill=True)

    worker = await start("wasm:chromium-headless-shell")
    heard = Heard(worker)
    psutil.Process(worker.launched.pid).kill()
    _, lost = await heard.next(WorkerEventKind.LOST)
    assert lost.data["reason"] == "crash" and "signal 9" in lost.message


async def test_a_cancelled_run_ends_when_its_page_is_free(start: Start, context: Context) -> None:
    worker = await start("wasm:chromium-headless-shell", cancel_grace_s=0.3)
    await _compute(worker, context)
    options = LoadOptions(dimensions={"n": 1024})
    handle = await worker.load(models.slow_chain(context.assets), options)
    running = asyncio.create_task(worker.run(handle, models.slow_input(1024)))
    await asyncio.sleep(0.3)
    assert not running.done()
    began = time.perf_counter()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled() and time.perf_counter() - began >= 0.25
    assert worker.connection.device_losses == 1, "it computes on a thread of its own again"
    await _compute(worker, context)
