# SPDX-License-Identifier: Apache-2.0
"""How long a dispatch takes is told rightly, whatever a run costs besides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import accelerate_shaders
import numpy as np
import pytest
from accelerate_plan.catalogue import read_folders
from accelerate_plan.choosing import Choice, candidates
from accelerate_plan.devices import device_of
from accelerate_plan.measuring import ROUNDS, measure
from accelerate_plan.plan import Plan, read_plan
from accelerate_plan.program import ProgramBuilder
from accelerate_plan.testing.cases import read_cases
from accelerate_plan.tuning import speed_workloads, tune
from accelerate_plan.workload import flops_of, of_case, of_program

from accelerate_core.protocols import Context, Worker
from accelerate_core.testing.pytest_plugin import make_context
from accelerate_core.types import (
    KernelTime,
    LoadOptions,
    ModelHandle,
    ModelSpec,
    Phases,
    Result,
    Target,
    WorkerInfo,
)

CATALOGUE = read_folders([("shaders", Path(accelerate_shaders.__file__).parent / "kernels")])
OPERATION = "layer_norm"


class Clockwork(Worker):
    """A worker on which every dispatch of a variant takes a known time, and a run some more."""

    def __init__(self, ctx: Context, costs: Mapping[str, float], *, has_timestamps: bool) -> None:
        features = ("timestamp-query",) if has_timestamps else ()
        self.info = WorkerInfo(target=Target("clockwork"), features=features, is_software=True)
        self.order: list[str] = []
        self.loaded: dict[str, tuple[Plan, bool]] = {}
        self._ctx = ctx
        self._costs = costs
        self._numbers = 0

    async def load(self, spec: ModelSpec, options: LoadOptions | None = None) -> ModelHandle:
        plan = read_plan(self._ctx.assets.path(spec.assets[0].sha256).read_bytes())
        self._numbers += 1
        handle = ModelHandle(id=str(self._numbers), spec=spec)
        is_timed = bool(options and options.profile and self.info.features)
        self.loaded[handle.id] = (plan, is_timed)
        return handle

    async def run(self, model: ModelHandle, inputs: Any, **_: Any) -> Result:
        assert not inputs
        plan, is_timed = self.loaded[model.id]
        (pipeline,) = plan.pipelines
        each = self._costs[pipeline.name.partition("/")[2]]
        if len(plan.dispatches) > 5:
            self.order.append(pipeline.name.partition("/")[2])
        times = tuple(KernelTime(label="", kernel="", ms=each) for _ in plan.dispatches)
        # What timestamps say is right; what a run takes is not worth a look then.
        total = 17.0 + (0 if is_timed else each * len(plan.dispatches))
        phases = Phases(in_page_ms=total)
        return Result(outputs={}, phases=phases, profile=times if is_timed else ())

    async def unload(self, model: ModelHandle) -> None:
        del self.loaded[model.id]


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    return make_context(tmp_path)


def _choices(worker: Worker) -> list[Choice]:
    kernel = CATALOGUE.kernel(OPERATION)
    workload = next(speed_workloads(CATALOGUE, [OPERATION]))
    found = candidates(kernel, workload.step(), device_of(worker.info))
    return [one for one in found if one.constants == one.variant.constants]


@pytest.mark.parametrize("has_timestamps", [True, False])
async def test_the_cost_of_a_run_cancels(ctx: Context, has_timestamps: bool) -> None:
    costs = {"rows4": 0.5, "shared": 20.0, "rows": 0.75}
    worker = Clockwork(ctx, costs, has_timestamps=has_timestamps)
    workload = next(speed_workloads(CATALOGUE, [OPERATION]))
    timings = await measure(worker, CATALOGUE, workload, _choices(worker), ctx)
    assert [one.choice.variant.name for one in timings] == ["rows4", "rows", "shared"]
    for one in timings:
        cost = pytest.approx(costs[one.choice.variant.name])
        assert one.best_ms == cost and one.median_ms == cost
        assert one.spread == pytest.approx(0, abs=1e-9)
        assert one.method == ("timestamps" if has_timestamps else "wall")
    assert not worker.loaded  # nothing stays on the device


async def test_variants_are_run_in_turn_and_hopeless_ones_twice(ctx: Context) -> None:
    worker = Clockwork(ctx, {"rows4": 0.5, "shared": 20.0, "rows": 0.75}, has_timestamps=True)
    workload = next(speed_workloads(CATALOGUE, [OPERATION]))
    timings = await measure(worker, CATALOGUE, workload, _choices(worker), ctx)
    names = [one.variant.name for one in _choices(worker)]
    fast = [one for one in names if one != "shared"]
    turns = [fast[::-1] if number % 2 else fast for number in range(1, ROUNDS)]
    kept = [one for one in worker.order if one != "shared"]
    assert kept == fast + [one for turn in turns for one in turn]
    assert {one.choice.variant.name: one.samples for one in timings}["shared"] == 2


async def test_tuning_measures_each_size_once_and_only_where_there_is_a_choice(
    ctx: Context,
) -> None:
    costs = {"rows4": 0.5, "shared": 20.0, "rows": 0.75, "elements": 1.0}
    worker = Clockwork(ctx, costs, has_timestamps=True)
    workloads = [one for _ in range(2) for one in speed_workloads(CATALOGUE, [OPERATION])]
    found = [one async for one in tune(worker, CATALOGUE, workloads, ctx)]
    entries = [entry for one in found for entry in one.entries]
    labels = [one.label for one in speed_workloads(CATALOGUE, [OPERATION])]
    assert [one.workload.label for one in found] == labels
    assert {one.variant for one in entries} == {"rows4", "shared", "rows"}
    fastest = min(entries, key=lambda one: one.best_ms)
    assert fastest.variant == "rows4" and fastest.adapter.startswith("unnamed adapter")


def test_a_workload_is_what_a_case_says() -> None:
    kernel = CATALOGUE.kernel("linear")
    case = next(one for one in read_cases(kernel, CATALOGUE.folders["linear"][0]) if one.speed)
    workload = of_case(kernel, case)
    m, n, k = (case.params[name] for name in "mnk")
    assert workload.flops == 2 * m * n * k == flops_of("linear", case.params)
    operands = sum(value.size for value in workload.values.values())
    assert workload.bytes >= 4 * (operands + m * n)
    program = workload.program(kernel, 7)
    assert len(program.steps) == 7 and not program.inputs
    assert [one.shape for one in program.outputs] == [(1,)]


def test_steps_of_a_model_are_taken_once() -> None:
    make = ProgramBuilder("model")
    x = make.input("ids", "int64", (4,))
    y = make.input("y", "float32", (4, 6))
    table = make.constant(np.ones((9, 6), np.float32))
    for number in range(3):
        out = make.tensor((4, 6))
        params = {"rows": 4, "columns": 6}
        make.step("softmax", {"x": y, "y": out}, params, label=f"softmax {number}")
        y = out
    found = list(of_program(CATALOGUE, make.finish()))
    assert [one.label for one in found] == ["softmax 0"]
    assert found[0].outputs == {"y": (4, 6)} and found[0].values["x"].shape == (4, 6)
    assert x and table
