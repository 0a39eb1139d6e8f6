# SPDX-License-Identifier: Apache-2.0
"""The `fake` backend: no engine, invented numbers, planned faults. For CI, never for results.

Every worker says `is_simulated`. Equal inputs to an equal model give equal outputs, on any
machine; they have the right names, dtypes and shapes and no meaning.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs

from .. import __version__
from ..errors import AccelerateError, BackendUnavailable, ModelError, Unsupported, WorkerLost
from ..fleet.policy import FailureKind, Mend
from ..inputs import check_inputs
from ..markers import hookimpl
from ..protocols import Backend, Context, SessionId, Worker
from ..sessions.kept import Sessions
from ..types import (
    BROWSERS,
    Availability,
    LoadOptions,
    ModelHandle,
    ModelSpec,
    Phases,
    Result,
    Target,
    TensorRef,
    TensorSpec,
    WorkerEvent,
    WorkerEventKind,
    WorkerInfo,
)

if TYPE_CHECKING:
    from ..protocols import Inputs
    from ..types import Array

_at_least_one = attrs.validators.optional(attrs.validators.ge(1))
_not_negative = attrs.validators.ge(0.0)


@attrs.frozen(kw_only=True)
class FakeSettings:
    """Plan how the fake behaves."""

    #: Browsers it pretends to have: `["chromium"]` offers `fake:chromium`, beside `fake`.
    browsers: tuple[str, ...] = attrs.field(
        default=(), validator=attrs.validators.deep_iterable(attrs.validators.in_(BROWSERS))
    )
    #: How long starting a worker takes.
    start_ms: float = attrs.field(default=0.0, validator=_not_negative)
    #: How long a run takes.
    latency_ms: float = attrs.field(default=1.0, validator=_not_negative)
    #: Requests a worker runs at once.
    slots: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    #: Every run with this number, counted per worker, fails; the worker lives on.
    fail_every: int | None = attrs.field(default=None, validator=_at_least_one)
    #: A worker is lost in the run after this many.
    crash_after: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(0))
    )
    #: What that loss is taken for.
    crash_reason: FailureKind = FailureKind.CRASH
    #: Every run with this number loses the device, and the worker lives on.
    device_lost_every: int | None = attrs.field(default=None, validator=_at_least_one)
    #: A worker is silent in the run after this many, for as long as `silent_ms` says.
    silent_after: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(0))
    )
    #: How long a silent worker says nothing.
    silent_ms: float = attrs.field(default=1000.0, validator=_not_negative)
    #: Every run on this worker, counted in order of starting, answers wrongly.
    wrong_worker: int | None = attrs.field(default=None, validator=_at_least_one)
    #: What workers can be mended by; other means are not supported.
    mends: tuple[Mend, ...] = (Mend.DEVICE, Mend.PAGE)
    #: Models that use one of these operators are refused.
    unsupported_operators: tuple[str, ...] = ()


class FakePlugin:
    """Offer the target `fake`."""

    name = "fake"
    settings = FakeSettings

    @hookimpl
    def backend_create(self, settings: FakeSettings | None, ctx: Context) -> Backend:
        """Return the backend."""
        return FakeBackend(settings or FakeSettings())


class FakeBackend(Backend):
    """Offer `fake`, and `fake:<browser>` for every planned browser."""

    def __init__(self, settings: FakeSettings) -> None:
        self._settings = settings
        self._numbers = itertools.count(1)

    async def discover(self) -> Sequence[Availability]:
        """Return all planned targets; they are always available."""
        return [
            Availability(target=target, is_available=True, version=__version__)
            for target in self._targets()
        ]

    async def start(self, target: Target, ctx: Context) -> Worker:
        """Start a worker; BackendUnavailable for a target that is not planned."""
        if target not in self._targets():
            raise BackendUnavailable(
                f"the fake backend has no {target}",
                accepted=map(str, self._targets()),
                hint='Plan it: [backends.fake] browsers = ["chromium"]',
            )
        await asyncio.sleep(self._settings.start_ms / 1e3)
        is_wrong = next(self._numbers) == self._settings.wrong_worker
        return FakeWorker(target, self._settings, ctx, is_wrong=is_wrong)

    def _targets(self) -> list[Target]:
        return [Target("fake", None, browser) for browser in (None, *self._settings.browsers)]


class FakeWorker(Worker):
    """Answer runs with invented numbers, and fail as planned."""

    def __init__(
        self, target: Target, settings: FakeSettings, ctx: Context, *, is_wrong: bool = False
    ) -> None:
        self.info = WorkerInfo(
            target=target,
            engine_version=f"fake {__version__}",
            is_simulated=True,
            slots=settings.slots,
            launch_ms=settings.start_ms,
        )
        self._settings = settings
        self._ctx = ctx
        self._loaded: dict[str, LoadOptions] = {}
        self._states = Sessions(str(target))
        self._numbers = itertools.count(1)
        self._runs = 0
        self._is_wrong = is_wrong
        self._events: asyncio.Queue[WorkerEvent | None] = asyncio.Queue()
        self._is_gone = False
        self._is_crashed = False

    async def load(self, spec: ModelSpec, options: LoadOptions | None = None) -> ModelHandle:
        """Look whether the file could be ONNX; ModelError when not, or as planned."""
        self._check_alive()
        path = self._ctx.assets.path(spec.assets[0].sha256)
        if not _looks_like_onnx(path):
            raise ModelError("this is no ONNX model, or only a part of one", where=spec.name)
        refused = set(self._settings.unsupported_operators) & set(spec.operators)
        if refused:
            raise ModelError(
                f"planned: operators {', '.join(sorted(refused))} are not supported",
                where=spec.name,
            )
        handle = ModelHandle(
            id=f"fake-{next(self._numbers)}", spec=spec, phases=Phases(compile_ms=0.0)
        )
        self._loaded[handle.id] = options or LoadOptions()
        return handle

    async def run(
        self,
        model: ModelHandle,
        inputs: Inputs,
        *,
        session: SessionId | None = None,
        keep: Collection[str] = (),
    ) -> Result:
        """Return invented outputs after `latency_ms`, or fail as planned."""
        if keep or any(isinstance(value, TensorRef) for value in inputs.values()):
            raise Unsupported("the fake backend keeps no tensors")
        if session is None:
            return await self._run_once(model, inputs)
        self._find(model)
        step = functools.partial(self._run_once, model)
        return await self._states.run(session, model, inputs, step)

    async def open_session(self, model: ModelHandle) -> SessionId:
        """Open a session; its state is invented numbers, too."""
        self._find(model)
        return self._states.open(model)

    async def checkpoint(self, session: SessionId) -> bytes:
        """Return a session's state."""
        self._check_alive()
        return await self._states.checkpoint(session)

    async def restore(self, model: ModelHandle, state: bytes) -> SessionId:
        """Open a session from a checkpoint."""
        self._find(model)
        return self._states.restore(model, state)

    async def close_session(self, session: SessionId) -> None:
        """Forget a session."""
        self._check_alive()
        await self._states.close(session)

    async def _run_once(
        self, model: ModelHandle, inputs: Inputs, keep: Collection[str] = ()
    ) -> Result:
        options = self._find(model)
        check_inputs(model.spec, inputs)
        self._runs += 1
        number, begin = self._runs, time.perf_counter()
        await asyncio.sleep(self._settings.latency_ms / 1e3)
        if number - 1 == self._settings.silent_after:
            await self._be_silent()
        self._check_alive()
        self._fail_as_planned(number)
        outputs = _invent(model.spec, inputs, options.dimensions)
        if self._is_wrong:
            outputs = {name: value * value.dtype.type(0) for name, value in outputs.items()}
        in_page_ms = (time.perf_counter() - begin) * 1e3
        return Result(outputs=outputs, phases=Phases(in_page_ms=in_page_ms))

    def _fail_as_planned(self, number: int) -> None:
        plan, where = self._settings, str(self.info.target)
        if plan.crash_after is not None and number > plan.crash_after:
            self._is_crashed = True
            self._end()
            self._check_alive()
        if plan.device_lost_every and number % plan.device_lost_every == 0:
            raise WorkerLost("planned: the device is lost", where=where, reason="device_lost")
        if plan.fail_every and number % plan.fail_every == 0:
            raise AccelerateError(f"planned: run {number} fails", where=where)

    async def _be_silent(self) -> None:
        begin = time.perf_counter()
        while (silent_ms := (time.perf_counter() - begin) * 1e3) < self._settings.silent_ms:
            data = {"silent_ms": silent_ms}
            self._events.put_nowait(WorkerEvent(kind=WorkerEventKind.SILENT, data=data))
            await asyncio.sleep(0.05)
        self._events.put_nowait(WorkerEvent(kind=WorkerEventKind.HEARD))

    async def mend(self, how: Mend) -> None:
        """Forget all models and sessions, as planned."""
        self._check_alive()
        if how not in self._settings.mends:
            raise Unsupported(f"planned: {how} mends nothing", where=str(self.info.target))
        self._loaded.clear()
        self._states = Sessions(str(self.info.target))

    async def unload(self, model: ModelHandle) -> None:
        """Forget a model."""
        self._find(model)
        del self._loaded[model.id]
        await self._states.close_model(model)

    async def close(self, *, kill: bool = False) -> None:
        """Stop."""
        self._end()

    async def events(self) -> AsyncIterator[WorkerEvent]:
        """Yield planned silence, and LOST after a planned crash."""
        while (event := await self._events.get()) is not None:
            yield event
        self._events.put_nowait(None)
        if self._is_crashed:
            data = {"reason": self._settings.crash_reason}
            yield WorkerEvent(kind=WorkerEventKind.LOST, message="planned: it crashed", data=data)

    def _end(self) -> None:
        self._is_gone = True
        self._events.put_nowait(None)

    def _check_alive(self) -> None:
        if self._is_gone:
            raise WorkerLost(
                "planned: it crashed" if self._is_crashed else "the worker is closed",
                where=str(self.info.target),
                reason=self._settings.crash_reason if self._is_crashed else None,
            )

    def _find(self, model: ModelHandle) -> LoadOptions:
        self._check_alive()
        if model.id not in self._loaded:
            raise ModelError(f"{model.spec.name} is not loaded here", hint="Load it first.")
        return self._loaded[model.id]


