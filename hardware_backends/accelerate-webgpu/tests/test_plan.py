# SPDX-License-Identifier: Apache-2.0
"""The engines `plan` and `auto` beyond their contract: one page that replays plans, then both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from accelerate_browser.bridge import Bridge

from accelerate_core.errors import ModelError, Unsupported
from accelerate_core.protocols import Context, Worker
from accelerate_core.testing import models
from accelerate_core.testing.pytest_plugin import make_context
from accelerate_core.types import LoadOptions, ModelSpec, Target, TensorSpec, WorkerEventKind

Run = Callable[[Coroutine[Any, Any, Any]], Any]

#: Sizes of one model that stay loaded in the page.
KEPT = 2
JAVASCRIPT_BYTES = 200_000


@attrs.frozen
class Page:
    """A page with the engine `auto`, and the files it was served."""

    worker: Worker
    context: Context
    served: list[Path]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(scope="module")
def page(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    context = make_context(tmp_path_factory.mktemp("accelerate"))
    settings = {"engine": "auto", "engine_settings": {"keep_sizes": KEPT}}
    backend = context.plugins.create("backends", "webgpu", settings)
    served: list[Path] = []
    with pytest.MonkeyPatch.context() as patch:
        original = Bridge._file

        def file(self: Bridge, path: Path, caching: str) -> Any:
            served.append(path)
            return original(self, path, caching)

        patch.setattr(Bridge, "_file", file)
        worker = run(backend.start(Target.parse("webgpu:chromium"), context))
        yield Page(worker, context, served)
        run(worker.close())
        run(backend.close())


def softmax_plan(context: Context, worker: Worker, rows: int) -> ModelSpec:
    """Return a plan of one step: softmax over 5 columns."""
    from accelerate_plan.assemble import assemble
    from accelerate_plan.catalogue import load_catalogue
    from accelerate_plan.choosing import guess
    from accelerate_plan.devices import device_of
    from accelerate_plan.program import ProgramBuilder
    from accelerate_plan.storing import store_plan

    builder = ProgramBuilder("softmax")
    x = builder.input("x", "float32", (rows, 5))
    y = builder.tensor((rows, 5))
    sizes = {"rows": rows, "columns": 5}
    builder.step("softmax", {"x": x, "y": y}, sizes, label="head", flops=100)
    builder.output("y", "float32", y)
    catalogue = load_catalogue(context.plugins)
    made = assemble(builder.finish(), catalogue, device_of(worker.info), guess)
    return store_plan(made, context.assets, source="test")


def uncovered(context: Context) -> ModelSpec:
    """Return `y = hardmax(x @ [[1, 2], [3, 4]])`; no kernel does Hardmax."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Hardmax", ["h"], ["y"], axis=-1),
        ],
        "uncovered",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1, 2, 3, 4])],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, ir_version=8, opset_imports=[opset])
    asset = context.assets.put_bytes(model.SerializeToString(), "uncovered.onnx")
    return ModelSpec(
        name="uncovered",
        source="test",
        sha256=asset.sha256,
        assets=(asset,),
        inputs=(TensorSpec("x", "float32", ("batch", 2)),),
        outputs=(TensorSpec("y", "float32", ("batch", 2)),),
    )


# One page for all of these; they run in this order, and the first wants it fresh.
pytestmark = pytest.mark.browser("chromium")


def test_a_plan_needs_little_javascript_and_no_wasm(run: Run, page: Page) -> None:
    handle = run(page.worker.load(models.tiny_mlp(page.context.assets), _batch(2)))
    assert handle.details["engine"] == "plan"
    scripts = {path for path in page.served if path.suffix in (".js", ".mjs", ".wasm")}
    assert {path.name for path in scripts} == {"main.js", "compute.js", "auto.js"}
    assert sum(path.stat().st_size for path in scripts) <= JAVASCRIPT_BYTES
    run(page.worker.unload(handle))


def test_details_name_the_plan(run: Run, page: Page) -> None:
    spec = softmax_plan(page.context, page.worker, 3)
    handle = run(page.worker.load(spec))
    found = handle.details
    assert found["plan"] == spec.assets[0].sha256
    assert (found["dispatches"], found["pipelines"], found["weights_bytes"]) == (1, 1, 0)
    assert found["arena_bytes"] >= 2 * 3 * 5 * 4
    run(page.worker.unload(handle))


def test_a_second_size_compiles_no_pipeline(run: Run, page: Page) -> None:
    spec = models.tiny_mlp(page.context.assets)
    first, second = (run(page.worker.load(spec, _batch(size))) for size in (5, 7))
    assert first.details["pipelines"] > 0
    assert second.details["pipelines_compiled"] == 0
    assert second.details["plan"] != first.details["plan"]
    for handle in (first, second):
        run(page.worker.unload(handle))


