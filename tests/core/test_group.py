# SPDX-License-Identifier: Apache-2.0
"""One model cut into stages on several workers, which agree on where to go on."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import attrs
import numpy as np
import pytest

from accelerate_core.errors import (
    AccelerateError,
    ConfigError,
    JobTimeout,
    ModelError,
    SessionLost,
    WorkerLost,
)
from accelerate_core.fleet.policy import (
    Action,
    FailedAttempt,
    FleetView,
    GiveUp,
    JobView,
    Membership,
    Retry,
)
from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.protocols import Context, Recovery
from accelerate_core.running.runner import Runner
from accelerate_core.running.work import Work
from accelerate_core.sessions.cut import Cut
from accelerate_core.sessions.group import MAX_RESTARTS, Group
from accelerate_core.testing import models
from accelerate_core.types import ModelSpec, Target, TensorSpec

from .mortal import MortalBackend

STEPS = models.recurrent_inputs(30)
EXPECTED = [one["y"] for one in models.expected_cut(STEPS)]


class Fleet:
    """A runner whose workers die as planned, and a group of two on it."""

    def __init__(
        self,
        context: Context,
        plan: dict[int, str] | None = None,
        recovery: Recovery | None = None,
        **options: Any,
    ):
        self.backend = MortalBackend(plan or {})
        recovery = recovery or context.plugins.create("recovery", "coordinated", {})
        self.runner = Runner({"cpu": self.backend}, context, recovery=recovery)
        cut = models.cut_in_two(context.assets)
        self.works = [Work(spec=spec, targets=(Target("cpu"),)) for spec in cut]
        self.group = Group(self.runner, self.works, **options)

    async def run(self, step: int) -> np.ndarray[Any, Any]:
        outputs = await self.group.run(STEPS[step])
        assert set(outputs) == {"y"}
        return outputs["y"]

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.group.close()
        for worker in self.backend.workers:
            assert not worker._states._open, "a session was left open"
        await self.runner.close()


async def test_stages_run_on_workers_of_their_own(context: Context) -> None:
    async with Fleet(context, sync_steps=4) as fleet:
        for step in range(6):
            np.testing.assert_array_equal(await fleet.run(step), EXPECTED[step])
        assert [len(worker._states._open) for worker in fleet.backend.workers] == [1, 1]
        assert (fleet.group.steps, fleet.group.restart_point, fleet.group.restarts) == (6, 4, 0)
        assert list(fleet.group._log) == [5, 6]


@pytest.mark.parametrize("fate", ["before", "after", "fail"])
@pytest.mark.parametrize("sync_steps", [1, 4, 100])
async def test_all_stages_go_back_to_one_point(
    context: Context, fate: str, sync_steps: int
) -> None:
    # Runs are counted over both stages, and replays count: either stage is hit, some in a replay.
    plan = dict.fromkeys((0, 7, 14, 15, 30, 41), fate)
    async with Fleet(context, plan, sync_steps=sync_steps) as fleet:
        for step, right in enumerate(EXPECTED):
            np.testing.assert_array_equal(await fleet.run(step), right, str(step))
        assert fleet.group.steps == len(STEPS)
        assert fleet.group.restarts == len(plan)
        assert fleet.group.restart_point == 30 // sync_steps * sync_steps


@pytest.mark.parametrize("sync_steps", [1, 4])
async def test_steps_in_flight_are_answered_once_and_in_order(
    context: Context, sync_steps: int
) -> None:
    plan = {6: "before", 21: "after", 40: "before"}
    async with Fleet(context, plan, sync_steps=sync_steps) as fleet:
        outputs = await asyncio.gather(*(fleet.run(step) for step in range(len(STEPS))))
        np.testing.assert_array_equal(outputs, EXPECTED)
        assert fleet.group.steps == 30
        assert 2 <= fleet.group.restarts <= 3  # two may die at once


async def test_stages_work_at_the_same_time(context: Context) -> None:
    async with Fleet(context) as fleet:
        await fleet.run(0)
        seen = 0
        runs = [asyncio.create_task(fleet.run(step)) for step in range(1, 20)]
        while not all(run.done() for run in runs):
            await asyncio.sleep(0)
            seen = max(seen, sum(bool(state.jobs) for state in _states(fleet)))
        assert seen == 2


async def test_a_group_without_state_goes_on_after_the_last_answer(context: Context) -> None:
    async with Fleet(context) as fleet:
        mlp = [
            attrs.evolve(work, spec=attrs.evolve(work.spec, metadata={})) for work in fleet.works
        ]
        group = Group(fleet.runner, mlp)
        zeros = {"h1_in": np.zeros((2, 4), np.float32), "h2_in": np.zeros((2, 4), np.float32)}
        fleet.backend.plan[5] = "before"
        for inputs in STEPS[:6]:
            outputs = await group.run({**inputs, **zeros})
            assert set(outputs) == {"h1_out", "h2_out", "y"}
            right = models.expected_cut([inputs])[0]["y"]
            np.testing.assert_array_equal(outputs["y"], right)
        assert (group.restart_point, group.restarts) == (6, 1)
        # Twice six runs, and the one whose stage died: what the first stage did is done again.
        assert len(fleet.backend.counted) == 2 * 6 + 2
        await group.close()


async def test_wrong_inputs_fail_their_step_alone(context: Context) -> None:
    async with Fleet(context, sync_steps=4) as fleet:
        await fleet.run(0)
        for names in ({}, {"X": STEPS[1]["x"]}, {**STEPS[1], "m": STEPS[1]["x"]}):
            with pytest.raises(ModelError) as caught:
                await fleet.group.run(names)
            assert caught.value.info.accepted == ("x: float32[batch, 2]",)
        right, wrong, later = await asyncio.gather(
            fleet.run(1),
            fleet.group.run({"x": STEPS[1]["x"].astype("float64")}),
            fleet.run(2),
            return_exceptions=True,
        )
        np.testing.assert_array_equal(right, EXPECTED[1])
        assert isinstance(wrong, ModelError)
        np.testing.assert_array_equal(later, EXPECTED[2])
        assert len(fleet.backend.workers) == 2


async def test_a_step_that_takes_too_long_never_was(context: Context) -> None:
    async with Fleet(context, {5: "slow"}, timeout_s=60) as fleet:
        await fleet.run(0)
        await fleet.run(1)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(JobTimeout):
            patch.setattr(fleet.group, "_timeout_s", 0.3)
            await fleet.run(20)
        np.testing.assert_array_equal(await fleet.run(2), EXPECTED[2])


class Says:
    """A strategy that always says the same, and keeps what it was told."""

    def __init__(self, action: Action) -> None:
        self.action = action
        self.told: list[tuple[FailedAttempt, Membership | None]] = []

    def decide(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Action:
        self.told.append((failed, job.group))
        return self.action


async def test_the_strategy_is_told_of_the_group_until_it_answers(context: Context) -> None:
    says = Says(Retry())
    async with Fleet(context, dict.fromkeys((4, 5, 8), "fail"), says, sync_steps=1) as fleet:
        for step in range(4):
            np.testing.assert_array_equal(await fleet.run(step), EXPECTED[step])
        first, second = (live for live in fleet.runner._machine.fleet.workers)
        members = [member for _, member in says.told]
        assert [failed.worker_id for failed, _ in says.told] == [first] * 3
        assert all(member and member.unaffected == (second,) for member in members)
        assert [failed.failures for failed, _ in says.told] == [1, 2, 1]
        since = [failed.failing_since_ns for failed, _ in says.told]
        assert 0 < since[0] < since[2] and since[0] <= since[1] < since[2]
        assert len(fleet.backend.workers) == 2 and fleet.group.restarts == 3


async def test_a_strategy_that_gives_up_ends_the_steps_at_once(context: Context) -> None:
    says = Says(GiveUp())
    async with Fleet(context, {2: "fail"}, says) as fleet:
        await fleet.run(0)
        with pytest.raises(AccelerateError, match="planned"):
            await fleet.run(5)
        np.testing.assert_array_equal(await fleet.run(1), EXPECTED[1])
        assert len(says.told) == 1


async def test_a_part_leaves_the_worker_that_the_strategy_avoids(context: Context) -> None:
    says = Says(Retry(avoid=("cpu-1",), delay_ns=200_000_000))
    async with Fleet(context, {2: "fail"}, says) as fleet:
        await fleet.run(0)
        begin = time.perf_counter()
        np.testing.assert_array_equal(await fleet.run(1), EXPECTED[1])
        assert time.perf_counter() - begin >= 0.2
        seats = [seat.pin.worker_id for seat in fleet.group._seats if seat]
        assert sorted(seats) == ["cpu-2", "cpu-3"]


async def test_workers_that_all_die_end_the_steps_and_not_the_group(context: Context) -> None:
    plan = dict.fromkeys(range(4, 4 + MAX_RESTARTS + 1), "before")
    async with Fleet(context, plan, Says(Retry()), sync_steps=1) as fleet:
        await fleet.run(0)
        await fleet.run(1)
        with pytest.raises(WorkerLost, match="planned"):
            await fleet.run(2)
        np.testing.assert_array_equal(await fleet.run(2), EXPECTED[2])


async def test_closing_answers_what_waits(context: Context) -> None:
    async with Fleet(context, {2: "slow"}) as fleet:
        await fleet.run(0)
        waits = asyncio.create_task(fleet.run(1))
        await asyncio.sleep(0.05)
        await fleet.group.close()
        for run in (waits, fleet.run(2)):
            with pytest.raises(SessionLost, match="closed"):
                await run


async def test_more_stages_than_workers_are_refused(context: Context) -> None:
    fleet = Fleet(context)
    runner = Runner({}, context, settings=FleetSettings(max_workers=1))
    with pytest.raises(ConfigError, match="2 stages"):
        Group(runner, fleet.works)
    await runner.close()
    await fleet.runner.close()


def _states(fleet: Fleet) -> list[Any]:
    return list(fleet.runner._machine.fleet.workers.values())


# --- how parts fit ----------------------------------------------------------------------------


def part(inputs: dict[str, Any], outputs: dict[str, Any], **metadata: Any) -> ModelSpec:
    def tensors(all_: dict[str, Any]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(name, "float32", shape) for name, shape in all_.items())

    return ModelSpec(
        name="part",
        source="test",
        sha256="0",
        assets=(),
        inputs=tensors(inputs),
        outputs=tensors(outputs),
        metadata=metadata,
    )


def test_parts_are_connected_by_name() -> None:
    cut = Cut(
        [
            part({"x": ("n",), "h": (4,)}, {"a": ("n",), "b": (2,), "h2": (4,)}, state={"h": "h2"}),
            part({"a": ("n",), "z": (1,)}, {"c": ("n",)}),
            part({"a": ("n",), "c": ("n",), "x": ("n",)}, {"y": (3,)}),
        ]
    )
    assert set(cut.inputs) == {"x", "z"}
    assert cut.outputs == ("b", "y")
    assert cut.takes == [("x",), ("a", "z"), ("a", "c", "x")]
    assert cut.passed == [{"a": [1, 2]}, {"c": [2]}, {}]
    assert cut.last_taken_by == [(), (), ("a", "c")]


@pytest.mark.parametrize(
    ("second", "match"),
    [
        (part({"a": (3,)}, {"y": (1,)}), "earlier part gives"),
        (part({"a": (2, 1)}, {"y": (1,)}), "earlier part gives"),
        (part({"a": (2,)}, {"a": (2,)}), "two parts"),
        (part({"a": (2,)}, {"x": (2,)}), "two parts"),
    ],
)
def test_parts_that_do_not_fit_are_refused(second: ModelSpec, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        Cut([part({"x": (1,)}, {"a": (2,)}), second])