def _invent(
    spec: ModelSpec, inputs: Mapping[str, Any], dimensions: Mapping[str, int]
) -> dict[str, Array]:
    """Return outputs drawn from a generator seeded by the model and its inputs."""
    import numpy as np

    seed = hashlib.sha256(spec.sha256.encode())
    sizes = dict(dimensions)
    for tensor in spec.inputs:
        array = np.ascontiguousarray(inputs[tensor.name])
        seed.update(tensor.name.encode() + str(array.shape).encode() + array.tobytes())
        for name, size in zip(tensor.shape, array.shape, strict=True):
            if isinstance(name, str):
                sizes[name] = size
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(seed.digest(), "little")))

    def draw(tensor: TensorSpec) -> Array:
        shape = [size if isinstance(size, int) else sizes.get(size, 1) for size in tensor.shape]
        # Small whole numbers survive every dtype.
        return rng.integers(0, 2 if tensor.dtype == "bool" else 100, shape).astype(tensor.dtype)

    return {tensor.name: draw(tensor) for tensor in spec.outputs}


def _looks_like_onnx(path: Path) -> bool:
    """Whether a file is a whole protobuf message with a graph (field 7), as ModelProto is."""
    size, has_graph = path.stat().st_size, False
    with path.open("rb") as file:
        while file.tell() < size:
            tag = _varint(file)
            if tag is None:
                return False
            field, wire = tag >> 3, tag & 7
            if wire == 0:
                length = 0 if _varint(file) is not None else None
            else:
                length = {1: 8, 5: 4}.get(wire, _varint(file) if wire == 2 else None)
            if field == 0 or length is None or file.tell() + length > size:
                return False
            file.seek(length, 1)
            has_graph |= (field, wire) == (7, 2)
    return has_graph


def _varint(file: BinaryIO) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None