def test_other_sizes_are_compiled_when_they_come_and_a_few_are_kept(run: Run, page: Page) -> None:
    # Without sizes it waits for those of the first inputs.
    handle = run(page.worker.load(models.tiny_mlp(page.context.assets)))
    assert handle.details == {}
    compiled = []
    for size in (2, 3, 2, 4, 3, 2):
        inputs = models.mlp_input(size)
        result = run(page.worker.run(handle, inputs))
        for name, expected in models.expected_mlp(inputs).items():
            np.testing.assert_allclose(result.outputs[name], expected, rtol=1e-5)
        compiled.append(result.phases.compile_ms is not None)
    # 4 takes the place of 3, which then takes that of 2.
    assert compiled == [True, True, False, True, True, True]
    run(page.worker.unload(handle))
    with pytest.raises(ModelError, match="not loaded"):
        run(page.worker.run(handle, models.mlp_input(2)))


def test_sizes_that_come_at_once_are_compiled_once(run: Run, page: Page) -> None:
    handle = run(page.worker.load(models.tiny_mlp(page.context.assets)))

    async def at_once() -> list[Any]:
        sizes = (2, 3, 2, 3, 2, 3)
        return await asyncio.gather(
            *(page.worker.run(handle, models.mlp_input(size)) for size in sizes)
        )

    results = run(at_once())
    assert sum(one.phases.compile_ms is not None for one in results) == KEPT
    run(page.worker.unload(handle))


def test_a_profile_times_each_dispatch(run: Run, page: Page) -> None:
    spec = softmax_plan(page.context, page.worker, 300)
    x = np.ones((300, 5), np.float32)
    for is_profiled in (False, True):
        handle = run(page.worker.load(spec, LoadOptions(profile=is_profiled)))
        result = run(page.worker.run(handle, {"x": x}))
        np.testing.assert_allclose(result.outputs["y"], x / 5, rtol=1e-6)
        if is_profiled:
            (one,) = result.profile
            assert (one.label, one.kernel, one.flops) == ("head", "softmax/rows", 100)
            assert 0 < one.ms < 1000
        else:
            assert result.profile == ()
        run(page.worker.unload(handle))


def test_what_is_no_plan_for_this_page_is_refused(run: Run, page: Page) -> None:
    from accelerate_plan.plan import read_plan, write_plan

    assets = page.context.assets
    spec = softmax_plan(page.context, page.worker, 3)
    plan = read_plan(assets.path(spec.assets[0].sha256).read_bytes())
    (pipeline,) = plan.pipelines
    elsewhere = attrs.evolve(plan, pipelines=(attrs.evolve(pipeline, features=("no-such",)),))
    broken = attrs.evolve(plan, pipelines=(attrs.evolve(pipeline, source="fn main( {"),))
    for file, kind, match in (
        (b"no plan at all", ModelError, "this is no plan"),
        (b"ACPLAN99" + bytes(60), ModelError, "format is ACPLAN99"),
        (write_plan(elsewhere), Unsupported, "another adapter: it needs the feature no-such"),
        (write_plan(broken), Exception, "kernel softmax/rows does not compile"),
        (write_plan(attrs.evolve(plan, weights_bytes=256)), ModelError, "weights are not those"),
    ):
        with pytest.raises(kind, match=match):
            run(page.worker.load(attrs.evolve(spec, assets=(assets.put_bytes(file, "x.plan"),))))


def test_what_no_kernel_does_runs_on_onnxruntime_and_says_so(
    run: Run, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    spec = uncovered(page.context)
    handle = run(page.worker.load(spec, _batch(2)))
    assert handle.details["engine"] == "ort"
    assert "Hardmax" in handle.details["not_plan_because"]
    assert "onnxruntime-web" in handle.details["engine_version"]
    assert "uncovered runs on onnxruntime-web" in caplog.text
    assert any(path.suffix == ".wasm" for path in page.served)
    # One session for all sizes: nothing is prepared again.
    for size in (2, 3):
        result = run(page.worker.run(handle, models.matmul_input(size)))
        np.testing.assert_array_equal(result.outputs["y"], [[0, 1]] * size)
        assert result.phases.compile_ms is None
    # What one engine keeps the other takes.
    plan = run(page.worker.load(models.tiny_matmul(page.context.assets), _batch(2)))
    for first, second in ((plan, handle), (handle, plan)):
        kept = run(page.worker.run(first, models.matmul_input(2), keep=["y"])).outputs["y"]
        fed = run(page.worker.run(second, {"x": kept})).outputs["y"]
        plain = run(page.worker.run(second, {"x": run(page.worker.fetch(kept))})).outputs["y"]
        np.testing.assert_array_equal(fed, plain)
        run(page.worker.release(kept))


async def test_plan_alone_refuses_what_no_kernel_does(context: Context) -> None:
    from accelerate_webgpu.plan import compile_plan

    from accelerate_core.types import WorkerInfo

    info = WorkerInfo(target=Target("webgpu", "plan", "chromium"))
    with pytest.raises(Unsupported, match="Hardmax") as caught:
        compile_plan(uncovered(context), {"batch": 2}, info, context)
    assert "auto" in (caught.value.info.hint or "")


def test_progress_says_what_is_prepared(run: Run, page: Page) -> None:
    async def listen() -> str:
        async for event in page.worker.events():
            if event.kind is WorkerEventKind.PROGRESS and event.message.startswith("preparing"):
                return event.message
        return ""

    assert run(asyncio.wait_for(listen(), 5)) == "preparing tiny_mlp for batch 2"


def _batch(size: int) -> LoadOptions:
    return LoadOptions(dimensions={"batch": size})
