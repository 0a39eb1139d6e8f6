# SPDX-License-Identifier: Apache-2.0
"""Durable requests of an Accelerator: written down, resumed, handed out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelerate_core.api import AsyncAccelerator
from accelerate_core.assets import AssetStore
from accelerate_core.errors import ConfigError, ModelError
from accelerate_core.testing.models import expected_matmul, matmul_input, tiny_matmul
from accelerate_core.testing.waiting import until


@pytest.fixture
def onnx(tmp_path: Path) -> str:
    assets = AssetStore(tmp_path / "scratch")
    path = tmp_path / "tiny.onnx"
    path.write_bytes(assets.path(tiny_matmul(assets).assets[0].sha256).read_bytes())
    return f"file:{path}"


def edit(onnx: str) -> None:
    path = Path(onnx.removeprefix("file:"))
    path.write_bytes(path.read_bytes().replace(b"y", b"z"))


def accelerator(tmp_path: Path, **options: Any) -> AsyncAccelerator:
    return AsyncAccelerator(cache_dir=tmp_path / "cache", state_dir=tmp_path / "state", **options)


async def test_a_durable_request_is_answered_and_leaves_nothing(onnx: str, tmp_path: Path) -> None:
    inputs = matmul_input()
    async with accelerator(tmp_path) as one:
        model = await one.accelerate_model(onnx)
        answer = await model(inputs, durable=True)
        assert np.array_equal(answer["y"], expected_matmul(inputs)["y"])
        assert (tmp_path / "state/journals/0/log").stat().st_size > 1_000
        jobs = await one.durable_jobs()

        async def are_forgotten() -> bool:
            return await jobs.jobs() == {}

        await until(are_forgotten)
    async with accelerator(tmp_path, durable=True) as one:
        await (await one.accelerate_model(onnx))(inputs)
        with pytest.raises(ModelError):
            await (await one.accelerate_model(onnx))({"nonsense": inputs["x"]})


async def test_without_durable_no_journal_is_opened(onnx: str, tmp_path: Path) -> None:
    async with accelerator(tmp_path, durable=True) as one:
        await (await one.accelerate_model(onnx))(matmul_input(), durable=False)
    before = (tmp_path / "state/journals/0/log").stat().st_size
    shutil.rmtree(tmp_path / "state")
    async with accelerator(tmp_path) as one:
        await (await one.accelerate_model(onnx))(matmul_input())
    assert before == 16 and not (tmp_path / "state/journals").exists()


async def test_what_another_left_is_finished_although_its_cache_is_gone(
    onnx: str, tmp_path: Path
) -> None:
    inputs = matmul_input()
    async with accelerator(tmp_path, backends={"fake": {"latency_ms": 60_000}}) as one:
        model = await one.accelerate_model(onnx, platform="fake")
        jobs = await one.durable_jobs()
        await jobs.accept(one.work(model, inputs), inputs, job_id="left")
        await jobs.accept(one.work(model, inputs), inputs, job_id="also")
    shutil.rmtree(tmp_path / "cache")
    async with accelerator(tmp_path, durable=True) as one:
        jobs = await one.durable_jobs()
        assert set(await jobs.jobs()) == {"left", "also"}
        assert (await jobs.answer("left")).result.outputs["y"].shape == (2, 2)
        assert await jobs.acknowledge("left")
    async with accelerator(tmp_path, backends={"fake": {"latency_ms": 60_000}}) as one:
        model = await one.accelerate_model(onnx, platform="fake")
        jobs = await one.durable_jobs()
        await jobs.accept(one.work(model, inputs), inputs, job_id="other")
    shutil.rmtree(tmp_path / "cache")
    edit(onnx)
    async with accelerator(tmp_path) as one:
        jobs = await one.durable_jobs()
        with pytest.raises(ModelError, match="is another model than the one"):
            await jobs.answer("other")
        with pytest.raises(ConfigError, match="no job 'left'"):
            await jobs.answer("left")
