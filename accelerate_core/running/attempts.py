# SPDX-License-Identifier: Apache-2.0
"""The attempts under way: run on their worker, cancelled, and what came of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import WorkerLost
from ..fleet import events as ev
from ..fleet import instructions as do
from ..types import Connection, ModelHandle, Result
from .failures import classify, ends_worker, typed

if TYPE_CHECKING:
    from ..protocols import Inputs, SessionId
    from .workers import Workers


#: A worker on which a cancelled run goes on for longer is lost.
CANCEL_TIMEOUT_S = 30.0


@attrs.frozen
class Call:
    """What a job asks of a worker: see `Worker.run`."""

    inputs: Inputs
    session: SessionId | None = None
    keep: Collection[str] = ()


@attrs.frozen(kw_only=True)
class Outcome:
    """Hold what an attempt found, and on what: its worker may be gone when it is asked for."""

    result: Result
    handle: ModelHandle
    connection: Connection


class Attempts:
    """Carry out the attempts of one runner."""

    def __init__(
        self,
        workers: Workers,
        *,
        post: Callable[[ev.FleetEvent], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._workers = workers
        self._post = post
        self._spawn = spawn
        self._running: dict[tuple[str, int], tuple[str, asyncio.Task[None]]] = {}

    def begin(self, order: do.Dispatch, call: Call, outcomes: dict[int, Outcome]) -> None:
        """Run an attempt in the background; what it finds is put among the job's outcomes."""
        key = (order.job_id, order.attempt)
        task = self._spawn(self._run(order, call, outcomes))
        self._running[key] = (order.worker_id, task)

        def ended(task: asyncio.Task[None]) -> None:
            self._running.pop(key, None)
            # A task cancelled before its first step never gets to report for itself.
            if task.cancelled():
                self._cancelled(order)

        task.add_done_callback(ended)

    def cancel(self, order: do.CancelAttempt) -> None:
        """Stop an attempt, and say when it has ended; a worker that does not stop it is lost."""
        _, task = self._running.get((order.job_id, order.attempt), (None, None))
        if task is None:
            self._cancelled(order)
            return
        task.cancel()
        limit = asyncio.get_running_loop().call_later(CANCEL_TIMEOUT_S, self._give_up, order)
        task.add_done_callback(lambda _: limit.cancel())

    def _cancelled(self, order: do.Dispatch | do.CancelAttempt) -> None:
        self._post(
            ev.AttemptCancelled(
                at_ns=time.perf_counter_ns(),
                job_id=order.job_id,
                attempt=order.attempt,
                worker_id=order.worker_id,
                epoch=order.epoch,
            )
        )

    def _give_up(self, order: do.CancelAttempt) -> None:
        live = self._workers.of_epoch(order.worker_id, order.epoch)
        if live is not None:
            message = f"a cancelled run did not stop within {CANCEL_TIMEOUT_S:g} s"
            error = WorkerLost(message, where=order.worker_id, reason="hang")
            self._workers.lose(order.worker_id, live, error)

    def cancel_on(self, worker_id: str) -> None:
        """Stop every attempt on a worker."""
        for where, task in list(self._running.values()):
            if where == worker_id:
                task.cancel()

    async def _run(self, order: do.Dispatch, call: Call, outcomes: dict[int, Outcome]) -> None:
        live = self._workers.of_epoch(order.worker_id, order.epoch)
        try:
            if live is None:
                raise WorkerLost("the worker is gone", where=order.worker_id)
            handle = live.handles[order.model]
            result = await live.worker.run(
                handle, call.inputs, session=call.session, keep=call.keep
            )
        except Exception as error:
            failure = typed(error, order.worker_id)
            if live is not None and ends_worker(failure):
                # The worker's whole epoch is over, not this attempt alone.
                self._workers.lose(order.worker_id, live, failure)
                return
            self._post(
                ev.AttemptFailed(
                    at_ns=time.perf_counter_ns(),
                    job_id=order.job_id,
                    attempt=order.attempt,
                    worker_id=order.worker_id,
                    epoch=order.epoch,
                    kind=classify(failure),
                    error=failure.info,
                )
            )
            return
        outcomes[order.attempt] = Outcome(result=result, handle=handle, connection=live.connection)
        self._post(
            ev.AttemptFinished(
                at_ns=time.perf_counter_ns(),
                job_id=order.job_id,
                attempt=order.attempt,
                worker_id=order.worker_id,
                epoch=order.epoch,
            )
        )
