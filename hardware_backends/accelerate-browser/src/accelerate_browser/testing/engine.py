# SPDX-License-Identifier: Apache-2.0
"""The contract of engines: what runs in a page keeps the contract of backends, and more."""

from __future__ import annotations

import asyncio
import functools
import json
from typing import Any, ClassVar

import numpy as np
import pytest

from accelerate_core.errors import ModelError
from accelerate_core.protocols import Context, Worker
from accelerate_core.testing import models
from accelerate_core.testing.backend import BackendContract
from accelerate_core.testing.sessions import SessionContract
from accelerate_core.types import LoadOptions, ModelHandle, Target, TensorRef

from ..hookspecs import ENGINES
from ..hookspecs.engine import EngineModule
from ..hub import create
from ..messages import Run, TensorHeader
from ..worker import BrowserWorker

_BATCH = 2
_OPTIONS = LoadOptions(dimensions={"batch": _BATCH})


class EngineContract(BackendContract, SessionContract):
    """What every engine keeps, proved in a real browser. Supply target, engine and `backend`:

    class TestMyEngine(EngineContract):
        target = "webgpu:chromium"
        engine = "mine"  # when it is not what the backend takes by default

        @pytest.fixture(scope="class")
        @classmethod
        def backend(cls, context):
            return WebGpuPlugin().backend_create(BrowserSettings(engine="mine"), context)
    """

    engine: ClassVar[str] = "ort"

    @pytest.fixture(scope="class")
    @classmethod
    def module(cls, asked: Target, context: Context) -> EngineModule:
        """Return the engine's module."""
        name = f"{cls.engine}-{asked.backend}"
        module: EngineModule = create(context, ENGINES, name, {}, "test")
        return module

    def test_module_is_built_flat_and_plain(self, asked: Target, module: EngineModule) -> None:
        assert module.name == f"{self.engine}-{asked.backend}"
        assert (module.folder / module.entry).is_file(), "build the page first"
        assert json.loads(json.dumps(dict(module.options))) == module.options

    def test_ready_says_what_computes(self, worker: Worker, module: EngineModule) -> None:
        info = worker.info
        assert info.target.engine == self.engine
        assert info.device_type in ("cpu", "gpu", "npu", None)
        assert info.details["cross_origin_isolated"], "threads and precise clocks need isolation"
        if module.needs_gpu:
            assert info.adapter is not None
            assert info.limits["maxStorageBufferBindingSize"] > 0

    def test_precompile_runs_once_at_load(self, run: Any, worker: Worker, context: Context) -> None:
        options = LoadOptions(dimensions={"batch": _BATCH}, precompile=True)
        handle = run(worker.load(models.tiny_mlp(context.assets), options))
        assert handle.phases.first_run_ms is not None and handle.phases.first_run_ms >= 0
        assert handle.phases.fetch_ms is not None
        run(worker.unload(handle))

    def test_second_load_comes_from_the_pages_own_storage(
        self, run: Any, worker: Worker, matmul: ModelHandle, context: Context
    ) -> None:
        assert matmul.is_cached is False
        again = run(worker.load(models.tiny_matmul(context.assets), _OPTIONS))
        assert again.is_cached is True
        run(worker.unload(again))

    def test_kept_outputs_stay_until_released(
        self, run: Any, worker: Worker, context: Context
    ) -> None:
        handle = run(worker.load(models.tiny_mlp(context.assets), _OPTIONS))
        inputs = models.mlp_input(_BATCH)
        expected = models.expected_mlp(inputs)
        result = run(worker.run(handle, inputs, keep=["hidden"]))
        ref = result.outputs["hidden"]
        assert isinstance(ref, TensorRef) and isinstance(result.outputs["out"], np.ndarray)
        assert (ref.spec.name, ref.spec.dtype, ref.spec.shape) == ("hidden", "float32", (2, 16))
        for _ in range(2):
            self._compare({"hidden": run(worker.fetch(ref))}, {"hidden": expected["hidden"]})
        run(worker.release(ref))
        with pytest.raises(ModelError):
            run(worker.fetch(ref))
        with pytest.raises(ModelError):
            run(worker.run(handle, inputs, keep=["no-such-output"]))
        run(worker.unload(handle))

    def test_a_kept_output_feeds_the_next_run(
        self, run: Any, worker: Worker, matmul: ModelHandle
    ) -> None:
        inputs = models.matmul_input(_BATCH)
        once = models.expected_matmul(inputs)
        first = run(worker.run(matmul, inputs, keep=["y"]))
        second = run(worker.run(matmul, {"x": first.outputs["y"]}))
        self._compare(second.outputs, models.expected_matmul({"x": once["y"]}))
        run(worker.release(first.outputs["y"]))

    def test_a_replaced_thread_has_its_models_and_no_kept_tensors(
        self, run: Any, worker: Worker, matmul: ModelHandle, context: Context
    ) -> None:
        inputs = models.matmul_input(_BATCH)
        kept = run(worker.run(matmul, inputs, keep=["y"])).outputs["y"]
        assert isinstance(worker, BrowserWorker)
        run(_replace_thread(worker, context))
        with pytest.raises(ModelError):
            run(worker.fetch(kept))
        run(worker.release(kept))
        self._compare(run(worker.run(matmul, inputs)).outputs, models.expected_matmul(inputs))

    def test_large_tensors_cross_in_streams(
        self, run: Any, worker: Worker, context: Context
    ) -> None:
        batch = 200_000  # 1.6 MB each way
        options = LoadOptions(dimensions={"batch": batch})
        handle = run(worker.load(models.tiny_matmul(context.assets), options))
        inputs = models.matmul_input(batch)
        inputs["x"] %= 512
        self._compare(run(worker.run(handle, inputs)).outputs, models.expected_matmul(inputs))
        run(worker.unload(handle))


async def _replace_thread(worker: BrowserWorker, context: Context) -> None:
    """Cancel runs without grace, longer and longer ones, until the page replaces its thread."""
    spec, before = models.slow_chain(context.assets), worker.connection.device_losses
    for size in (64, 128, 256, 512, 1024, 2048, 4096):
        handle = await worker.load(spec, LoadOptions(dimensions={"n": size}))
        build = functools.partial(_run, handle.id.rpartition("-")[2])
        running = asyncio.create_task(
            worker.connection.request(build, models.slow_input(size), grace_ms=0)
        )
        await asyncio.sleep(0.03)
        running.cancel()
        await asyncio.wait([running])
        # Answered by the new thread, after the page told of the old one's end.
        await worker.unload(handle)
        if worker.connection.device_losses > before:
            return
    pytest.fail("no run was long enough to be cancelled")


def _run(model: str, id: int, headers: tuple[TensorHeader, ...]) -> Run:
    return Run(id=id, model=model, tensors=headers)
