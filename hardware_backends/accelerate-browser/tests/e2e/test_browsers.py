# SPDX-License-Identifier: Apache-2.0
"""Every browser that CI has: start, compute, 64 MiB there and back, close, nothing left."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import psutil
import pytest
from accelerate_browser import codec
from accelerate_browser.messages import Echo
from accelerate_browser.processes import is_running

from accelerate_core.protocols import Context
from accelerate_core.testing import models
from accelerate_core.types import WorkerEventKind

Start = Any


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True) if is_running(child)}


async def _compute(worker: Any, context: Context) -> Any:
    handle = await worker.load(models.tiny_mlp(context.assets))
    inputs = models.mlp_input()
    result = await worker.run(handle, inputs)
    for name, expected in models.expected_mlp(inputs).items():
        np.testing.assert_allclose(result.outputs[name], expected, rtol=1e-3)
    assert result.phases.in_page_ms is not None and result.phases.transfer_ms is not None
    return handle


@pytest.mark.parametrize(
    ("browser", "agent"),
    [
        ("chromium-headless-shell", "HeadlessChrome/"),
        ("firefox", "Firefox/"),
        ("webkitgtk", "AppleWebKit/"),
    ],
)
async def test_wasm_runs_and_leaves_nothing(
    start: Start, context: Context, browser: str, agent: str
) -> None:
    before = _children()
    worker = await start(f"wasm:{browser}")
    info = worker.info
    assert str(info.target) == f"wasm/ort:{browser}"
    assert agent in info.details["user_agent"]
    assert info.browser_version and info.launch_ms and info.threads
    assert (info.device_type, info.is_software) == ("cpu", False)
    await _compute(worker, context)
    said: list[str] = []
    async for event in worker.events():  # on a busy machine it is silent, too, and heard again
        said += event.message.split()[:1] * (event.kind is WorkerEventKind.PROGRESS)
        if len(said) == 4:
            break
    assert said == ["looking", "fetching", "keeping", "compiling"]
    memory = await worker.memory()
    assert memory is not None and memory > 50 << 20

    tensor = np.random.default_rng(1).integers(0, 256, 64 << 20, np.uint8)
    answer = await worker.connection.request(
        lambda id, headers: Echo(id=id, tensors=headers), {"x": tensor}
    )
    assert np.array_equal(codec.to_array(answer.tensors["x"]), tensor)

    await worker.close()
    assert _children() <= before


async def test_a_warm_slot_keeps_assets_from_one_browser_to_the_next(
    start: Start, context: Context
) -> None:
    begin = time.perf_counter()
    first = await start("wasm:chromium", threads=1)
    took_ms = (time.perf_counter() - begin) * 1e3
    assert 0.5 * took_ms < first.info.launch_ms <= took_ms
    assert first.info.threads == 1
    assert (await _compute(first, context)).is_cached is False
    await first.close()
    second = await start("wasm:chromium")
    assert second.info.details["port"] == first.info.details["port"]
    assert (await _compute(second, context)).is_cached is True


async def test_two_pages_live_at_once_and_hand_tensors_on(start: Start, context: Context) -> None:
    left = await start("wasm:chromium")
    right = await start("wasm:chromium-headless-shell")
    third = await start("wasm:chromium")
    slots = [worker.info.details["slot"] for worker in (left, right, third)]
    assert slots == [0, 0, 1], "another browser shares a slot, the same browser needs its own"
    inputs = models.matmul_input()
    once = models.expected_matmul(inputs)
    here, there = [
        await worker.load(models.tiny_matmul(context.assets)) for worker in (left, right)
    ]
    kept = (await left.run(here, inputs, keep=["y"])).outputs["y"]
    result = await right.run(there, {"x": kept})
    np.testing.assert_allclose(
        result.outputs["y"], models.expected_matmul({"x": once["y"]})["y"], rtol=1e-3
    )
