# SPDX-License-Identifier: Apache-2.0
"""Durable jobs: accepted is written down, answered is written down, and nothing twice."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelerate_core.durable.jobs import DurableJobs
from accelerate_core.durable.journal import files, open_journal
from accelerate_core.errors import (
    AccelerateError,
    ConfigError,
    ModelError,
    Overloaded,
    StoreError,
    Unsupported,
)
from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.protocols import Context
from accelerate_core.running.runner import Runner
from accelerate_core.running.work import Work
from accelerate_core.testing import durable_host
from accelerate_core.testing.fake import FakeBackend, FakeSettings
from accelerate_core.testing.models import expected_matmul, tiny_matmul
from accelerate_core.testing.waiting import until
from accelerate_core.types import Target, TensorRef

FOREVER_MS = 60_000


@pytest.fixture
def work(context: Context) -> Work:
    return Work(spec=tiny_matmul(context.assets), targets=(Target("fake"),), task="vision")


INPUTS = {"x": np.ones((2, 2), np.float32)}
OTHERS = {"x": np.zeros((2, 2), np.float32)}


@asynccontextmanager
async def host(context: Context, settings: Any = None, **plan: Any) -> AsyncIterator[DurableJobs]:
    """Yield the durable jobs of one process, as it were."""
    runner = Runner({"fake": FakeBackend(FakeSettings(**plan))}, context, settings=settings)
    jobs = DurableJobs(runner, await asyncio.to_thread(open_journal, context.state_dir))
    try:
        yield jobs
    finally:
        await jobs.close()
        await runner.close()


async def test_an_answer_is_given_and_acknowledged(context: Context, work: Work) -> None:
    async with host(context) as jobs:
        answer = await jobs.submit(work, INPUTS)
        assert answer.attempts == 1 and answer.result.outputs["y"].shape == (2, 2)
    async with host(context) as jobs:
        assert await jobs.jobs() == {}


async def test_with_an_id_it_stays_until_it_is_acknowledged(context: Context, work: Work) -> None:
    async with host(context) as jobs:
        first = await jobs.submit(work, INPUTS, job_id="mine", priority=3)
        assert await jobs.jobs() == {"mine": True}
    async with host(context, crash_after=0) as jobs:  # nothing can run here
        for again in (await jobs.submit(work, INPUTS, job_id="mine"), await jobs.answer("mine")):
            assert again.latency_ms == first.latency_ms and again.handle == first.handle
            assert again.connection == first.connection
            assert again.result.phases == first.result.phases
            assert np.array_equal(again.result.outputs["y"], first.result.outputs["y"])
        assert await jobs.resume() == ()
        assert await jobs.acknowledge("mine") and not await jobs.acknowledge("mine")
        with pytest.raises(ConfigError, match="no job 'mine' is accepted here"):
            await jobs.answer("mine")


async def test_what_was_accepted_is_done_by_the_next_process(context: Context, work: Work) -> None:
    async with host(context, latency_ms=FOREVER_MS) as jobs:
        ids = [await jobs.accept(work, INPUTS, timeout_s=50) for _ in range(3)]
        ids.append(await jobs.accept(work, OTHERS, job_id="other"))
        assert await jobs.jobs() == dict.fromkeys(ids, False)
    async with host(context, settings=FleetSettings(max_queue=1)) as jobs:
        assert await jobs.resume() == tuple(ids)
        answers = [await jobs.answer(one) for one in ids]
        assert await jobs.jobs() == dict.fromkeys(ids, True)
        outputs = [one.result.outputs["y"] for one in answers]
        assert all(np.array_equal(one, outputs[0]) for one in outputs[:3])
        assert not np.array_equal(outputs[3], outputs[0])
    async with host(context) as jobs:
        assert await jobs.resume() == ()


async def test_an_id_names_one_request_and_is_done_once(context: Context, work: Work) -> None:
    async with host(context, latency_ms=30) as jobs:
        many = [jobs.submit(work, INPUTS, job_id="one") for _ in range(5)]
        first, *others = await asyncio.gather(*many)
        assert all(other.latency_ms == first.latency_ms for other in others)
        for when in ("done", "running"):
            with pytest.raises(ConfigError, match="belongs to another request"):
                await jobs.accept(work, OTHERS, job_id="one")
            await jobs.acknowledge("one")
            if when == "done":
                await jobs.accept(work, INPUTS, job_id="one")


async def test_an_error_is_an_answer_too(context: Context, work: Work) -> None:
    async with host(context, fail_every=1) as jobs:
        with pytest.raises(AccelerateError, match="planned: run 1 fails") as caught:
            await jobs.submit(work, INPUTS, job_id="bad")
        assert "accel why bad" in str(caught.value)
    async with host(context) as jobs:
        with pytest.raises(AccelerateError) as again:
            await jobs.submit(work, INPUTS, job_id="bad")
        assert again.value == caught.value


async def test_who_stops_waiting_stops_no_job(context: Context, work: Work) -> None:
    async with host(context, latency_ms=100) as jobs:
        waits = asyncio.create_task(jobs.submit(work, INPUTS, job_id="a"))

        async def is_accepted() -> bool:
            return "a" in await jobs.jobs()

        await until(is_accepted)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert (await jobs.answer("a")).attempts == 1
        await jobs.accept(work, INPUTS, job_id="b")
        assert await jobs.acknowledge("b")
        assert await jobs.jobs() == {"a": True}


async def test_what_is_refused_is_not_accepted(context: Context, work: Work) -> None:
    async with host(context, FleetSettings(max_queue=1), latency_ms=FOREVER_MS) as jobs:
        await jobs.accept(work, INPUTS)
        await until(lambda: bool(jobs._runner._attempts._running))
        await jobs.accept(work, INPUTS)
        with pytest.raises(Overloaded):
            await jobs.accept(work, INPUTS)
        ref = TensorRef("fake-1", 1, "t", work.spec.inputs[0])
        with pytest.raises((Overloaded, Unsupported)):
            await jobs.accept(work, {"x": ref})
        for job_id in ("a", None):
            with pytest.raises(ModelError, match="names of the model's inputs"):
                await jobs.accept(work, ["a sentence"], job_id=job_id)  # type: ignore[arg-type]
        assert len(await jobs.jobs()) == 2


async def test_a_disk_that_is_full_accepts_no_job(
    context: Context, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    async with host(context) as jobs:
        await jobs.submit(work, INPUTS, job_id="before")
        monkeypatch.setattr(files, "_write", full)
        with pytest.raises(StoreError, match="No space left"):
            await jobs.accept(work, INPUTS)
        assert await jobs.jobs() == {"before": True}


async def test_an_answer_that_cannot_be_written_is_not_given(
    context: Context, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files._write

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    async with host(context, latency_ms=50) as jobs:
        await jobs.accept(work, INPUTS, job_id="a")
        monkeypatch.setattr(files, "_write", full)
        with pytest.raises(StoreError, match="No space left"):
            await jobs.answer("a")
        monkeypatch.setattr(files, "_write", write)
        assert await jobs.jobs() == {"a": False}
        assert (await jobs.answer("a")).attempts == 1


# --- kill -9 ----------------------------------------------------------------------------------


def start(folder: Path, count: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "accelerate_core.testing.durable_host", str(folder), str(count)]
    return subprocess.Popen(words)


def test_nothing_accepted_is_lost_and_nothing_is_done_twice_by_kill_9(tmp_path: Path) -> None:
    chance = random.Random(5)
    count, kills, lives = 2_000, 0, []
    while kills < 3:
        before = len(durable_host.read_log(tmp_path))
        process = start(tmp_path, count)
        try:
            enough = before + chance.randrange(20, 120)
            while len(durable_host.read_log(tmp_path)) < enough:
                assert process.poll() is None
                time.sleep(0.02)
            time.sleep(chance.random() / 20)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        kills += 1
        lives.append(durable_host.read_log(tmp_path)[before:])
    rest = len(durable_host.read_log(tmp_path))
    done = {line["job"] for life in lives for line in life if line["what"] == "answer"}
    count = max(done) + 20  # let the last life end soon
    process = start(tmp_path, count)
    assert process.wait(120) == 0
    lives.append(durable_host.read_log(tmp_path)[rest:])
    _check(lives, count)


def _check(lives: list[list[dict[str, Any]]], count: int) -> None:
    answered: set[int] = set()
    accepted: set[int] = set()
    found_any = 0
    for life in lives:
        found = durable_host.said(life, "found")
        assert accepted - answered <= found, "an accepted job was lost"
        found_any += len(found)
        for line in life:
            if line["what"] == "answer":
                number = line["job"]
                assert number not in answered, "an answer was given twice"
                right = expected_matmul(durable_host.inputs_of(number))["y"]
                assert np.array_equal(np.array(line["output"], np.float32), right)
                answered.add(number)
        accepted |= durable_host.said(life, "accepted")
    assert found_any, "no life ended with work in hand: the test showed nothing"
    assert set(range(count)) <= answered
