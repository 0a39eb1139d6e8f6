# SPDX-License-Identifier: Apache-2.0
"""The live workers of a fleet: start, watch, load, mend, stop; outcomes go back as events."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from .. import events
from ..errors import AccelerateError, BackendUnavailable, WorkerLost
from ..fleet import events as ev
from ..fleet import instructions as do
from ..fleet.policy import FailureKind
from ..protocols import Backend, Context, Worker
from ..types import Connection, LoadOptions, ModelHandle, ModelSpec, WorkerEvent, WorkerEventKind
from .failures import classify, ends_worker, typed

_log = logging.getLogger("accelerate.workers")

#: A worker that takes longer to close is killed.
CLOSE_TIMEOUT_S = 15.0


@attrs.define(eq=False)
class Live:
    """One epoch of a worker, with the models it has loaded."""

    worker: Worker
    epoch: int
    connection: Connection
    watcher: asyncio.Task[None] | None = None
    handles: dict[str, ModelHandle] = attrs.field(factory=dict)


class Workers:
    """Own the live workers of one runner."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        ctx: Context,
        *,
        run_id: str,
        post: Callable[[ev.FleetEvent], None],
        tell: Callable[[events.Event], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self.live: dict[str, Live] = {}
        self._backends = backends
        self._ctx = ctx
        self._run_id = run_id
        self._post = post
        self._tell = tell
        self._spawn = spawn
        #: Starts and mends under way.
        self._coming: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def begin(self, order: do.StartWorker) -> None:
        """Start a worker in the background."""
        cancelled = BackendUnavailable("cancelled while starting", where=str(order.target))
        self._come(self._start(order), lambda: self._failed(order, cancelled))

    def _come(self, work: Coroutine[Any, Any, None], give_up: Callable[[], None]) -> None:
        """Start or mend in the background; `give_up` tells the fleet when that is cancelled."""
        task = self._spawn(work)
        self._coming.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._coming.discard(task)
            # A task cancelled before its first step never gets to report for itself.
            if task.cancelled():
                give_up()

        task.add_done_callback(ended)

    def cancel_coming(self) -> None:
        """Give up every start and mend that is under way."""
        for task in self._coming:
            task.cancel()

    async def close_backends(self) -> None:
        """Free what the workers of each backend shared, once the last lost one is cleaned up."""
        await asyncio.gather(*self._closing)
        for name, backend in self._backends.items():
            try:
                await backend.close()
            except Exception:
                _log.exception("backend %s did not close cleanly", name)

    async def _start(self, order: do.StartWorker) -> None:
        started_at = datetime.now(UTC)
        try:
            backend = self._backends.get(order.target.backend)
            if backend is None:
                raise BackendUnavailable(
                    f"no backend {order.target.backend!r} is loaded", accepted=tuple(self._backends)
                )
            worker = await backend.start(order.target, self._ctx)
        except Exception as error:
            self._failed(order, typed(error, str(order.target)))
            return
        connection = Connection(
            id=f"{order.worker_id}#{order.epoch}-{uuid.uuid4().hex[:8]}",
            run_id=self._run_id,
            started_at=started_at,
            info=worker.info,
        )
        live = Live(worker, order.epoch, connection)
        self.live[order.worker_id] = live
        live.watcher = self._spawn(self._watch(order.worker_id, worker))
        self._tell(
            events.WorkerStarted(
                run_id=self._run_id,
                at=datetime.now(UTC),
                worker_id=order.worker_id,
                epoch=order.epoch,
                connection=connection,
            )
        )
        self._post(
            ev.WorkerReady(
                at_ns=_now(), worker_id=order.worker_id, epoch=order.epoch, info=worker.info
            )
        )

    def _failed(self, order: do.StartWorker, error: AccelerateError) -> None:
        self._post(
            ev.WorkerFailed(
                at_ns=_now(), worker_id=order.worker_id, epoch=order.epoch, error=error.info
            )
        )

    async def _watch(self, worker_id: str, worker: Worker) -> None:
        """Turn a worker's own events into the fleet's, of whichever epoch it is then."""
        try:
            async for event in worker.events():
                live = self.live.get(worker_id)
                if live is None or live.worker is not worker:
                    return
                self._heard(worker_id, live, event)
        except Exception as error:
            live = self.live.get(worker_id)
            if live is not None and live.worker is worker:
                self.lose(worker_id, live, typed(error, worker_id))

    def _heard(self, worker_id: str, live: Live, event: WorkerEvent) -> None:
        now, epoch = _now(), live.epoch
        match event.kind:
            case WorkerEventKind.LOST:
                message = event.message or "the worker is gone"
                reason = event.data.get("reason")
                self.lose(worker_id, live, WorkerLost(message, where=worker_id, reason=reason))
            case WorkerEventKind.SILENT:
                silent_ns = int(event.data.get("silent_ms", 0) * 1e6)
                self._post(
                    ev.WorkerSilent(
                        at_ns=now, worker_id=worker_id, epoch=epoch, silent_ns=silent_ns
                    )
                )
            case WorkerEventKind.HEARD:
                self._post(ev.WorkerHeard(at_ns=now, worker_id=worker_id, epoch=epoch))
            case WorkerEventKind.PROGRESS:
                self._post(
                    ev.WorkerProgress(
                        at_ns=now, worker_id=worker_id, epoch=epoch, doing=event.message
                    )
                )
            case _:
                _log.info("%s: %s %s", worker_id, event.kind, event.message)

    def lose(self, worker_id: str, live: Live, error: AccelerateError) -> None:
        """Give a worker up: tell the fleet at once, clean up behind it."""
        if self.live.get(worker_id) is not live:
            return
        del self.live[worker_id]
        self._gone(worker_id, live, error)
        self._post(
            ev.WorkerLost(
                at_ns=_now(),
                worker_id=worker_id,
                epoch=live.epoch,
                error=error.info,
                # Whatever a backend raised here, it is no fault of the jobs'.
                kind=classify(error) if isinstance(error, WorkerLost) else FailureKind.LOST,
            )
        )
        if live.watcher is not None and live.watcher is not asyncio.current_task():
            live.watcher.cancel()
        closing = asyncio.get_running_loop().create_task(
            self._close_worker(worker_id, live, kill=True)
        )
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def mend(self, order: do.MendWorker) -> None:
        """Begin a worker's next epoch; the worker is mended in the background."""
        live = self.live.get(order.worker_id)
        if live is None:
            return  # its loss is on the way
        # What still runs in the old epoch cannot lose the worker any more.
        following = attrs.evolve(live, epoch=order.epoch, handles={})
        self.live[order.worker_id] = following
        cancelled = WorkerLost("given up while it was mended", where=order.worker_id)
        self._come(
            self._mend(order, following),
            lambda: self.lose(order.worker_id, following, cancelled),
        )

    async def _mend(self, order: do.MendWorker, live: Live) -> None:
        try:
            await live.worker.mend(order.how)
        except Exception as error:
            self.lose(order.worker_id, live, typed(error, order.worker_id))
            return
        if self.live.get(order.worker_id) is live:
            self._post(
                ev.WorkerReady(
                    at_ns=_now(),
                    worker_id=order.worker_id,
                    epoch=order.epoch,
                    info=live.worker.info,
                )
            )

    async def stop(self, order: do.StopWorker) -> None:
        """Stop a worker and say so once it is gone."""
        live = self.live.pop(order.worker_id, None)
        if live is not None:
            if live.watcher is not None:
                live.watcher.cancel()
            await self._close_worker(order.worker_id, live, kill=order.kill)
            self._gone(order.worker_id, live, None)
        self._post(ev.WorkerStopped(at_ns=_now(), worker_id=order.worker_id, epoch=order.epoch))

    async def _close_worker(self, worker_id: str, live: Live, *, kill: bool) -> None:
        try:
            try:
                await asyncio.wait_for(live.worker.close(kill=kill), CLOSE_TIMEOUT_S)
            except TimeoutError:
                _log.warning("%s did not close in %.0f s: killed", worker_id, CLOSE_TIMEOUT_S)
                await asyncio.wait_for(live.worker.close(kill=True), CLOSE_TIMEOUT_S)
        except Exception:
            _log.exception("%s did not close cleanly", worker_id)

    def _gone(self, worker_id: str, live: Live, error: AccelerateError | None) -> None:
        now = datetime.now(UTC)
        lived = (now - live.connection.started_at).total_seconds()
        self._tell(
            events.WorkerGone(
                run_id=self._run_id,
                at=now,
                worker_id=worker_id,
                epoch=live.epoch,
                target=live.worker.info.target,
                connection=attrs.evolve(live.connection, duration_s=lived),
                error=error.info if error else None,
            )
        )

    async def load(self, order: do.LoadModel, spec: ModelSpec, options: LoadOptions) -> None:
        """Load a model and say what came of it."""
        live = self.of_epoch(order.worker_id, order.epoch)
        if live is None:
            return  # its loss is on the way
        try:
            live.handles[order.model] = await live.worker.load(spec, options)
        except Exception as error:
            failure = typed(error, order.worker_id)
            if ends_worker(failure):
                self.lose(order.worker_id, live, failure)
                return
            self._post(
                ev.LoadFailed(
                    at_ns=_now(),
                    worker_id=order.worker_id,
                    epoch=order.epoch,
                    model=order.model,
                    kind=classify(failure),
                    error=failure.info,
                )
            )
            return
        self._post(
            ev.ModelLoaded(
                at_ns=_now(), worker_id=order.worker_id, epoch=order.epoch, model=order.model
            )
        )

    async def unload(self, order: do.UnloadModel) -> None:
        """Drop a model; a worker that cannot keeps it for nothing."""
        live = self.of_epoch(order.worker_id, order.epoch)
        handle = live.handles.pop(order.model, None) if live is not None else None
        if live is None or handle is None:
            return
        try:
            await live.worker.unload(handle)
        except Exception as error:
            failure = typed(error, order.worker_id)
            if ends_worker(failure):
                self.lose(order.worker_id, live, failure)
            else:
                _log.warning("%s keeps a model: %s", order.worker_id, failure)

    def of_epoch(self, worker_id: str, epoch: int) -> Live | None:
        """Return a live worker if it is of this epoch, else None."""
        live = self.live.get(worker_id)
        return live if live is not None and live.epoch == epoch else None


def _now() -> int:
    return time.perf_counter_ns()
