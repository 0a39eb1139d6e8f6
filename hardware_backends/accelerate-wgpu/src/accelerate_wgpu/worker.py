# SPDX-License-Identifier: Apache-2.0
"""The worker: models, kept tensors, and one thread that talks to the device."""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
import uuid
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from accelerate_core.errors import ModelError, WorkerLost
from accelerate_core.inputs import check_inputs, zero_inputs
from accelerate_core.protocols import Context, SessionId, Worker
from accelerate_core.sessions.kept import Sessions
from accelerate_core.types import (
    LoadOptions,
    ModelHandle,
    ModelSpec,
    Phases,
    Result,
    TensorRef,
    TensorSpec,
    WorkerInfo,
)

from .gpu import Gpu
from .models import LoadedModel, Loader
from .replay import Kept

if TYPE_CHECKING:
    from accelerate_core.protocols import Inputs
    from accelerate_core.types import Array

T = TypeVar("T")


class WgpuWorker(Worker):
    """Hold plans on one device and run them one after another, off the event loop."""

    def __init__(
        self, gpu: Gpu, info: WorkerInfo, ctx: Context, executor: ThreadPoolExecutor
    ) -> None:
        self.info = info
        self.id = f"wgpu-{uuid.uuid4().hex[:8]}"
        self._gpu = gpu
        self._loader = Loader(gpu, info, ctx)
        self._executor = executor  # one thread: what is on the device is used in it alone
        self._loaded: dict[str, LoadedModel] = {}
        self._kept: dict[str, Kept] = {}
        self._sessions = Sessions("wgpu worker", self)
        self._numbers = itertools.count(1)
        self._is_closed = False

    async def load(self, spec: ModelSpec, options: LoadOptions | None = None) -> ModelHandle:
        """Compile a model that is no plan yet, and put it on the device.

        A free dimension that `options` leave open is 1 at first; other sizes are compiled when
        they are first run. ModelError for a broken model, Unsupported for what no kernel does.
        """
        options = options or LoadOptions()
        begin = time.perf_counter()
        model = await self._in_thread(lambda: self._loader.load(spec, options))
        compile_ms = (time.perf_counter() - begin) * 1e3
        first_run_ms = None
        if options.precompile:
            zeros = zero_inputs(spec, options.dimensions)
            first_run_ms = (await self._in_thread(lambda: model.run(zeros))).ms
        handle = ModelHandle(
            id=f"{self.id}-{next(self._numbers)}",
            spec=spec,
            phases=Phases(compile_ms=compile_ms, first_run_ms=first_run_ms),
            details=model.details,
        )
        self._loaded[handle.id] = model
        return handle

    async def run(
        self,
        model: ModelHandle,
        inputs: Inputs,
        *,
        session: SessionId | None = None,
        keep: Collection[str] = (),
    ) -> Result:
        """Run once; `phases.in_page_ms` is from the first write to the last byte read."""
        self._find(model)
        if session is None:
            return await self._run(model, inputs, keep)
        step = functools.partial(self._run, model)
        return await self._sessions.run(session, model, inputs, step, keep)

    async def _run(self, model: ModelHandle, inputs: Inputs, keep: Collection[str]) -> Result:
        loaded = self._find(model)
        where = f"model {model.spec.name}"
        check_inputs(model.spec, inputs)
        known = [one.name for one in model.spec.outputs]
        if unknown := sorted(set(keep) - set(known)):
            raise ModelError(
                f"there is no output {unknown[0]!r} to keep", where=where, accepted=known
            )
        values: dict[str, Array | Kept] = {
            name: self._kept_as(value) if isinstance(value, TensorRef) else value
            for name, value in inputs.items()
        }
        ran = await self._in_thread(lambda: loaded.run(values, keep))
        outputs: dict[str, Array | TensorRef] = dict(ran.outputs)
        for name, kept in ran.kept.items():
            id = str(next(self._numbers))
            self._kept[id] = kept
            spec = TensorSpec(name, kept.slot.dtype, kept.slot.shape)
            outputs[name] = TensorRef(self.id, 0, id, spec)
        return Result(outputs=outputs, phases=Phases(in_page_ms=ran.ms), profile=ran.profile)

    async def open_session(self, model: ModelHandle) -> SessionId:
        """Open a session; its state stays on the device."""
        self._find(model)
        return self._sessions.open(model)

    async def checkpoint(self, session: SessionId) -> bytes:
        """Return a session's state, once no run of it is under way."""
        self._check_open()
        return await self._sessions.checkpoint(session)

    async def restore(self, model: ModelHandle, state: bytes) -> SessionId:
        """Open a session from a checkpoint; ModelError where it does not fit the model."""
        self._find(model)
        return self._sessions.restore(model, state)

    async def close_session(self, session: SessionId) -> None:
        """Drop a session and its memory."""
        self._check_open()
        await self._sessions.close(session)

    def holds(self, ref: TensorRef) -> bool:
        """Whether a kept tensor is still there."""
        return ref.worker_id == self.id and ref.id in self._kept

    async def fetch(self, ref: TensorRef) -> Array:
        """Copy a kept tensor to the host; ModelError when it is not here."""
        kept = self._kept_as(ref)
        return await self._in_thread(lambda: kept.read(self._gpu))

    async def release(self, ref: TensorRef) -> None:
        """Drop a kept tensor; ModelError when it is not here."""
        self._kept_as(ref)
        del self._kept[ref.id]

    async def unload(self, model: ModelHandle) -> None:
        """Drop a model and its memory, once what it runs has ended.

        ModelError when it is not loaded here.
        """
        dropped = [self._find(model)]
        del self._loaded[model.id]
        await self._sessions.close_model(model)
        # In the thread, which holds on to what it did last until it does something else.
        await self._in_thread(dropped.clear)

    async def memory(self) -> int | None:
        """Return the PSS of this process in bytes; a real GPU's own memory is not in it."""
        return await asyncio.to_thread(_process_memory_bytes)

    async def close(self, *, kill: bool = False) -> None:
        """Free the device and the thread.

        What runs comes to its end first: WebGPU has no way to stop it, so `kill` changes nothing.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._loaded.clear()
        self._sessions.close_all()
        self._kept.clear()
        last = self._executor.submit(self._gpu.close)
        self._executor.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(last))
        self._executor.shutdown(wait=True)  # joins a thread that has nothing left to do

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Do `work` in the worker's thread; when cancelled, wait until it has ended."""
        self._check_open()
        future = self._executor.submit(work)
        waiting = asyncio.wrap_future(future)
        # Whoever gave up waiting does not fetch the error.
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if not future.cancel():
                await asyncio.wait([waiting])
            raise

    def _check_open(self) -> None:
        if self._is_closed:
            raise _closed()

    def _find(self, model: ModelHandle) -> LoadedModel:
        self._check_open()
        try:
            return self._loaded[model.id]
        except KeyError:
            raise ModelError(
                f"{model.spec.name} is not loaded here",
                where="wgpu worker",
                hint="Load it first; a handle is of no use after unload or on another worker.",
            ) from None

    def _kept_as(self, ref: TensorRef) -> Kept:
        if not self.holds(ref):
            raise ModelError(
                f"tensor {ref.spec.name!r} is not on this worker",
                where="wgpu worker",
                hint="It was released, or is on another worker: fetch it there, pass the array.",
            )
        return self._kept[ref.id]


def _process_memory_bytes() -> int | None:
    import psutil

    # Linux only: elsewhere psutil knows no proportional set size.
    return getattr(psutil.Process().memory_full_info(), "pss", None)


def _closed() -> WorkerLost:
    return WorkerLost("the worker is closed", where="wgpu worker", hint="Start another one.")
