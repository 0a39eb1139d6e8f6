# SPDX-License-Identifier: Apache-2.0
"""One browser page as a Worker."""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections.abc import AsyncIterator, Collection
from typing import TYPE_CHECKING

import attrs
import msgspec

from accelerate_core.errors import ModelError, Unsupported, WorkerLost, did_you_mean
from accelerate_core.fleet.policy import Mend
from accelerate_core.inputs import check_inputs
from accelerate_core.protocols import Context, SessionId, Worker
from accelerate_core.sessions.kept import Sessions
from accelerate_core.types import (
    KernelTime,
    LoadOptions,
    ModelHandle,
    ModelSpec,
    Phases,
    Result,
    TensorRef,
    WorkerEvent,
    WorkerEventKind,
    WorkerInfo,
)

from . import happenings, mending
from .bridge import Answer, Bridge, Build, Connection
from .codec import Sendable
from .hookspecs.engine import EngineModule
from .hookspecs.launcher import Launched
from .kept import KeptTensors
from .messages import Done, Run
from .models import Loader, SizedModel
from .problems import Interrupted
from .settings import BrowserSettings
from .slots import SlotLease
from .traits import CheckLoad

if TYPE_CHECKING:
    from accelerate_core.protocols import Inputs
    from accelerate_core.types import Array

    from .hub import Hub


@attrs.frozen(kw_only=True)
class Parts:
    """What a started browser is made of; the worker owns it and frees it."""

    hub: Hub
    lease: SlotLease
    bridge: Bridge
    launched: Launched
    connection: Connection


