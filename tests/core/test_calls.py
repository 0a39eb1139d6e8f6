# SPDX-License-Identifier: Apache-2.0
"""How soon, how surely and by whom a request is done; several at once; what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from accelerate_core import AsyncAccelerator
from accelerate_core.calls import AsyncModel, Terms, smaller_than
from accelerate_core.errors import AccelerateError, ConfigError, JobTimeout, ModelError, Overloaded
from accelerate_core.fleet.policy import Retry
from accelerate_core.running.runner import Runner
from accelerate_core.running.work import Work
from accelerate_core.serial import to_plain
from accelerate_core.testing.fake import FakeBackend, FakeSettings
from accelerate_core.testing.models import tiny_matmul
from accelerate_core.types import Target

Make = Callable[..., AsyncAccelerator]


@pytest.fixture
def onnx(context: Any, tmp_path: Path) -> str:
    spec = tiny_matmul(context.assets)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(context.assets.path(spec.assets[0].sha256).read_bytes())
    return f"file:{path}"


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[AsyncAccelerator] = []

    def make_(fake: dict[str, Any] | None = None, **options: Any) -> AsyncAccelerator:
        one = AsyncAccelerator(
            cache_dir=tmp_path / "cache",
            state_dir=tmp_path / "state",
            backends={"fake": fake or {}},
            **options,
        )
        made.append(one)
        return one

    yield make_
    for one in made:
        await one.close()


def ones(model: AsyncModel, rows: int = 1) -> dict[str, np.ndarray]:
    (spec,) = model.spec.inputs
    shape = [one if isinstance(one, int) else rows for one in spec.shape]
    return {spec.name: np.ones(shape, spec.dtype)}


def rows_of(answer: dict[str, np.ndarray]) -> int:
    return len(next(iter(answer.values())))


async def test_models_of_several_backends_run_at_once(make: Make, onnx: str) -> None:
    accelerator = make({"latency_ms": 30.0})
    native = await accelerator.accelerate_model(onnx)
    faked = await accelerator.accelerate_model(onnx, platform="fake")
    calls = [(one, ones(one, rows)) for rows in (1, 2, 3) for one in (native, faked)]
    calls.insert(2, (native, {"nonsense": np.ones(3)}))
    answers = await accelerator.run_concurrent(calls, return_exceptions=True)
    assert isinstance(answers.pop(2), ModelError)
    assert [rows_of(one) for one in answers] == [1, 1, 2, 2, 3, 3]
    assert accelerator.get_metrics().targets == {"cpu": 3, "fake": 3}
    with pytest.raises(ModelError):
        await accelerator.run_concurrent(calls)


async def test_many_calls_wait_for_room_instead_of_being_refused(make: Make, onnx: str) -> None:
    accelerator = make({"latency_ms": 2.0}, max_queue=2, max_connections=1)
    model = await accelerator.accelerate_model(onnx, platform="fake")
    rows = list(range(1, 13))
    answers = await accelerator.run_concurrent([(model, ones(model, one)) for one in rows])
    assert [rows_of(one) for one in answers] == rows
    refused = await asyncio.gather(
        *(model(ones(model, one)) for one in rows), return_exceptions=True
    )
    assert any(isinstance(one, Overloaded) for one in refused)


async def test_what_is_more_urgent_goes_first(make: Make, onnx: str) -> None:
    accelerator = make({"latency_ms": 20.0}, max_connections=1)
    model = await accelerator.accelerate_model(onnx, platform="fake")
    done: list[int] = []

    async def call(priority: int) -> None:
        await model(ones(model), priority=priority)
        done.append(priority)

    await asyncio.gather(*(call(priority) for priority in (0, 1, 2, 3)))
    assert done == [0, 3, 2, 1]  # the first found the worker idle


async def test_a_request_may_have_less_time_than_the_pool_gives(make: Make, onnx: str) -> None:
    accelerator = make({"latency_ms": 500.0})
    model = await accelerator.accelerate_model(onnx, platform="fake")
    with pytest.raises(JobTimeout):
        await model(ones(model), timeout=0.05)
    assert accelerator.get_metrics().jobs.failed == {"JobTimeout": 1}


async def test_a_critical_request_is_done_twice_and_compared(make: Make, onnx: str) -> None:
    accelerator = make(max_connections=2)
    model = await accelerator.accelerate_model(onnx, platform="fake")
    await model(ones(model), copies=2)
    assert accelerator.get_metrics().jobs.attempts == 2
    both = make(max_connections=2, redundancy_factor=2)
    model = await both.accelerate_model(onnx, platform="fake")
    await model(ones(model))
    jobs = both.get_metrics().jobs
    assert (jobs.attempts, jobs.answered, jobs.hedges, jobs.retries) == (2, 1, 0, 0)


@pytest.mark.parametrize(
    ("terms", "where"),
    [({"copies": 3}, "copies"), ({"copies": 0}, "copies"), ({"timeout": 0}, "timeout"),
     ({"timeout": "1s"}, "timeout"), ({"priority": "high"}, "priority")],
)  # fmt: skip
async def test_terms_that_cannot_be_are_refused(
    make: Make, onnx: str, terms: dict[str, Any], where: str
) -> None:
    accelerator = make(max_connections=2)
    model = await accelerator.accelerate_model(onnx, platform="fake")
    with pytest.raises(ConfigError) as caught:
        await model(ones(model), **terms)
    assert caught.value.info.where == where and caught.value.info.accepted
    with pytest.raises(ConfigError):
        await accelerator.run_concurrent([(model, ones(model))], **terms)


async def test_an_answer_says_what_gave_it(make: Make, onnx: str) -> None:
    accelerator = make()
    model = await accelerator.accelerate_model(onnx, platform="fake")
    response = await model.request(ones(model, 2), Terms(priority=1))
    assert rows_of(response.answer) == 2
    assert (str(response.target), response.precision, response.attempts) == ("fake", "fp32", 1)
    assert response.fell_back_from is None and response.degraded_from is None
    assert response.is_simulated and response.latency_ms >= response.queue_ms
    assert to_plain(accelerator.get_health_status())["workers"][0]["target"] == "fake"
    assert to_plain(accelerator.get_metrics())["jobs"]["answered"] == 1


async def test_a_fallback_of_the_pool_is_said(make: Make, onnx: str, caplog: Any) -> None:
    accelerator = make(fallback=["cpu"])
    model = await accelerator.accelerate_model(onnx, platform="fake", browser="firefox")
    response = await model.request(ones(model))
    assert str(response.target) == "cpu"
    assert str(response.fell_back_from) == "fake:firefox"
    await model(ones(model))
    assert caplog.text.count("cpu answers in fp32, not fake:firefox in fp32") == 1


def test_only_smaller_precisions_degrade() -> None:
    assert smaller_than("fp16", ("fp32", "fp16", "int8", "int4")) == ("int8", "int4")
    assert smaller_than("fp32", ()) == ()


class Smaller:
    def decide(self, failed: Any, job: Any, fleet: Any) -> Retry:
        return Retry(model=job.degraded[0])


async def test_what_answered_in_another_precision_is_said(context: Any) -> None:
    spec = tiny_matmul(context.assets)
    small = attrs.evolve(spec, precision="int8", sha256="0" * 64)
    work = Work(
        spec=spec,
        targets=(Target("fake"),),
        degraded=(Work(spec=small, targets=(Target("fake"),)),),
    )
    backend = FakeBackend(FakeSettings(fail_every=2))
    runner = Runner({"fake": backend}, context, recovery=Smaller())
    inputs = {one.name: np.ones([1, *one.shape[1:]], one.dtype) for one in spec.inputs}
    try:
        first = await runner.submit(work, inputs)
        second = await runner.submit(work, inputs)  # its first attempt is run 2
        assert [one.handle.spec.precision for one in (first, second)] == ["fp32", "int8"]
        jobs, _ = runner.meter.metrics()
        assert (jobs.degradations, jobs.retries, jobs.failovers) == (1, 1, 0)
    finally:
        await runner.close()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"recovery_timout": 3}, "Did you mean 'recovery_timeout'"),
        ({"recovery_timeout": "3s"}, "'3s' is not allowed"),
        ({"failover_strategy": "restart"}, "one strategy serves the whole pool"),
    ],
)
async def test_fault_tolerance_of_a_model_is_checked(
    make: Make, onnx: str, asked: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        await make().get_model(onnx, fault_tolerance=asked)


async def test_a_model_is_recovered_for_as_long_as_it_says(make: Make, onnx: str) -> None:
    accelerator = make({"fail_every": 1, "latency_ms": 1.0}, recovery="immediate")
    model = await accelerator.get_model(
        onnx,
        hardware_preferences={"priority_list": ["fake"]},
        fault_tolerance={"recovery_timeout": 0.0},
    )
    with pytest.raises(AccelerateError, match="planned: run 1 fails"):
        await model(ones(model))
    assert accelerator.get_metrics().jobs.attempts == 1
