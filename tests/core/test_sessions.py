# SPDX-License-Identifier: Apache-2.0
"""Sessions of the fleet: every run answered once, and right, whatever becomes of the worker."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from accelerate_core.errors import (
    JobTimeout,
    ModelError,
    SessionLost,
    Unsupported,
    WorkerLost,
)
from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.protocols import Context
from accelerate_core.running.runner import Runner
from accelerate_core.running.work import Work
from accelerate_core.sessions import checkpoint
from accelerate_core.sessions.live import MAX_KEPT, MAX_MOVES, LiveSession
from accelerate_core.testing import models
from accelerate_core.types import Target, TensorRef, TensorSpec

from .mortal import MortalBackend

STEPS = models.recurrent_inputs(30)
EXPECTED = [one["y"] for one in models.expected_recurrent(STEPS)]


class Fleet:
    """A runner whose workers die as planned, and one session on it."""

    def __init__(self, context: Context, plan: dict[int, str] | None = None, **options: Any):
        self.backend = MortalBackend(plan or {})
        policies = {name: options.pop(name, None) for name in ("settings", "scheduler")}
        self.runner = Runner({"cpu": self.backend}, context, **policies)
        self.work = Work(spec=models.tiny_recurrent(context.assets), targets=(Target("cpu"),))
        self.session = self.open(**options)

    def open(self, **options: Any) -> LiveSession:
        return LiveSession(self.runner, lambda _: self.work, **options)

    async def run(self, step: int) -> np.ndarray[Any, Any]:
        outputs = (await self.session.run(STEPS[step])).result.outputs
        assert set(outputs) == {"y"}
        return outputs["y"]

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        for worker in self.backend.workers:
            assert not worker._states._open, "a session was left open"
        await self.runner.close()


async def test_sessions_spread_over_the_workers_there_are(context: Context) -> None:
    settings = FleetSettings(min_workers=3)
    scheduler = context.plugins.create("schedulers", "affinity", {})
    async with Fleet(context, settings=settings, scheduler=scheduler) as fleet:
        await fleet.run(0)
        for _ in range(1000):
            if len(fleet.runner.live()) == 3:
                break
            await asyncio.sleep(0.01)
        sessions = [fleet.session, *(fleet.open() for _ in range(8))]
        for session in sessions[1:]:
            await session.run(STEPS[0])
        assert [len(one._states._open) for one in fleet.backend.workers] == [3, 3, 3]
        # Those that are left behind fill the gap before anybody is crowded.
        first = [one for one in sessions if one._seat and one._seat.pin.worker_id == "cpu-1"]
        for session in first:
            await session.close()
        sessions = [one for one in sessions if one not in first] + [fleet.open() for _ in first]
        for session in sessions[-len(first) :]:
            await session.run(STEPS[0])
        assert [len(one._states._open) for one in fleet.backend.workers] == [3, 3, 3]
        for session in sessions:
            await session.close()


async def test_a_session_runs_on_its_own_past(context: Context) -> None:
    async with Fleet(context) as fleet:
        for step in range(4):
            np.testing.assert_array_equal(await fleet.run(step), EXPECTED[step])
        assert (fleet.session.runs, fleet.session.moves) == (4, 0)


@pytest.mark.parametrize("fate", ["before", "after"])
@pytest.mark.parametrize("sync_runs", [1, 4, 100])
async def test_no_run_is_lost_or_wrong_when_workers_die(
    context: Context, fate: str, sync_runs: int
) -> None:
    # Replays count as runs, so that some die while the session is being brought back.
    plan = dict.fromkeys((0, 3, 9, 11, 22), fate)
    async with Fleet(context, plan, sync_runs=sync_runs) as fleet:
        for step, right in enumerate(EXPECTED):
            np.testing.assert_array_equal(await fleet.run(step), right, str(step))
        assert fleet.session.runs == len(STEPS)
        assert len(fleet.backend.workers) == len(plan) + 1
        assert checkpoint.unpack(await fleet.session.checkpoint(), fleet.work.spec).runs == 30


async def test_runs_asked_for_at_once_stay_in_order(context: Context) -> None:
    async with Fleet(context, {5: "after", 17: "before"}, sync_runs=3) as fleet:
        outputs = await asyncio.gather(*(fleet.run(step) for step in range(len(STEPS))))
        np.testing.assert_array_equal(outputs, EXPECTED)


async def test_inputs_may_be_written_into_after_a_run(context: Context) -> None:
    async with Fleet(context, {2: "before"}) as fleet:
        buffer = np.empty_like(STEPS[0]["x"])
        for step in range(4):
            buffer[:] = STEPS[step]["x"]
            answer = await fleet.session.run({"x": buffer})
            np.testing.assert_array_equal(answer.result.outputs["y"], EXPECTED[step])


async def test_a_checkpoint_is_due_by_runs_or_by_time(context: Context) -> None:
    async with Fleet(context, sync_runs=3, sync_interval_s=1e9) as fleet:
        kept = []
        for step in range(7):
            await fleet.run(step)
            async with fleet.session._turn:
                kept.append(len(fleet.session._kept))
        assert kept == [1, 2, 0, 1, 2, 0, 1]
    async with Fleet(context, sync_interval_s=0.0) as fleet:
        await fleet.run(0)
        async with fleet.session._turn:
            assert not fleet.session._kept
    assert Fleet(context, sync_runs=MAX_KEPT + 1).session._sync_runs == MAX_KEPT


@pytest.mark.parametrize("fate", ["slow", "answers late"])
async def test_a_run_that_takes_too_long_never_was(context: Context, fate: str) -> None:
    async with Fleet(context, {2: fate}, timeout_s=60) as fleet:
        await fleet.run(0)
        await fleet.run(1)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(JobTimeout):
            patch.setattr(fleet.session, "_timeout_s", 0.3)
            await fleet.run(20)
        np.testing.assert_array_equal(await fleet.run(2), EXPECTED[2])
        assert fleet.session.runs == 3


@pytest.mark.parametrize("fate", ["slow", "answers late"])
async def test_a_cancelled_run_never_was(context: Context, fate: str) -> None:
    async with Fleet(context, {2: fate}) as fleet:
        await fleet.run(0)
        await fleet.run(1)
        given_up = asyncio.create_task(fleet.run(20))
        await asyncio.sleep(0.1)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        np.testing.assert_array_equal(await fleet.run(2), EXPECTED[2])


async def test_wrong_inputs_leave_the_state_and_the_seat(context: Context) -> None:
    async with Fleet(context) as fleet:
        await fleet.run(0)
        ref = TensorRef("w", 1, "t", TensorSpec("x", "float32", (2, 2)))
        for wrong, error in (
            ({"X": STEPS[1]["x"]}, ModelError),
            ({}, ModelError),
            ({"x": STEPS[1]["x"].tolist()}, ModelError),
            ({"x": ref}, Unsupported),
        ):
            with pytest.raises(error):
                await fleet.session.run(wrong)
        np.testing.assert_array_equal(await fleet.run(1), EXPECTED[1])
        assert (fleet.session.moves, len(fleet.backend.workers)) == (0, 1)


async def test_a_worker_that_fails_without_dying_is_left(context: Context) -> None:
    async with Fleet(context, {1: "fail"}) as fleet:
        for step in range(3):
            np.testing.assert_array_equal(await fleet.run(step), EXPECTED[step])
        assert fleet.session.moves == 1


async def test_workers_that_all_die_end_a_run_and_not_the_session(context: Context) -> None:
    plan = dict.fromkeys(range(2, 2 + MAX_MOVES + 1), "before")
    async with Fleet(context, plan, sync_runs=1) as fleet:
        await fleet.run(0)
        await fleet.run(1)
        with pytest.raises(WorkerLost, match="planned"):
            await fleet.run(2)
        np.testing.assert_array_equal(await fleet.run(2), EXPECTED[2])


async def test_a_checkpoint_begins_another_session(context: Context) -> None:
    async with Fleet(context) as fleet:
        with pytest.raises(ModelError, match="not run yet"):
            await fleet.session.checkpoint()
        for step in range(3):
            await fleet.run(step)
        state = await fleet.session.checkpoint()
        other = fleet.open(state=state)
        assert await other.checkpoint() == state
        answer = await other.run(STEPS[3])
        np.testing.assert_array_equal(answer.result.outputs["y"], EXPECTED[3])
        np.testing.assert_array_equal(await fleet.run(3), EXPECTED[3])
        await other.close()
        damaged = fleet.open(state=state[:-1])
        with pytest.raises(ModelError, match="damaged"):
            await damaged.run(STEPS[3])


async def test_a_retired_worker_takes_no_session_with_it(context: Context) -> None:
    async with Fleet(context) as fleet:
        await fleet.run(0)
        await fleet.runner.retire(Target("cpu"))
        np.testing.assert_array_equal(await fleet.run(1), EXPECTED[1])
        assert (fleet.session.moves, len(fleet.backend.workers)) == (1, 2)


async def test_closing_frees_the_state_and_says_so_afterwards(context: Context) -> None:
    async with Fleet(context, settings=FleetSettings(max_workers=1)) as fleet:
        await fleet.run(0)
        (worker,) = fleet.backend.workers
        assert len(worker._states._open) == 1
        (state,) = fleet.runner._machine.fleet.workers.values()
        assert state.sessions == 1
        await fleet.session.close()
        await fleet.session.close()
        assert not worker._states._open and state.sessions == 0
        with pytest.raises(SessionLost, match="closed"):
            await fleet.run(1)