class BrowserWorker(Worker):
    """Load and run models in one page. A page runs one request at a time."""

    relays = True

    def __init__(
        self,
        info: WorkerInfo,
        parts: Parts,
        settings: BrowserSettings,
        ctx: Context,
        module: EngineModule,
        check_load: CheckLoad | None,
    ) -> None:
        self.info = info
        self.id = parts.connection.id
        self._parts = parts
        self._settings = settings
        self._ctx = ctx
        #: The bridge's end of the page's socket; another one when the page was loaded anew.
        self.connection = parts.connection
        #: The browser it lives in: `pid` and `tag` find its processes.
        self.launched = parts.launched
        self._module = module
        self._models: dict[str, SizedModel] = {}  # by handle id
        self._numbers = itertools.count(1)
        self._events: asyncio.Queue[WorkerEvent | None] = asyncio.Queue()
        self._closing: asyncio.Task[None] | None = None
        self._loader = Loader(
            info=info,
            module=module,
            bridge=parts.bridge,
            ctx=ctx,
            check_load=check_load,
            ask=self._request,
            tell=self._tell_progress,
        )
        self._autopsy = mending.Autopsy(parts.launched)
        self._tasks = [self._autopsy.gone, asyncio.create_task(self._watch_browser())]
        self._page_tasks: list[asyncio.Task[None]] = []
        self._attend(parts.connection)

    def _attend(self, connection: Connection) -> None:
        """Watch over a page's connection, and forget all that was on one before it."""
        for task in self._page_tasks:
            task.cancel()
        self._parts.hub.workers.pop(self.id, None)
        self.connection, self.id = connection, connection.id
        self._parts.hub.workers[self.id] = self
        self.tensors = KeptTensors(
            connection, self._parts.hub, str(self.info.target), self._request
        )
        self._forget()
        connection.explain = self._autopsy.explain
        connection.lost.add_done_callback(self._on_lost)
        watch = connection.watch(
            self._settings.heartbeat_s, self._settings.heartbeat_timeout_s, self._tell_silence
        )
        self._page_tasks = [
            asyncio.create_task(work)
            for work in (watch, self._watch_notices(connection), self._autopsy.learn())
        ]

    def _forget(self) -> None:
        self._models.clear()
        self._sessions = Sessions(str(self.info.target), self.tensors)

    # --- models -------------------------------------------------------------------------------

    async def load(self, spec: ModelSpec, options: LoadOptions | None = None) -> ModelHandle:
        """Load a model in the page, which fetches its assets from the bridge or its own cache.

        For an engine that prepares models for fixed sizes it waits for the first inputs where
        `options.dimensions` does not name them all.
        """
        model = SizedModel(f"m{next(self._numbers)}", spec, options or LoadOptions(), self._loader)
        page = await model.open()
        handle = ModelHandle(
            id=f"{self.id}-{model.name}",
            spec=spec,
            phases=page.phases if page else Phases(),
            is_cached=page.is_cached if page else None,
            details=dict(page.details) if page else {},
        )
        self._models[handle.id] = model
        return handle

    async def run(
        self,
        model: ModelHandle,
        inputs: Inputs,
        *,
        session: SessionId | None = None,
        keep: Collection[str] = (),
    ) -> Result:
        """Run once. A kept tensor of another page crosses as raw bytes, undecoded.

        `phases.in_page_ms` is the engine's time, `phases.transfer_ms` the rest of the round trip;
        `compile_ms` and `fetch_ms` are set when the model had to be prepared for these sizes.
        """
        self._model(model)
        if session is None:
            return await self._run(model, inputs, keep)
        step = functools.partial(self._run, model)
        return await self._sessions.run(session, model, inputs, step, keep)

    async def _run(self, model: ModelHandle, inputs: Inputs, keep: Collection[str]) -> Result:
        loaded = self._model(model)
        check_inputs(model.spec, inputs)
        _check_keep(model.spec, keep)
        tensors: dict[str, Sendable] = {}
        for key, value in inputs.items():
            if isinstance(value, TensorRef):
                tensors[key] = await self.tensors.sendable(value)
            else:
                tensors[key] = value
        async with loaded.at(inputs) as (name, phases):
            begin = time.perf_counter()
            answer = await self._request(
                lambda id, headers: Run(id=id, model=name, tensors=headers, keep=tuple(keep)),
                tensors,
            )
            round_trip_ms = (time.perf_counter() - begin) * 1e3
        done = answer.message
        assert isinstance(done, Done)
        ran_ms = done.in_page_ms
        return Result(
            outputs={key: self.tensors.output(key, value) for key, value in answer.tensors.items()},
            phases=attrs.evolve(
                phases,
                in_page_ms=ran_ms,
                transfer_ms=None if ran_ms is None else max(0.0, round_trip_ms - ran_ms),
            ),
            profile=tuple(KernelTime(**msgspec.structs.asdict(one)) for one in done.profile),
        )

    async def unload(self, model: ModelHandle) -> None:
        """Drop a model and its memory; ModelError when it is not loaded here."""
        loaded = self._model(model)
        await self._sessions.close_model(model)
        await loaded.close()
        del self._models[model.id]

    # --- sessions -----------------------------------------------------------------------------

    async def open_session(self, model: ModelHandle) -> SessionId:
        """Open a session; its state stays on the page, where the engine keeps outputs."""
        self._model(model)
        return self._sessions.open(model)

    async def checkpoint(self, session: SessionId) -> bytes:
        """Copy a session's state to the host, once no run of it is under way."""
        return await self._sessions.checkpoint(session)

    async def restore(self, model: ModelHandle, state: bytes) -> SessionId:
        """Open a session from a checkpoint; the state goes to the page with the first run."""
        self._model(model)
        return self._sessions.restore(model, state)

    async def close_session(self, session: SessionId) -> None:
        """Drop a session and its memory on the page."""
        await self._sessions.close(session)

    # --- kept tensors -------------------------------------------------------------------------

    async def fetch(self, ref: TensorRef) -> Array:
        """Copy a kept tensor to the host; ModelError when it is not here any more."""
        return await self.tensors.fetch(ref)

    async def release(self, ref: TensorRef) -> None:
        """Drop a kept tensor; one that is gone with its device is no error."""
        await self.tensors.release(ref)

    # --- life ---------------------------------------------------------------------------------

    async def mend(self, how: Mend) -> None:
        """Give the page another compute thread and device, or load it anew in its browser.

        Unsupported for a page that does not answer.
        """
        if how is Mend.RESTART:
            raise Unsupported("a page does not restart its browser", where=str(self.info.target))
        within_s, old = self._settings.start_timeout_s, self.connection
        if how is Mend.DEVICE:
            await mending.renew(old, within_s)
            self._forget()
            return
        old.lost.remove_done_callback(self._on_lost)  # that it goes is no loss
        try:
            where, gone = str(self.info.target), self._autopsy.gone
            bridge = self._parts.bridge
            following = await mending.reopen(old, bridge, self._module, where, gone, within_s)
        except BaseException:
            old.lost.add_done_callback(self._on_lost)
            raise
        self._attend(following)

    async def memory(self) -> int | None:
        """Return the PSS of the browser's process tree in bytes, or None where unknown."""
        return await asyncio.to_thread(self.launched.memory)

    async def events(self) -> AsyncIterator[WorkerEvent]:
        """Yield device losses, logs, and at last LOST when the page went without being asked."""
        while (event := await self._events.get()) is not None:
            yield event
        self._events.put_nowait(None)

    async def close(self, *, kill: bool = False) -> None:
        """Close the page and end its browser; the slot's profile stays for the next one."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(kill))
        elif kill:
            await self.launched.close(kill=True)
        # A cancelled caller does not stop the cleaning up.
        await asyncio.shield(self._closing)

    async def _close(self, kill: bool) -> None:
        parts = self._parts
        self.connection.lost.remove_done_callback(self._on_lost)
        parts.hub.workers.pop(self.id, None)
        try:
            if kill:
                self.connection.lose("the worker was closed")
            else:
                await self.connection.close("the worker was closed")
            tasks = [*self._tasks, *self._page_tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.launched.close(kill=kill)
        finally:
            parts.lease.release()
            self._events.put_nowait(None)

    def _on_lost(self, lost: asyncio.Future[WorkerLost]) -> None:
        self._parts.hub.workers.pop(self.id, None)
        self._events.put_nowait(happenings.loss(lost.result()))
        self._events.put_nowait(None)

    async def _watch_browser(self) -> None:
        gone = await asyncio.shield(self._autopsy.gone)
        self.connection.lose("the browser ended", gone.to_error())

    async def _watch_notices(self, connection: Connection) -> None:
        while True:
            self._events.put_nowait(happenings.noticed(await connection.notices.get()))

    def _tell_silence(self, silent_ms: float | None) -> None:
        self._events.put_nowait(happenings.silence(silent_ms))

    # --- inside -------------------------------------------------------------------------------

    async def _request(self, build: Build, tensors: dict[str, Sendable] | None = None) -> Answer:
        """Ask the page; once more when it lost its device or compute thread meanwhile.

        A cancelled run can cost the page its thread; what waited behind it is not to blame.
        """
        grace_ms = self._settings.cancel_grace_s * 1e3
        try:
            return await self.connection.request(build, tensors, grace_ms=grace_ms)
        except Interrupted as error:
            self._ctx.log.info("asking again: %s", error.info.message)
            return await self.connection.request(build, tensors, grace_ms=grace_ms)

    def _tell_progress(self, doing: str) -> None:
        self._events.put_nowait(WorkerEvent(kind=WorkerEventKind.PROGRESS, message=doing))

    def _model(self, model: ModelHandle) -> SizedModel:
        if model.id not in self._models:
            raise ModelError(
                f"model {model.spec.name!r} is not loaded here", where=str(self.info.target)
            )
        return self._models[model.id]


def _check_keep(spec: ModelSpec, keep: Collection[str]) -> None:
    known = [output.name for output in spec.outputs]
    for name in keep:
        if name not in known:
            raise ModelError(
                f"there is no output {name!r} to keep",
                where=f"outputs of {spec.name}",
                accepted=known,
                hint=did_you_mean(name, known),
            )
