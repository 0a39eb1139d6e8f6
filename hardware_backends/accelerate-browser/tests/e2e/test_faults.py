# SPDX-License-Identifier: Apache-2.0
"""Browsers that die, hang, never start or never connect; and strangers beside a real one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import numpy as np
import psutil
import pytest
from accelerate_browser import frames, processes, starting
from accelerate_browser.hookspecs.engine import EngineModule

from accelerate_core.errors import BackendUnavailable, WorkerLost
from accelerate_core.protocols import Context
from accelerate_core.testing import models
from accelerate_core.types import LoadOptions, WorkerEventKind

Start = Any


async def _slow(worker: Any, context: Context, size: int = 1024) -> asyncio.Task[Any]:
    options = LoadOptions(dimensions={"n": size})
    handle = await worker.load(models.slow_chain(context.assets), options)
    running = asyncio.create_task(worker.run(handle, models.slow_input(size)))
    await asyncio.sleep(0.1)
    assert not running.done()
    return running


def _children() -> set[int]:
    # Browsers of other test modules may be alive in this process.
    return {child.pid for child in psutil.Process().children(recursive=True)}


def _tree(worker: Any) -> list[psutil.Process]:
    root = psutil.Process(worker.launched.pid)
    return [root, *root.children(recursive=True)]


async def test_a_killed_browser_fails_what_is_in_flight_at_once(
    start: Start, context: Context
) -> None:
    worker = await start("wasm:chromium")
    running = await _slow(worker, context)
    tree = _tree(worker)
    events = worker.events()
    os.kill(tree[0].pid, signal.SIGKILL)
    killed = time.perf_counter()
    with pytest.raises(WorkerLost):
        await running
    assert time.perf_counter() - killed < 5, "no heartbeat is that quick"
    kinds = [event.kind async for event in events]
    # On a busy machine it takes a while to end, and is silent meanwhile.
    assert set(kinds[:-1]) - {WorkerEventKind.SILENT} == {WorkerEventKind.PROGRESS}
    assert kinds[-1] is WorkerEventKind.LOST
    with pytest.raises(WorkerLost):
        await worker.load(models.tiny_mlp(context.assets))
    await worker.close()
    assert not any(map(processes.is_running, tree))


async def test_a_busy_page_is_not_lost_and_a_hanging_one_is_in_time(
    start: Start, context: Context
) -> None:
    worker = await start("wasm:chromium", threads=1, heartbeat_s=0.1, heartbeat_timeout_s=0.4)
    busy = await (await _slow(worker, context, 640))
    assert busy.phases.in_page_ms > 600, "too quick to show anything"

    running = await _slow(worker, context)
    for process in _tree(worker):
        with contextlib.suppress(psutil.Error):  # browsers end helpers as they like
            if "--type=renderer" in process.cmdline():
                process.send_signal(signal.SIGSTOP)
    stopped = time.perf_counter()
    with pytest.raises(WorkerLost, match="no sign of life") as caught:
        await running
    assert caught.value.info.reason == "hang"
    assert 0.3 < time.perf_counter() - stopped < 5


async def test_a_browser_that_ends_at_once_is_unavailable_and_says_why(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = _children()
    monkeypatch.setenv("ACCELERATE_CHROMIUM", _script(tmp_path, "echo no display >&2; exit 3"))
    with pytest.raises(BackendUnavailable, match=r"(?s)exit code 3.*no display"):
        await start("wasm:chromium")
    assert _children() <= before


async def test_a_page_that_never_connects_is_unavailable_in_time(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = _children()
    monkeypatch.setenv("ACCELERATE_CHROMIUM", _script(tmp_path, "echo lost >&2; exec sleep 60"))
    begin = time.perf_counter()
    with pytest.raises(BackendUnavailable, match=r"(?s)did not connect within 1\.5 s.*lost"):
        await start("wasm:chromium", start_timeout_s=1.5)
    assert time.perf_counter() - begin < 30
    assert _children() <= before


async def test_strangers_do_not_disturb_a_real_page(start: Start, context: Context) -> None:
    worker = await start("wasm:chromium")
    handle = await worker.load(models.tiny_mlp(context.assets))
    url = f"http://127.0.0.1:{worker.info.details['port']}"
    inputs = models.mlp_input()

    async def vandalise(session: aiohttp.ClientSession) -> None:
        for _ in range(20):
            await session.post(f"{url}/handshake", json={"token": "guess"}, headers={"Origin": url})
            await session.get(f"{url}/", headers={"Host": "evil.example"})
            await session.get(f"{url}/assets/{handle.spec.sha256}")
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(
                    f"{url}/socket?connection={worker.id}", headers={"Origin": url}
                )
        reader, writer = await asyncio.open_connection("127.0.0.1", worker.info.details["port"])
        writer.write(os.urandom(1 << 16) + frames.encode_message(b"{}"))
        await reader.read()
        writer.close()

    async with aiohttp.ClientSession() as session:
        vandal = asyncio.create_task(vandalise(session))
        while not vandal.done():
            result = await worker.run(handle, inputs)
            expected = models.expected_mlp(inputs)["out"]
            np.testing.assert_allclose(result.outputs["out"], expected, rtol=1e-3)
        await vandal
    refused = worker._parts.bridge.refused
    assert refused["token"] == 20 and refused["host"] == 20 and refused["cookie"] == 40


def _script(folder: Path, body: str) -> str:
    script = folder / "browser"
    script.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo 1.0 && exit\n{body}\n')
    script.chmod(0o755)
    return str(script)


# (module (func (export "f") unreachable))
_TRAPS = """
import * as real from "./real.js";
const module = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0,
  7, 5, 1, 1, 102, 0, 0, 10, 5, 1, 3, 0, 0, 11);
export const api = real.api;
export async function create(context) {
  if (context.generation <= context.options.traps)
    (await WebAssembly.instantiate(module)).instance.exports.f();
  return real.create(context);
}
"""


@pytest.fixture
def traps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], None]:
    """Return a function that has onnxruntime-web trap at its first starts in a page."""
    real = starting.engine_module

    def plant(count: int) -> None:
        def module(*args: Any) -> EngineModule:
            found = real(*args)
            shutil.copy(found.folder / found.entry, tmp_path / "real.js")
            (tmp_path / found.entry).write_text(_TRAPS)
            options = {**found.options, "traps": count}
            return attrs.evolve(found, folder=tmp_path, options=options)

        monkeypatch.setattr(starting, "engine_module", module)

    return plant


async def test_an_engine_that_traps_at_its_start_is_started_once_more(
    start: Start, context: Context, traps: Any, caplog: pytest.LogCaptureFixture
) -> None:
    traps(1)
    worker = await start("wasm:chromium-headless-shell")
    handle = await worker.load(models.tiny_mlp(context.assets))
    assert (await worker.run(handle, models.mlp_input())).outputs
    assert "crashed at its start and is started again: unreachable" in caplog.text


async def test_an_engine_that_traps_at_each_start_is_unavailable(start: Start, traps: Any) -> None:
    traps(2)
    with pytest.raises(BackendUnavailable, match="crashed at each start: unreachable"):
        await start("wasm:chromium-headless-shell")
