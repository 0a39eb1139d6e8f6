# SPDX-License-Identifier: Apache-2.0
"""The runner: jobs in, answers out, nothing left behind. Workers here are the fake backend's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from accelerate_core import events
from accelerate_core.errors import (
    AccelerateError,
    BackendUnavailable,
    JobTimeout,
    ModelError,
    PluginError,
    WorkerLost,
)
from accelerate_core.fleet.policy import Retry
from accelerate_core.protocols import Backend, Context, Worker
from accelerate_core.running.runner import Runner
from accelerate_core.running.work import Work
from accelerate_core.testing.fake import FakeBackend, FakeSettings
from accelerate_core.testing.waiting import until
from accelerate_core.types import Target, WorkerEvent, WorkerEventKind, WorkerInfo

FAKE = Target("fake")


class Again:
    def decide(self, failed: Any, job: Any, fleet: Any) -> Retry:
        return Retry(avoid=(failed.worker_id,))


class Fleet:
    """A runner on the fake backend, closed at the end, with what it told."""

    def __init__(self, context: Context, backend: Backend | None = None, **options: Any) -> None:
        self.told: list[events.Event] = []
        plan = {key: options.pop(key) for key in list(options) if key in FakeSettings.__slots__}
        self.runner = Runner(
            {"fake": backend or FakeBackend(FakeSettings(**plan))},
            context,
            observer=self.observe,
            **options,
        )

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.close()
        assert not self.runner.live()

    def observe(self, event: events.Event) -> None:
        if not isinstance(event, events.MetricsRecorded):
            self.told.append(event)

    def kinds(self) -> list[str]:
        return [one.kind for one in self.told]


async def test_a_job_is_answered_with_where_its_time_went(context, work, inputs) -> None:
    async with Fleet(context, latency_ms=20) as fleet:
        answer = await fleet.runner.submit(work, inputs)
        assert set(answer.result.outputs) == {one.name for one in work.spec.outputs}
        assert answer.latency_ms >= 20 and answer.queue_ms <= answer.latency_ms
        assert answer.connection.info.is_simulated
    assert fleet.kinds() == ["worker_started", "job_finished", "worker_lost"]
    assert fleet.told[-1].connection.duration_s > 0


async def test_without_inputs_the_model_is_only_loaded(context, work) -> None:
    async with Fleet(context) as fleet:
        answer = await fleet.runner.submit(work, None)
        assert answer.handle.spec == work.spec and answer.result.outputs == {}
        assert "job_finished" not in fleet.kinds()


async def test_many_jobs_at_once_are_each_answered_with_their_own(context, work, inputs) -> None:
    async with Fleet(context, slots=3) as fleet:
        name = next(iter(inputs))
        many = [{**inputs, name: inputs[name] * number} for number in range(30)]
        together = await asyncio.gather(*(fleet.runner.submit(work, one) for one in many))
        alone = [await fleet.runner.submit(work, one) for one in many]
        for one, other in zip(together, alone, strict=True):
            for output in one.result.outputs:
                assert np.array_equal(one.result.outputs[output], other.result.outputs[output])


async def test_a_crash_is_recovered_on_another_worker(context, work, inputs) -> None:
    async with Fleet(context, crash_after=1, recovery=Again()) as fleet:
        await fleet.runner.submit(work, inputs)
        answer = await fleet.runner.submit(work, inputs)
        assert answer.attempts == 2 and answer.connection.id.startswith("fake-1#2")
    lost = [one for one in fleet.told if isinstance(one, events.WorkerGone) and one.error]
    assert len(lost) == 1


async def test_a_crash_without_recovery_is_the_jobs_error(context, work, inputs) -> None:
    async with Fleet(context, crash_after=0) as fleet:
        with pytest.raises(WorkerLost, match="crashed"):
            await fleet.runner.submit(work, inputs)


async def test_wrong_inputs_are_the_callers_fault_and_cost_no_retry(context, work, inputs) -> None:
    async with Fleet(context, recovery=Again()) as fleet:
        with pytest.raises(ModelError):
            await fleet.runner.submit(work, {"nonsense": np.ones(3)})
        assert (await fleet.runner.submit(work, inputs)).attempts == 1
        failed = [one for one in fleet.told if isinstance(one, events.JobFinished) and one.error]
        assert [one.attempts for one in failed] == [1]


async def test_a_deadline_is_kept_and_the_worker_is_free_again(context, work, inputs) -> None:
    async with Fleet(context, latency_ms=60_000) as fleet:
        await fleet.runner.submit(work, None)
        with pytest.raises(JobTimeout, match="job_timeout"):
            await fleet.runner.submit(work, inputs, timeout_s=0.05)
        await asyncio.wait_for(fleet.runner.submit(work, None), 10)


async def test_cancelling_the_caller_frees_the_worker(context, work, inputs) -> None:
    async with Fleet(context, latency_ms=60_000) as fleet:
        await fleet.runner.submit(work, None)
        task = asyncio.create_task(fleet.runner.submit(work, inputs))
        await until(lambda: bool(fleet.runner._attempts._running))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        loaded = await asyncio.wait_for(fleet.runner.submit(work, None), 10)
        assert loaded.attempts == 1


async def test_a_backend_that_is_not_there_is_said(context, work, inputs) -> None:
    async with Fleet(context) as fleet:
        gone = Work(spec=work.spec, targets=(Target("fake", None, "firefox"),))
        with pytest.raises(BackendUnavailable, match="Plan it"):
            await fleet.runner.submit(gone, inputs)
        other = Work(spec=work.spec, targets=(Target("none"),))
        with pytest.raises(BackendUnavailable, match="no backend 'none'"):
            await fleet.runner.submit(other, inputs)


async def test_a_fallback_runs_when_the_first_cannot_start(context, work, inputs) -> None:
    async with Fleet(context) as fleet:
        both = Work(spec=work.spec, targets=(Target("fake", None, "firefox"), FAKE))
        answer = await fleet.runner.submit(both, inputs)
        assert answer.connection.info.target == FAKE


async def test_retiring_waits_until_the_worker_is_gone(context, work, inputs) -> None:
    async with Fleet(context) as fleet:
        await fleet.runner.submit(work, inputs)
        await fleet.runner.retire(FAKE)
        assert not fleet.runner.live()
        assert (await fleet.runner.submit(work, inputs)).connection.id.startswith("fake-1#2")


class Slow(Backend):
    """Take for ever to start, and count what was left."""

    def __init__(self) -> None:
        self.open = 0
        self.closed = False

    async def discover(self) -> list[Any]:
        return []

    async def start(self, target: Target, ctx: Context) -> Worker:
        self.open += 1
        try:
            await asyncio.sleep(3600)
        finally:
            self.open -= 1
        raise AssertionError

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("delay_s", [0.0, 0.05])
async def test_closing_while_a_worker_starts_leaves_nothing(context, work, inputs, delay_s) -> None:
    backend = Slow()
    runner = Runner({"fake": backend}, context)
    task = asyncio.create_task(runner.submit(work, inputs))
    await asyncio.sleep(delay_s)
    await asyncio.wait_for(runner.close(), 5)
    with pytest.raises(AccelerateError):
        await asyncio.wait_for(task, 5)
    assert backend.open == 0 and backend.closed


class Rude(Worker):
    """Raise what no worker may raise, and stay when asked to go."""

    info = WorkerInfo(target=FAKE)

    def __init__(self, closes: bool = True) -> None:
        self.closes = closes
        self.killed = False

    async def load(self, spec: Any, options: Any = None) -> Any:
        raise KeyError("surprise")

    async def close(self, *, kill: bool = False) -> None:
        self.killed = kill
        if not kill and not self.closes:
            await asyncio.sleep(3600)

    async def events(self) -> AsyncIterator[WorkerEvent]:
        yield WorkerEvent(kind=WorkerEventKind.LOG, message="hello")
        await asyncio.sleep(3600)


class RudeBackend(Slow):
    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self.worker = worker

    async def start(self, target: Target, ctx: Context) -> Worker:
        return self.worker


async def test_an_untyped_error_becomes_a_plugin_error(context, work, inputs) -> None:
    async with Fleet(context, RudeBackend(Rude())) as fleet:
        with pytest.raises(PluginError, match="KeyError"):
            await fleet.runner.submit(work, inputs)


async def test_a_worker_that_will_not_close_is_killed(
    context, work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate_core.running.workers.CLOSE_TIMEOUT_S", 0.1)
    rude = Rude(closes=False)
    async with Fleet(context, RudeBackend(rude)) as fleet:
        with pytest.raises(PluginError):
            await fleet.runner.submit(work, None)
    assert rude.killed
