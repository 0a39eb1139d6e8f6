# SPDX-License-Identifier: Apache-2.0
"""What the cpu backend does beyond the contract of all backends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from importlib import metadata
from pathlib import Path

import attrs
import numpy as np
import pytest
from accelerate_cpu import CpuPlugin, CpuSettings, machine

from accelerate_core.errors import (
    BackendUnavailable,
    ConfigError,
    ModelError,
    Unsupported,
    WorkerLost,
)
from accelerate_core.protocols import Context, Worker
from accelerate_core.settings import structure
from accelerate_core.testing import models
from accelerate_core.types import LoadOptions, Target, TensorRef, TensorSpec


@pytest.fixture
async def worker(context: Context) -> AsyncIterator[Worker]:
    worker = (
        await CpuPlugin()
        .backend_create(CpuSettings(threads=1), context)
        .start(Target("cpu"), context)
    )
    yield worker
    await worker.close()


async def test_info_says_what_really_runs(worker: Worker) -> None:
    info = worker.info
    assert info.engine_version and info.engine_version.startswith("onnxruntime ")
    assert (info.device_type, info.is_software, info.is_simulated) == ("cpu", False, False)
    assert info.threads == 1
    assert info.adapter and info.adapter.device == machine.processor_name()


async def test_unset_threads_are_the_physical_cores_and_several_workers_share_them(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = await CpuPlugin().backend_create(None, context).start(Target("cpu"), context)
    assert alone.info.threads == machine.usable_cores() >= 1
    await alone.close()
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    backend = CpuPlugin().backend_create(None, context)
    workers = [await backend.start(Target("cpu"), context) for _ in range(10)]
    assert [worker.info.threads for worker in workers] == [8, 4, 2, 2, 1, 1, 1, 1, 1, 1]
    model = await workers[1].load(models.tiny_mlp(context.assets))
    assert model.details["threads"] == 4
    for worker in workers:
        await worker.close()
    last = await backend.start(Target("cpu"), context)
    assert last.info.threads == 8
    await last.close()


async def test_set_threads_are_not_shared(context: Context) -> None:
    backend = CpuPlugin().backend_create(CpuSettings(threads=3), context)
    workers = [await backend.start(Target("cpu"), context) for _ in range(2)]
    assert [worker.info.threads for worker in workers] == [3, 3]
    for worker in workers:
        await worker.close()


async def test_phases_are_measured(worker: Worker, context: Context) -> None:
    spec = models.tiny_mlp(context.assets)
    plain = await worker.load(spec)
    warmed = await worker.load(spec, LoadOptions(dimensions={"batch": 3}, precompile=True))
    assert plain.phases.compile_ms and plain.phases.first_run_ms is None
    assert warmed.phases.compile_ms and warmed.phases.first_run_ms
    result = await worker.run(warmed, models.mlp_input())
    assert result.phases.in_page_ms


async def test_event_loop_turns_during_a_run(worker: Worker, context: Context) -> None:
    model = await worker.load(models.slow_chain(context.assets))
    run = asyncio.create_task(worker.run(model, models.slow_input(512)))
    turns = 0
    while not run.done():
        await asyncio.sleep(0.002)
        turns += 1
    assert turns >= 10


async def test_external_data_leaves_no_folder_and_no_copy(
    worker: Worker, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_copies(*_: object) -> None:
        raise AssertionError("copied a file that could be linked")

    monkeypatch.setattr("shutil.copyfile", no_copies)
    await worker.load(models.tiny_external(context.assets))
    assert [*context.cache_dir.glob("cpu-*")] == []


async def test_external_data_is_copied_where_links_are_refused(
    worker: Worker, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no hard links on this file system")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    model = await worker.load(models.tiny_external(context.assets))
    inputs = models.matmul_input()
    result = await worker.run(model, inputs)
    np.testing.assert_array_equal(result.outputs["y"], models.expected_matmul(inputs)["y"])


@pytest.mark.parametrize("name", ["../weights.data", "/weights.data"])
async def test_external_data_outside_the_folder_is_refused(
    worker: Worker, context: Context, name: str
) -> None:
    spec = models.tiny_external(context.assets)
    graph, data = spec.assets
    outside = attrs.evolve(spec, assets=(graph, attrs.evolve(data, name=name)))
    with pytest.raises(ModelError, match="leaves the model's folder"):
        await worker.load(outside)
    assert [*context.cache_dir.glob("cpu-*")] == []


async def test_reason_is_onnx_runtimes_own(worker: Worker, context: Context) -> None:
    with pytest.raises(ModelError, match="NoSuchOperator") as caught:
        await worker.load(models.unknown_operator(context.assets))
    assert str(context.assets.root) not in str(caught.value)


async def test_asset_that_is_gone_is_named(worker: Worker, context: Context) -> None:
    spec = models.tiny_matmul(context.assets)
    context.assets.path(spec.assets[0].sha256).unlink()
    with pytest.raises(ModelError, match="not in the cache"):
        await worker.load(spec)


async def test_wrong_declaration_of_outputs_is_a_model_error(
    worker: Worker, context: Context
) -> None:
    spec = models.tiny_matmul(context.assets)
    model = await worker.load(attrs.evolve(spec, outputs=(TensorSpec("z", "float32", (2,)),)))
    with pytest.raises(ModelError, match="z"):
        await worker.run(model, models.matmul_input())


async def test_other_formats_and_kept_tensors_are_unsupported(
    worker: Worker, context: Context
) -> None:
    spec = models.tiny_matmul(context.assets)
    with pytest.raises(Unsupported, match="litert"):
        await worker.load(attrs.evolve(spec, format="litert"))
    model = await worker.load(spec)
    with pytest.raises(Unsupported):
        await worker.run(model, models.matmul_input(), keep=["y"])
    ref = TensorRef("w", 1, "t", spec.inputs[0])
    with pytest.raises(Unsupported):
        await worker.run(model, {"x": ref})


async def test_close_stops_a_run(worker: Worker, context: Context) -> None:
    model = await worker.load(models.slow_chain(context.assets))
    run = asyncio.create_task(worker.run(model, models.slow_input(1024)))
    await asyncio.sleep(0.1)
    assert not run.done()
    await asyncio.wait_for(worker.close(), 2)
    with pytest.raises(WorkerLost, match="closed"):
        await run


async def test_cancelling_a_waiting_run_leaves_the_running_one(
    worker: Worker, context: Context
) -> None:
    slow = await worker.load(models.slow_chain(context.assets))
    first = asyncio.create_task(worker.run(slow, models.slow_input(512)))
    second = asyncio.create_task(worker.run(slow, models.slow_input(512)))
    await asyncio.sleep(0.05)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert (await first).outputs["y"].shape == (512, 512)


async def test_memory_grows_with_what_is_held(worker: Worker) -> None:
    before = await worker.memory()
    held = np.ones(128 << 20, dtype=np.uint8)
    after = await worker.memory()
    if sys.platform != "linux":
        assert before is None and after is None
        return
    # Pages that processes share count less for each while others run.
    assert before and after and after - before > held.nbytes / 2


@pytest.mark.parametrize("table", [{"threads": 0}, {"optimization": "most"}, {"thread": 1}])
def test_wrong_settings_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        structure(table, CpuSettings, where="test")


def test_module_imports_no_onnxruntime_and_no_numpy() -> None:
    code = (
        "import sys, accelerate_cpu; assert not {'onnxruntime', 'numpy', 'psutil'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_missing_onnxruntime_is_named_with_the_command_that_gets_it(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    backend = CpuPlugin().backend_create(None, context)
    (found,) = await backend.discover()
    assert not found.is_available and found.remedy == "pip install onnxruntime"
    with pytest.raises(BackendUnavailable, match="pip install onnxruntime"):
        await backend.start(Target("cpu"), context)
