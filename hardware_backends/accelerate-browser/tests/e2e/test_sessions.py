# SPDX-License-Identifier: Apache-2.0
"""State on real pages: it outlives a killed browser and a replaced compute thread, and is freed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import attrs
import numpy as np
import pytest

from accelerate_core.errors import ModelError, SessionLost
from accelerate_core.protocols import Context
from accelerate_core.running.runner import Runner
from accelerate_core.running.work import Work
from accelerate_core.sessions.group import Group
from accelerate_core.sessions.live import LiveSession
from accelerate_core.testing import models
from accelerate_core.types import Target, TensorRef

SHELL = Target.parse("wasm:chromium-headless-shell")
FIREFOX = Target.parse("wasm:firefox")
STEPS = models.recurrent_inputs(24)


@pytest.fixture
async def runner(context: Context) -> AsyncIterator[Runner]:
    backend = context.plugins.create("backends", "wasm", {})
    recovery = context.plugins.create("recovery", "coordinated", {})
    runner = Runner({"wasm": backend}, context, recovery=recovery)
    yield runner
    await runner.close()


def _pages(runner: Runner) -> dict[str, Any]:
    return {id: live.worker for id, live in runner._workers.live.items()}


def _kill(worker: Any) -> None:
    os.kill(worker.launched.pid, signal.SIGKILL)


async def test_a_session_outlives_its_browser(runner: Runner, context: Context) -> None:
    expected = [one["y"] for one in models.expected_recurrent(STEPS)]
    work = Work(spec=models.tiny_recurrent(context.assets), targets=(SHELL,))
    session = LiveSession(runner, lambda _: work, sync_runs=5)
    first = await session.run(STEPS[0])
    runs = [asyncio.create_task(session.run(inputs)) for inputs in STEPS[1:]]
    await asyncio.wait(runs[:10])
    (page,) = _pages(runner).values()
    _kill(page)
    answers = [first, *await asyncio.gather(*runs)]
    outputs = [answer.result.outputs for answer in answers]
    assert all(set(one) == {"y"} for one in outputs), "the state left its page"
    np.testing.assert_allclose([one["y"] for one in outputs], expected, rtol=1e-5)
    assert (session.runs, session.moves) == (24, 1)
    assert answers[0].connection.id != answers[-1].connection.id
    await session.close()


async def test_state_is_on_the_page_and_is_freed(start: Any, context: Context) -> None:
    worker = await start(str(SHELL), cancel_grace_s=1.0)
    spec = models.tiny_recurrent(context.assets)
    model = await worker.load(spec)
    session = await worker.open_session(model)

    async def run(step: int) -> TensorRef:
        await worker.run(model, STEPS[step], session=session)
        ref = worker._sessions._open[session].state["h_in"]
        assert isinstance(ref, TensorRef)
        return ref

    refs = [await run(step) for step in range(3)]
    right = models.expected_recurrent(STEPS[:3])[2]["h_out"]
    np.testing.assert_allclose(await worker.fetch(refs[2]), right, rtol=1e-5)
    for ref in refs[:2]:
        with pytest.raises(ModelError, match="kept"):
            await worker.fetch(ref)
    saved = await worker.checkpoint(session)
    await worker.close_session(session)
    with pytest.raises(ModelError, match="kept"):
        await worker.fetch(refs[2])

    # What a run kept that was cancelled and came to its end all the same is dropped, too.
    slow = await worker.load(models.slow_chain(context.assets))
    running = asyncio.create_task(worker.run(slow, models.slow_input(256), keep=["y"]))
    await asyncio.sleep(0.05)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    kept = (await worker.run(slow, models.slow_input(8), keep=["y"])).outputs["y"]
    page, number = kept.id.rsplit("-", 1)
    before = attrs.evolve(kept, id=f"{page}-{int(number) - 1}")
    assert int(refs[2].id.rsplit("-", 1)[1]) == int(number) - 2, "it kept nothing"
    with pytest.raises(ModelError, match="kept"):
        await worker.fetch(before)

    # A run that does not stop costs the page its compute thread, and what was kept there.
    session = await worker.restore(model, saved)
    await run(3)
    stuck = asyncio.create_task(worker.run(slow, models.slow_input(1536)))
    await asyncio.sleep(0.2)
    assert not stuck.done()
    stuck.cancel()
    with pytest.raises(SessionLost, match="went with the device"):
        await worker.run(model, STEPS[4], session=session)
    again = await worker.restore(model, saved)
    result = await worker.run(model, STEPS[3], session=again)
    expected = models.expected_recurrent(STEPS[:4])[3]["y"]
    np.testing.assert_allclose(result.outputs["y"], expected, rtol=1e-5)


async def test_one_model_on_two_browsers_goes_on_when_one_is_killed(
    runner: Runner, context: Context
) -> None:
    expected = [one["y"] for one in models.expected_cut(STEPS)]
    first, second = models.cut_in_two(context.assets)
    works = [Work(spec=first, targets=(SHELL,)), Work(spec=second, targets=(FIREFOX,))]
    group = Group(runner, works, sync_steps=4)
    outputs = [await group.run(inputs) for inputs in STEPS[:6]]
    pages = _pages(runner)
    assert sorted(str(page.info.target) for page in pages.values()) == [
        "wasm/ort:chromium-headless-shell",
        "wasm/ort:firefox",
    ]
    shell, firefox = (
        next(live for live in runner._workers.live.values() if live.worker.info.target == target)
        for target in (Target("wasm", "ort", one.browser) for one in (SHELL, FIREFOX))
    )
    zeros = np.zeros((2, 4), np.float32)
    (handle,) = shell.handles.values()
    kept = await shell.worker.run(handle, {**STEPS[0], "h1_in": zeros}, keep=["m"])
    runs = [asyncio.create_task(group.run(inputs)) for inputs in STEPS[6:]]
    await asyncio.wait(runs[:4])
    _kill(shell.worker)
    outputs += await asyncio.gather(*runs)
    np.testing.assert_allclose([one["y"] for one in outputs], expected, rtol=1e-5)
    assert (group.steps, group.restarts, group.restart_point) == (24, 1, 24)
    assert not group._kept, "a tensor between the pages was not released"
    assert firefox.worker in _pages(runner).values(), "the browser that lived was started anew"
    # A tensor that went with its page is no fault of the page that asks for it.
    (handle,) = firefox.handles.values()
    with pytest.raises(SessionLost, match="gone"):
        await firefox.worker.run(handle, {"m": kept.outputs["m"], "h2_in": zeros})
    await group.close()
