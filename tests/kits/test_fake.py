# SPDX-License-Identifier: Apache-2.0
"""The fake backend keeps the contract of backends, and fails exactly as planned."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, ClassVar

import numpy as np
import pytest

from accelerate_core.errors import (
    AccelerateError,
    BackendUnavailable,
    ConfigError,
    ModelError,
    WorkerLost,
)
from accelerate_core.protocols import Backend, Context, Worker
from accelerate_core.testing import BackendContract, SessionContract, models
from accelerate_core.testing.fake import FakePlugin, FakeSettings
from accelerate_core.types import Target, WorkerEventKind


class TestFake(BackendContract, SessionContract):
    is_simulated: ClassVar[bool] = True
    target = "fake:firefox"
    slow_s = 0.1  # any run takes this long: it sleeps on the test's own event loop

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, context: Context) -> Backend:
        return FakePlugin().backend_create(
            FakeSettings(
                browsers=("chromium", "firefox"),
                latency_ms=110,
                unsupported_operators=("accelerate.test::NoSuchOperator",),
            ),
            context,
        )


async def start(context: Context, target: str = "fake", **settings: Any) -> Worker:
    backend: Backend = context.plugins.create("backends", "fake", settings)
    return await backend.start(Target.parse(target), context)


async def test_outputs_depend_on_the_inputs_and_on_nothing_else(context: Context) -> None:
    outputs = []
    for target in ("fake", "fake:chromium"):
        worker = await start(context, target, browsers=["chromium"])
        model = await worker.load(models.tiny_mlp(context.assets))
        for inputs in (models.mlp_input(3), models.mlp_input(4)):
            outputs.append((await worker.run(model, inputs)).outputs["out"])
        await worker.close()
    np.testing.assert_array_equal(outputs[0], outputs[2])
    np.testing.assert_array_equal(outputs[1], outputs[3])
    assert outputs[0].shape == (3, 4)
    assert not np.array_equal(outputs[0], outputs[1][:3])


async def test_numbers_are_the_same_on_every_machine(context: Context) -> None:
    worker = await start(context)
    model = await worker.load(models.tiny_matmul(context.assets))
    result = await worker.run(model, models.matmul_input())
    assert result.outputs["y"].tolist() == [[12, 5], [99, 9]]


async def test_every_third_run_fails(context: Context) -> None:
    worker = await start(context, fail_every=3, latency_ms=0)
    model = await worker.load(models.tiny_matmul(context.assets))
    failed = []
    for number in range(1, 10):
        try:
            await worker.run(model, models.matmul_input())
        except AccelerateError as error:
            assert f"run {number} fails" in str(error)
            failed.append(number)
    assert failed == [3, 6, 9]


async def test_crash_is_told_and_final(context: Context) -> None:
    worker = await start(context, crash_after=2)
    model = await worker.load(models.tiny_matmul(context.assets))
    for _ in range(2):
        await worker.run(model, models.matmul_input())
    for _ in range(2):
        with pytest.raises(WorkerLost, match="planned"):
            await worker.run(model, models.matmul_input())
    assert [event.kind async for event in worker.events()] == [WorkerEventKind.LOST]


async def test_planned_operator_is_refused(context: Context) -> None:
    worker = await start(context, unsupported_operators=["Gemm"])
    await worker.load(models.tiny_matmul(context.assets))
    with pytest.raises(ModelError, match="Gemm"):
        await worker.load(models.tiny_mlp(context.assets))


async def test_browser_that_is_not_planned_is_unavailable(context: Context) -> None:
    with pytest.raises(BackendUnavailable, match="no fake:edge"):
        await start(context, "fake:edge", browsers=["chromium"])


@pytest.mark.parametrize(
    "table",
    [{"browsers": ["netscape"]}, {"latency_ms": -1.0}, {"fail_every": 0}, {"slots": 0}, {"x": 1}],
)
async def test_wrong_plans_are_refused(context: Context, table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        await start(context, **table)


def test_module_imports_no_numpy() -> None:
    code = "import sys, accelerate_core.testing.fake; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
