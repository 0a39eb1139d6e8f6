# SPDX-License-Identifier: Apache-2.0
"""The backend and its worker: ONNX Runtime in one thread of this process."""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from accelerate_core.errors import BackendUnavailable, ModelError, Unsupported, WorkerLost
from accelerate_core.inputs import check_inputs, zero_inputs
from accelerate_core.protocols import Backend, Context, SessionId, Worker
from accelerate_core.sessions.kept import Sessions
from accelerate_core.types import (
    AdapterInfo,
    Availability,
    LoadOptions,
    ModelHandle,
    ModelSpec,
    Phases,
    Result,
    Target,
    TensorRef,
    WorkerInfo,
)

from . import machine

if TYPE_CHECKING:
    import onnxruntime as ort  # type: ignore[import-untyped]

    from accelerate_core.protocols import Inputs

    from . import CpuSettings

T = TypeVar("T")

TARGET = Target("cpu")
_INSTALL = "pip install onnxruntime"


class CpuBackend(Backend):
    """Run models in this process, on the processor."""

    def __init__(self, settings: CpuSettings) -> None:
        self._settings = settings
        self._workers: list[CpuWorker] = []

    async def discover(self) -> Sequence[Availability]:
        """Say whether onnxruntime is installed; imports nothing."""
        try:
            version = metadata.version("onnxruntime")
        except metadata.PackageNotFoundError:
            return (
                Availability(
                    target=TARGET,
                    is_available=False,
                    reason="the package onnxruntime is not installed",
                    remedy=_INSTALL,
                ),
            )
        return (Availability(target=TARGET, is_available=True, version=version),)

    async def start(self, target: Target, ctx: Context) -> Worker:
        """Start a worker; BackendUnavailable for any target but `cpu`, or without onnxruntime."""
        if target != TARGET:
            raise BackendUnavailable(
                f"the cpu backend has no {target}",
                accepted=(str(TARGET),),
                hint="It runs in this process: ask for the target cpu.",
            )
        executor = ThreadPoolExecutor(1, "accelerate-cpu")
        begin = time.perf_counter()
        try:
            version = await asyncio.wrap_future(executor.submit(_engine_version))
        except BaseException as error:
            executor.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, ImportError):
                raise BackendUnavailable(
                    f"onnxruntime cannot be imported: {error}", where="cpu", hint=_INSTALL
                ) from error
            raise
        self._workers = [worker for worker in self._workers if not worker.is_closed]
        share = max(1, machine.usable_cores() // (len(self._workers) + 1))
        info = WorkerInfo(
            target=TARGET,
            engine_version=version,
            adapter=AdapterInfo(device=machine.processor_name()),
            is_software=False,
            device_type="cpu",
            threads=self._settings.threads or share,
            launch_ms=(time.perf_counter() - begin) * 1e3,
        )
        worker = CpuWorker(info, self._settings, ctx, executor)
        self._workers.append(worker)
        return worker


def _engine_version() -> str:
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


@attrs.define
class _Loaded:
    handle: ModelHandle
    session: ort.InferenceSession


class CpuWorker(Worker):
    """Hold models and run them one after another, off the event loop."""

    def __init__(
        self, info: WorkerInfo, settings: CpuSettings, ctx: Context, executor: ThreadPoolExecutor
    ) -> None:
        self.info = info
        self._settings = settings
        self._ctx = ctx
        self._loaded: dict[str, _Loaded] = {}
        self._numbers = itertools.count(1)
        self._id = uuid.uuid4().hex[:8]
        self._executor = executor  # one thread: a run never shares its threads with another
        self._stops: set[Callable[[], None]] = set()
        self.is_closed = False
        self._states = Sessions("cpu worker")

    async def load(self, spec: ModelSpec, options: LoadOptions | None = None) -> ModelHandle:
        """Create a session; ModelError with ONNX Runtime's reason, Unsupported for no ONNX."""
        from . import sessions

        options = options or LoadOptions()
        if spec.format != "onnx":
            raise Unsupported(
                f"the cpu backend does not run models of format {spec.format!r}",
                where=f"model {spec.name}",
                accepted=("onnx",),
            )
        threads = self.info.threads or 1
        session_options = sessions.session_options(self._settings, threads)
        session, compile_ms = await self._in_thread(
            lambda: sessions.open_session(
                spec, self._ctx.assets, self._ctx.cache_dir, session_options
            ),
            stop=lambda: session_options.set_load_cancellation_flag(True),
        )
        first_run_ms = None
        if options.precompile:
            zeros = zero_inputs(spec, options.dimensions)
            _, first_run_ms = await self._run(session, spec, zeros)
        handle = ModelHandle(
            id=f"{self._id}-{next(self._numbers)}",
            spec=spec,
            phases=Phases(compile_ms=compile_ms, first_run_ms=first_run_ms),
            details={"provider": "CPUExecutionProvider", "threads": threads},
        )
        self._loaded[handle.id] = _Loaded(handle, session)
        return handle

    async def run(
        self,
        model: ModelHandle,
        inputs: Inputs,
        *,
        session: SessionId | None = None,
        keep: Collection[str] = (),
    ) -> Result:
        """Run once; `phases.in_page_ms` is the time inside ONNX Runtime."""
        if session is not None and not keep:
            self._find(model)
            step = functools.partial(self._run_once, model)
            return await self._states.run(session, model, inputs, step)
        if keep or any(isinstance(value, TensorRef) for value in inputs.values()):
            raise Unsupported(
                "the cpu backend keeps no tensors",
                where=f"model {model.spec.name}",
                hint="Pass arrays, and leave out `keep`.",
            )
        return await self._run_once(model, inputs)

    async def open_session(self, model: ModelHandle) -> SessionId:
        """Open a session; its state is arrays of this process."""
        self._find(model)
        return self._states.open(model)

    async def checkpoint(self, session: SessionId) -> bytes:
        """Return a session's state, once no run of it is under way."""
        self._check_open()
        return await self._states.checkpoint(session)

    async def restore(self, model: ModelHandle, state: bytes) -> SessionId:
        """Open a session from a checkpoint; ModelError where it does not fit the model."""
        self._find(model)
        return self._states.restore(model, state)

    async def close_session(self, session: SessionId) -> None:
        """Drop a session and its memory."""
        self._check_open()
        await self._states.close(session)

    async def unload(self, model: ModelHandle) -> None:
        """Drop a session; ModelError when it is not loaded here."""
        self._find(model)
        del self._loaded[model.id]
        await self._states.close_model(model)

    async def memory(self) -> int | None:
        """Return the PSS of this process in bytes: the models live in it."""
        return await asyncio.to_thread(machine.process_memory_bytes)

    async def close(self, *, kill: bool = False) -> None:
        """Stop what runs, drop all sessions and the thread.

        ONNX Runtime stops between two operators; a thread cannot be killed, so `kill` changes
        nothing.
        """
        if self.is_closed:
            return
        self.is_closed = True
        self._states.close_all()
        for stop in tuple(self._stops):
            stop()
        last = self._executor.submit(self._loaded.clear)
        self._executor.shutdown(wait=False)
        await asyncio.wrap_future(last)
        self._executor.shutdown(wait=True)  # joins a thread that has nothing left to do

    async def _run_once(
        self, model: ModelHandle, inputs: Inputs, keep: Collection[str] = ()
    ) -> Result:
        check_inputs(model.spec, inputs)
        outputs, in_page_ms = await self._run(self._find(model).session, model.spec, inputs)
        return Result(outputs=outputs, phases=Phases(in_page_ms=in_page_ms))

    async def _run(
        self, session: ort.InferenceSession, spec: ModelSpec, inputs: Any
    ) -> tuple[dict[str, Any], float]:
        import onnxruntime

        from . import sessions

        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        return await self._in_thread(
            lambda: sessions.run_session(session, spec, inputs, options),
            stop=lambda: setattr(options, "terminate", True),
        )

    async def _in_thread(self, work: Callable[[], T], *, stop: Callable[[], None]) -> T:
        """Do `work` in the worker's thread; when cancelled, `stop` it and wait until it has."""
        self._check_open()
        future = self._executor.submit(work)
        waiting = asyncio.wrap_future(future)
        # Whoever gave up waiting does not fetch the error.
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._stops.add(stop)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if not future.cancel():
                stop()
                await asyncio.wait([waiting])
            raise
        except ModelError:
            if self.is_closed:
                raise _closed() from None
            raise
        finally:
            self._stops.discard(stop)

    def _check_open(self) -> None:
        if self.is_closed:
            raise _closed()

    def _find(self, model: ModelHandle) -> _Loaded:
        self._check_open()
        try:
            return self._loaded[model.id]
        except KeyError:
            raise ModelError(
                f"{model.spec.name} is not loaded here",
                where="cpu worker",
                hint="Load it first; a handle is of no use after unload or on another worker.",
            ) from None


def _closed() -> WorkerLost:
    return WorkerLost("the worker is closed", where="cpu worker", hint="Start another one.")
