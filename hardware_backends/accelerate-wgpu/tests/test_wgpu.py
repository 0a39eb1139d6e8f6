# SPDX-License-Identifier: Apache-2.0
"""What the wgpu backend does beyond the contract of all backends."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pytest
from accelerate_plan.assemble import Assembled, assemble
from accelerate_plan.catalogue import load_catalogue
from accelerate_plan.choosing import guess
from accelerate_plan.devices import device_of
from accelerate_plan.plan import Pipeline, Plan
from accelerate_plan.program import ProgramBuilder
from accelerate_plan.storing import store_plan
from accelerate_wgpu import WgpuPlugin, WgpuSettings, adapters
from accelerate_wgpu.models import MOST_SIZES
from accelerate_wgpu.worker import WgpuWorker

from accelerate_core.errors import (
    BackendUnavailable,
    ConfigError,
    ModelError,
    PluginError,
    SessionLost,
    Unsupported,
    WorkerLost,
)
from accelerate_core.protocols import Context, Worker
from accelerate_core.settings import structure
from accelerate_core.testing import models
from accelerate_core.testing.pytest_plugin import make_context
from accelerate_core.types import LoadOptions, ModelSpec, Target, TensorRef

TARGET = Target("wgpu")
LARGE = (20_000, 256)
X = np.array([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0]], np.float32)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return make_context(tmp_path_factory.mktemp("accelerate"))


async def start(context: Context) -> WgpuWorker:
    worker = await WgpuPlugin().backend_create(None, context).start(TARGET, context)
    assert isinstance(worker, WgpuWorker)
    return worker


@pytest.fixture(scope="module")
def worker(context: Context) -> Iterator[WgpuWorker]:
    worker = asyncio.run(start(context))
    yield worker
    asyncio.run(worker.close())


def softmax_of(x: Any) -> Any:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def two_softmaxes(builder: ProgramBuilder) -> None:
    x = builder.input("x", "float32", X.shape)
    once = builder.tensor(X.shape)
    params = {"rows": X.shape[0], "columns": X.shape[1]}
    builder.step("softmax", {"x": x, "y": once}, params, label="first", flops=7)
    twice = builder.tensor(X.shape)
    builder.step("softmax", {"x": once, "y": twice}, params, label="second")
    builder.output("once", "float32", once)
    builder.output("twice", "float32", twice)


def weighted(builder: ProgramBuilder) -> None:
    """y = x w, w of 3 x 4."""
    weight = builder.constant(np.arange(12, dtype=np.float32).reshape(3, 4))
    x, y = builder.input("x", "float32", (2, 3)), builder.tensor((2, 4))
    params = {"m": 2, "n": 4, "k": 3, "has_bias": 0, "has_residual": 0}
    params |= {"activation": 0, "block": 4, "block_stride": 8}
    builder.step("linear", {"x": x, "w": weight, "y": y}, params)
    builder.output("y", "float32", y)


def large_softmax(builder: ProgramBuilder) -> None:
    x, y = builder.input("x", "float32", LARGE), builder.tensor(LARGE)
    builder.step("softmax", {"x": x, "y": y}, {"rows": LARGE[0], "columns": LARGE[1]})
    builder.output("y", "float32", y)


def passed_on(builder: ProgramBuilder) -> None:
    """Every dtype the caller may use, in and out."""
    for name, dtype in (("a", "int64"), ("b", "bool"), ("c", "float16"), ("d", "int32")):
        builder.output(f"{name} out", dtype, builder.input(name, dtype, (3,)))


def assembled(
    worker: Worker, context: Context, build: Callable[[ProgramBuilder], None], name: str = "made"
) -> Assembled:
    builder = ProgramBuilder(name)
    build(builder)
    catalogue = load_catalogue(context.plugins)
    return assemble(builder.finish(), catalogue, device_of(worker.info), guess)


def model(
    worker: Worker,
    context: Context,
    build: Callable[[ProgramBuilder], None],
    change: Callable[[Plan], Plan] = lambda plan: plan,
    name: str = "made",
) -> ModelSpec:
    made = assembled(worker, context, build, name)
    made = attrs.evolve(made, plan=change(made.plan))
    return store_plan(made, context.assets, source="test")


# --- what it is -----------------------------------------------------------------------------------


async def test_info_speaks_webgpus_language(worker: Worker) -> None:
    info = worker.info
    assert info.engine_version and info.engine_version.startswith("wgpu 0.")
    assert info.adapter and info.adapter.device
    assert set(info.features) <= {"shader-f16", "subgroups", "timestamp-query"}
    for name in ("maxStorageBufferBindingSize", "maxBufferSize", "maxTextureDimension1D"):
        assert info.limits[name] > 0
    assert info.limits["maxComputeInvocationsPerWorkgroup"] >= 256
    # lavapipe is what machines without a GPU have
    assert info.is_software is ("llvmpipe" in info.adapter.device)
    assert info.device_type == ("cpu" if info.is_software else "gpu")
    assert info.details["api"] in ("Vulkan", "Metal", "D3D12")


async def test_all_of_the_adapter_is_asked_for(worker: WgpuWorker) -> None:
    adapter = worker._gpu.device.adapter
    theirs = {theirs for theirs in adapters.FEATURES if theirs in adapter.features}
    assert {adapters.FEATURES[one] for one in theirs} == set(worker.info.features)
    assert worker.info.limits["maxBufferSize"] == adapter.limits["max-buffer-size"]


def test_nothing_is_printed() -> None:
    """Mesa complains of a display that a server does not have, unless it is told not to ask."""
    code = (
        "from accelerate_wgpu.adapters import installed; from accelerate_wgpu.gpu import Gpu;"
        "Gpu(installed()[0]).close(); print(len(installed()))"
    )
    environment = {key: one for key, one in os.environ.items() if key != "XDG_RUNTIME_DIR"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"") and int(done.stdout) >= 1


def test_module_imports_no_wgpu_and_no_numpy() -> None:
    code = "import sys, accelerate_wgpu; assert not {'wgpu', 'numpy', 'psutil'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- which adapter --------------------------------------------------------------------------------


def adapter(device: str, kind: str, api: str = "Vulkan") -> Any:
    return SimpleNamespace(info={"device": device, "adapter_type": kind, "backend_type": api})


ADAPTERS = [
    adapter("llvmpipe", "CPU"),
    adapter("Arc 380", "IntegratedGPU"),
    adapter("RTX 9", "DiscreteGPU"),
    adapter("RTX 9", "DiscreteGPU", "D3D12"),
]


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        (WgpuSettings(), 2),
        (WgpuSettings(power="low-power"), 1),
        (WgpuSettings(adapter="LLVM"), 0),
        (WgpuSettings(adapter="rtx", api="d3d12"), 3),
    ],
)
def test_settings_choose_the_adapter(settings: WgpuSettings, chosen: int) -> None:
    assert adapters.choose(ADAPTERS, settings) is ADAPTERS[chosen]


def test_adapter_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(BackendUnavailable) as caught:
        adapters.choose(ADAPTERS, WgpuSettings(adapter="Radeon"))
    assert caught.value.info.accepted[:2] == ("llvmpipe (vulkan)", "Arc 380 (vulkan)")


@pytest.mark.parametrize("table", [{"power": "most"}, {"api": "opengl"}, {"adaptor": "x"}])
def test_wrong_settings_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        structure(table, WgpuSettings, where="test")


async def test_no_adapter_is_said_with_what_to_install(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "installed", lambda: ())
    backend = WgpuPlugin().backend_create(None, context)
    (found,) = await backend.discover()
    assert not found.is_available and "mesa-vulkan-drivers" in (found.remedy or "")
    with pytest.raises(BackendUnavailable, match="mesa-vulkan-drivers"):
        await backend.start(TARGET, context)


async def test_missing_wgpu_is_named_with_the_command_that_gets_it(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wgpu", None)
    monkeypatch.setattr(adapters, "installed", adapters.installed.__wrapped__)
    backend = WgpuPlugin().backend_create(None, context)
    (found,) = await backend.discover()
    assert not found.is_available and found.remedy == "pip install wgpu"


# --- running plans --------------------------------------------------------------------------------


async def test_a_plan_runs_again_and_again(worker: Worker, context: Context) -> None:
    handle = await worker.load(model(worker, context, two_softmaxes))
    assert handle.details["dispatches"] == 2 and handle.details["pipelines"] == 1
    for shift in (0.0, 1.0, -2.0):
        x = X * (1 + shift)
        result = await worker.run(handle, {"x": x})
        np.testing.assert_allclose(result.outputs["once"], softmax_of(x), rtol=1e-5)
        np.testing.assert_allclose(result.outputs["twice"], softmax_of(softmax_of(x)), rtol=1e-5)
        assert result.profile == () and result.phases.in_page_ms


async def test_dtypes_come_back_as_they_went(worker: Worker, context: Context) -> None:
    handle = await worker.load(model(worker, context, passed_on))
    inputs = {
        "a": np.array([-(2**31), 0, 2**31 - 1]),
        "b": np.array([True, False, True]),
        "c": np.array([0.5, -1.0, 65504.0], np.float16),
        "d": np.array([1, 2, 3], np.int32),
    }
    outputs = (await worker.run(handle, inputs)).outputs
    for name, value in inputs.items():
        assert outputs[f"{name} out"].dtype == value.dtype
        np.testing.assert_array_equal(outputs[f"{name} out"], value)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
async def test_integers_beyond_32_bits_are_refused(
    worker: Worker, context: Context, value: int
) -> None:
    handle = await worker.load(model(worker, context, passed_on))
    inputs = {"a": np.array([0, value, 0]), "b": np.zeros(3, bool)}
    inputs |= {"c": np.zeros(3, np.float16), "d": np.zeros(3, np.int32)}
    with pytest.raises(ModelError, match="32 bits"):
        await worker.run(handle, inputs)


async def test_timestamps_are_of_every_dispatch(worker: Worker, context: Context) -> None:
    if "timestamp-query" not in worker.info.features:
        pytest.skip("the adapter has no timestamp-query")
    handle = await worker.load(model(worker, context, two_softmaxes), LoadOptions(profile=True))
    result = await worker.run(handle, {"x": X})
    np.testing.assert_allclose(result.outputs["once"], softmax_of(X), rtol=1e-5)
    assert [one.label for one in result.profile] == ["first", "second"]
    assert {one.kernel for one in result.profile} == {"softmax/rows"}
    assert [one.flops for one in result.profile] == [7, 0]
    assert all(0 < one.ms < result.phases.in_page_ms for one in result.profile)


async def test_onnx_is_compiled_for_each_size_it_is_run_with(
    worker: WgpuWorker, context: Context
) -> None:
    handle = await worker.load(models.tiny_mlp(context.assets))
    for batch in range(1, MOST_SIZES + 3):
        inputs = models.mlp_input(batch)
        outputs = (await worker.run(handle, inputs)).outputs
        np.testing.assert_allclose(outputs["out"], models.expected_mlp(inputs)["out"], rtol=1e-5)
    assert len(worker._loaded[handle.id]._replays) == MOST_SIZES
    # Two layers, one file, one buffer.
    assert len(worker._gpu._weights) == 1, "all sizes share the weights"
    await worker.unload(handle)


async def test_weights_are_on_the_device_once_and_go_with_the_last_plan(
    worker: WgpuWorker, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    tell = loop.call_soon_threadsafe

    def tell_and_dawdle(*args: Any, **options: Any) -> asyncio.Handle:
        handle = tell(*args, **options)
        time.sleep(0.05)  # the worker's thread has said that it is done, and is not yet
        return handle

    monkeypatch.setattr(loop, "call_soon_threadsafe", tell_and_dawdle)
    gc.collect()
    assert len(worker._gpu._weights) == 0
    first = await worker.load(model(worker, context, weighted, name="first"))
    second = await worker.load(model(worker, context, weighted, name="second"))
    assert first.spec.assets[0] != second.spec.assets[0]
    assert len(worker._gpu._weights) == 1
    weight = np.arange(12, dtype=np.float32).reshape(3, 4)
    await worker.unload(first)
    np.testing.assert_allclose((await worker.run(second, {"x": X})).outputs["y"], X @ weight)
    await worker.unload(second)
    assert len(worker._gpu._weights) == 0, "at once, not when garbage is collected"


# --- kept tensors ---------------------------------------------------------------------------------


async def test_kept_outputs_stay_until_released(worker: Worker, context: Context) -> None:
    handle = await worker.load(model(worker, context, two_softmaxes))
    result = await worker.run(handle, {"x": X}, keep=["once"])
    ref = result.outputs["once"]
    assert isinstance(ref, TensorRef) and isinstance(result.outputs["twice"], np.ndarray)
    assert (ref.spec.name, ref.spec.dtype, ref.spec.shape) == ("once", "float32", X.shape)
    fed = await worker.run(handle, {"x": ref})
    np.testing.assert_allclose(fed.outputs["once"], softmax_of(softmax_of(X)), rtol=1e-5)
    # What ran since has not touched it.
    np.testing.assert_allclose(await worker.fetch(ref), softmax_of(X), rtol=1e-5)
    await worker.unload(handle)
    np.testing.assert_allclose(await worker.fetch(ref), softmax_of(X), rtol=1e-5)
    await worker.release(ref)
    for gone in (worker.fetch(ref), worker.release(ref)):
        with pytest.raises(ModelError, match="not on this worker"):
            await gone


async def test_what_cannot_be_kept_or_fed_is_refused(worker: Worker, context: Context) -> None:
    handle = await worker.load(model(worker, context, two_softmaxes))
    with pytest.raises(ModelError) as caught:
        await worker.run(handle, {"x": X}, keep=["one"])
    assert caught.value.info.accepted == ("once", "twice")
    elsewhere = TensorRef("page-1", 0, "7", handle.spec.inputs[0])
    with pytest.raises(ModelError, match="not on this worker"):
        await worker.run(handle, {"x": elsewhere})
    with pytest.raises(SessionLost):
        await worker.run(handle, {"x": X}, session="s")


# --- what is refused ------------------------------------------------------------------------------


def with_source(plan: Plan, source: str) -> Plan:
    (one,) = plan.pipelines
    return attrs.evolve(plan, pipelines=(attrs.evolve(one, source=source),))


async def test_a_shader_that_does_not_compile_is_named(worker: Worker, context: Context) -> None:
    def spoil(plan: Plan) -> Plan:
        return with_source(plan, plan.pipelines[0].source.replace("exp(", "exponential("))

    with pytest.raises(PluginError, match="softmax/rows") as caught:
        await worker.load(model(worker, context, two_softmaxes, spoil))
    assert "exponential" in caught.value.info.message
    await worker.load(model(worker, context, two_softmaxes))  # it is none the worse for it


async def test_a_plan_that_breaks_webgpus_rules_is_refused(
    worker: Worker, context: Context
) -> None:
    def spoil(plan: Plan) -> Plan:
        first, *others = plan.dispatches
        x, y = first.bindings
        return attrs.evolve(
            plan, dispatches=(attrs.evolve(first, bindings=(x, attrs.evolve(y, offset=4))), *others)
        )

    with pytest.raises(PluginError, match="rule of WebGPU"):
        await worker.load(model(worker, context, two_softmaxes, spoil))


async def test_a_plan_for_another_device_is_refused(worker: Worker, context: Context) -> None:
    def spoil(plan: Plan) -> Plan:
        lacking: Pipeline = attrs.evolve(plan.pipelines[0], features=("subgroup-matrix",))
        return attrs.evolve(plan, pipelines=(lacking,))

    with pytest.raises(Unsupported, match="subgroup-matrix"):
        await worker.load(model(worker, context, two_softmaxes, spoil))


async def test_plans_that_do_not_fit_their_model_are_refused(
    worker: Worker, context: Context
) -> None:
    spec = model(worker, context, weighted)
    other = model(worker, context, two_softmaxes)
    with pytest.raises(ModelError, match="other inputs or outputs"):
        await worker.load(attrs.evolve(spec, assets=other.assets))
    wrong = context.assets.put_bytes(b"\0" * 1024, "weights")
    for assets in (spec.assets[:1], (spec.assets[0], wrong)):
        with pytest.raises(ModelError, match="weights"):
            await worker.load(attrs.evolve(spec, assets=assets))
    with pytest.raises(ModelError, match="no plan"):
        await worker.load(attrs.evolve(spec, assets=(wrong,)))
    with pytest.raises(Unsupported, match="litert"):
        await worker.load(attrs.evolve(spec, format="litert"))


async def test_weights_that_are_cut_off_are_refused(worker: Worker, context: Context) -> None:
    spec = model(worker, context, weighted, name="cut")
    path = context.assets.path(spec.assets[1].sha256)
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:100])
        with pytest.raises(ModelError, match="cut off"):
            await worker.load(spec)
    finally:
        path.write_bytes(whole)


# --- life -----------------------------------------------------------------------------------------


async def test_a_lost_device_is_a_lost_worker(context: Context) -> None:
    worker = await start(context)
    handle = await worker.load(model(worker, context, two_softmaxes))
    worker._gpu.device.destroy()
    with pytest.raises(WorkerLost):
        await worker.run(handle, {"x": X})
    await worker.close()


async def test_closing_waits_for_what_runs(context: Context) -> None:
    worker = await start(context)
    handle = await worker.load(model(worker, context, large_softmax))
    run = asyncio.create_task(worker.run(handle, {"x": np.zeros(LARGE, np.float32)}))
    await asyncio.sleep(0.005)
    await worker.close()
    assert (await run).outputs["y"].shape == LARGE
    with pytest.raises(WorkerLost, match="closed"):
        await worker.run(handle, {"x": X})


async def test_a_cancelled_run_leaves_the_next_one(worker: Worker, context: Context) -> None:
    handle = await worker.load(model(worker, context, large_softmax))
    x = np.zeros(LARGE, np.float32)
    running = [asyncio.create_task(worker.run(handle, {"x": x + one})) for one in range(3)]
    await asyncio.sleep(0.005)
    running[0].cancel()  # runs
    running[1].cancel()  # waits
    done = await asyncio.gather(*running, return_exceptions=True)
    assert [type(one) for one in done[:2]] == [asyncio.CancelledError] * 2
    np.testing.assert_allclose(done[2].outputs["y"], 1 / LARGE[1])


async def test_the_event_loop_turns_while_a_plan_runs(worker: Worker, context: Context) -> None:
    handle = await worker.load(model(worker, context, large_softmax))
    run = asyncio.create_task(worker.run(handle, {"x": np.zeros(LARGE, np.float32)}))
    turns = 0
    while not run.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns >= 10
