# SPDX-License-Identifier: Apache-2.0
"""Seats: a model on one worker of one epoch, held for what has to run just there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import attrs

from ..errors import AccelerateError, JobTimeout, SessionLost
from ..fleet import events as ev
from ..fleet.policy import Pin
from ..protocols import SessionId, Worker
from ..types import ModelHandle, TensorRef
from .checkpoint import state_pairs

if TYPE_CHECKING:
    from ..running.work import Answer, Work
    from ..running.workers import Workers

T = TypeVar("T")


@attrs.frozen(eq=False)
class Seat:
    """A model loaded on a worker, and the session that is open for it there."""

    pin: Pin
    work: Work
    handle: ModelHandle
    session: SessionId | None = None  #: None for a model without state


class Seats:
    """Take and leave seats on the workers of one runner."""

    def __init__(
        self,
        workers: Workers,
        *,
        load: Callable[..., Awaitable[Answer]],
        post: Callable[[ev.FleetEvent], None],
    ) -> None:
        self._workers = workers
        self._load = load
        self._post = post
        self._taken: Counter[Pin] = Counter()

    async def take(
        self,
        work: Work,
        *,
        state: bytes | None = None,
        avoid: tuple[str, ...] = (),
        timeout_s: float | None = None,
    ) -> Seat:
        """Load a model somewhere, not on the workers to `avoid`, and open a session if it has one.

        `state` is a checkpoint to go on from. SessionLost when the worker goes meanwhile; whatever
        loading a model raises.
        """
        answer = await self._load(work, None, avoid=avoid, timeout_s=timeout_s)
        live = self._workers.live.get(answer.worker_id)
        if live is None or live.connection is not answer.connection:
            raise _gone(answer.worker_id)
        pin = Pin(answer.worker_id, live.epoch)
        # The caller may know of state that whoever loaded the model did not.
        handle = attrs.evolve(answer.handle, spec=work.spec)
        self._count(pin, 1)
        try:
            session = None
            if state is not None:
                session = await _within(timeout_s, live.worker.restore(handle, state))
            elif "state" in work.spec.metadata:
                state_pairs(work.spec)
                session = await _within(timeout_s, live.worker.open_session(handle))
        except BaseException:
            self._count(pin, -1)
            raise
        return Seat(pin, work, handle, session)

    async def leave(self, seat: Seat) -> None:
        """Close a seat's session, where its worker is still there."""
        self._count(seat.pin, -1)
        if seat.session is None:
            return
        with contextlib.suppress(AccelerateError):  # it is gone already
            await self.worker(seat).close_session(seat.session)

    async def rewind(
        self, seat: Seat, state: bytes | None, *, timeout_s: float | None = None
    ) -> Seat:
        """Return a seat on the same worker, in another state; None is that of a new session."""
        worker = self.worker(seat)
        if seat.session is None:
            return seat
        opening = (
            worker.open_session(seat.handle)
            if state is None
            else worker.restore(seat.handle, state)
        )
        session = await _within(timeout_s, opening)
        with contextlib.suppress(SessionLost):
            await worker.close_session(seat.session)
        return attrs.evolve(seat, session=session)

    async def release(self, seat: Seat, ref: TensorRef) -> None:
        """Drop a tensor kept on a seat's worker, where that is still there."""
        with contextlib.suppress(AccelerateError):
            await self.worker(seat).release(ref)

    async def checkpoint(self, seat: Seat, *, timeout_s: float | None = None) -> bytes:
        """Return the state of a seat's session; WorkerLost or SessionLost when it is gone."""
        assert seat.session is not None
        return await _within(timeout_s, self.worker(seat).checkpoint(seat.session))

    def worker(self, seat: Seat) -> Worker:
        """Return the worker of a seat; SessionLost when it is gone."""
        live = self._workers.live.get(seat.pin.worker_id)
        if live is None or live.epoch != seat.pin.epoch:
            raise _gone(seat.pin.worker_id)
        return live.worker

    def _count(self, pin: Pin, more: int) -> None:
        self._taken[pin] += more
        count = self._taken[pin]
        if not count:
            del self._taken[pin]
        self._post(
            ev.SessionsOpen(
                at_ns=time.perf_counter_ns(),
                worker_id=pin.worker_id,
                epoch=pin.epoch,
                count=count,
            )
        )


async def _within(timeout_s: float | None, work: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(timeout_s):
            return await work
    except TimeoutError:
        raise JobTimeout(
            f"a session did not answer within {timeout_s:g} s",
            hint="Give it longer: [pool] job_timeout.",
        ) from None


def _gone(worker_id: str) -> SessionLost:
    return SessionLost("the worker of this session is gone", where=worker_id)
