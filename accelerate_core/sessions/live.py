# SPDX-License-Identifier: Apache-2.0
"""A session of the fleet: its state is on one worker at a time, and outlives that worker.

Checkpoints are taken now and then, and the inputs since the last one are kept. When the worker is
lost, the session is restored elsewhere and those runs are done again: the state is what it was,
and the run that failed is answered.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from ..errors import (
    AccelerateError,
    ConfigError,
    JobTimeout,
    ModelError,
    Overloaded,
    SessionLost,
    Unsupported,
)
from ..inputs import own_copy
from .seats import Seat

if TYPE_CHECKING:
    from ..running.runner import Runner
    from ..running.work import Answer, Work
    from ..types import Array

T = TypeVar("T")

_log = logging.getLogger("accelerate.session")

#: Runs kept to be done again, at most; a checkpoint is due then, whatever the interval.
MAX_KEPT = 256
#: A run moves its session so often, at most, before it fails with what the last worker said.
MAX_MOVES = 4
#: Errors of a run that never began, or that left the state as it was.
_HARMLESS = (ModelError, Unsupported, Overloaded, ConfigError)


class LiveSession:
    """Run a stateful model on its own past, in order, whatever becomes of its workers."""

    def __init__(
        self,
        runner: Runner,
        work_for: Callable[[Mapping[str, Array]], Work],
        *,
        state: bytes | None = None,
        sync_interval_s: float = 10.0,
        sync_runs: int | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Start nothing yet: `work_for` says with the first inputs what is loaded and where.

        A checkpoint is taken after a run when the last is `sync_interval_s` old or `sync_runs`
        runs ago. `state` is a checkpoint to begin with.
        """
        self._runner = runner
        self._work_for = work_for
        self._work: Work | None = None
        self._interval_s = sync_interval_s
        self._sync_runs = min(sync_runs or MAX_KEPT, MAX_KEPT)
        self._timeout_s = timeout_s
        self._seat: Seat | None = None
        self._state = state
        self._kept: list[dict[str, Array]] = []  # inputs of the runs since `_state`
        self._synced_at = time.monotonic()
        # Runs and checkpoints in the order they were asked for.
        self._turn = asyncio.Lock()
        self._syncing: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._was_seated = False
        self._is_closed = False
        #: Runs answered.
        self.runs = 0
        #: How often the state was brought to another worker.
        self.moves = 0

    async def run(self, inputs: Mapping[str, Array]) -> Answer:
        """Run once, after all runs asked for before.

        ModelError for wrong inputs, JobTimeout when no answer comes in time: the state is then as
        if this run had never been. WorkerLost when worker after worker is lost.
        """
        own = {name: own_copy(name, value) for name, value in inputs.items()}
        await self._turn.acquire()
        try:
            self._check_open()
            self._work = self._work or self._work_for(own)
            answer = await self._persistently(lambda: self._run_seated(own))
            self.runs += 1
            self._kept.append(own)
        except BaseException:
            self._turn.release()
            raise
        self._end_turn()
        return answer

    async def checkpoint(self) -> bytes:
        """Return the state after all runs asked for before, fit for `state=` of a new session."""
        async with self._turn:
            self._check_open()
            if self._kept:
                await self._persistently(self._sync_seated)
            if self._state is None:
                raise ModelError("the session has not run yet: there is no state")
            return self._state

    async def close(self) -> None:
        """Drop the session and its memory on the worker; safe to call twice."""
        self._is_closed = True
        async with self._turn:
            self._give_up()
            self._kept.clear()
        await asyncio.gather(*self._leaving)

    # --- inside: all of it in the session's turn ----------------------------------------------

    async def _persistently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do what needs the seat, on another one when it is lost."""
        for move in itertools.count():
            try:
                return await work()
            except _HARMLESS:
                raise
            except BaseException as error:
                # Nobody knows whether the worker has done the run: it is not asked again.
                self._give_up()
                if move == MAX_MOVES or not _can_move(error):
                    raise
                _log.warning("the session of %s moves: %s", self._name, error)
        raise AssertionError("the loop above ends by itself")

    async def _run_seated(self, inputs: Mapping[str, Array]) -> Answer:
        return await self._submit(await self._seated(), inputs)

    async def _sync_seated(self) -> None:
        await self._sync(await self._seated())

    async def _seated(self) -> Seat:
        """Return the seat, taken anew and brought up to date where there is none."""
        if self._seat is not None:
            return self._seat
        assert self._work is not None
        seat = await self._runner.seats.take(
            self._work, state=self._state, timeout_s=self._timeout_s
        )
        self._seat = seat
        self.moves += self._was_seated
        self._was_seated = True
        try:
            for inputs in self._kept:
                await self._submit(seat, inputs)
        except BaseException:
            self._give_up()
            raise
        return seat

    async def _submit(self, seat: Seat, inputs: Mapping[str, Array]) -> Answer:
        return await self._runner.submit(seat.work, inputs, seat=seat, timeout_s=self._timeout_s)

    def _end_turn(self) -> None:
        """Let the next one in, after a checkpoint in the background where one is due."""
        age_s = time.monotonic() - self._synced_at
        if len(self._kept) < self._sync_runs and age_s < self._interval_s:
            self._turn.release()
            return
        task = asyncio.get_running_loop().create_task(self._sync_quietly())
        task.add_done_callback(lambda _: self._turn.release())
        self._syncing = task

    async def _sync_quietly(self) -> None:
        assert self._seat is not None
        try:
            await self._sync(self._seat)
        except AccelerateError as error:
            _log.warning("no checkpoint of the session of %s: %s", self._name, error)
            self._give_up()

    async def _sync(self, seat: Seat) -> None:
        self._state = await self._runner.seats.checkpoint(seat, timeout_s=self._timeout_s)
        self._kept.clear()
        self._synced_at = time.monotonic()

    def _give_up(self) -> None:
        """Leave the seat, in the background."""
        seat, self._seat = self._seat, None
        if seat is not None:
            task = asyncio.get_running_loop().create_task(self._runner.seats.leave(seat))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def _check_open(self) -> None:
        if self._is_closed:
            raise SessionLost("this session is closed", hint="Open another.")

    @property
    def _name(self) -> str:
        return self._work.spec.name if self._work is not None else "a model"


def _can_move(error: BaseException) -> bool:
    """Whether another worker may do what this one did not; a job's time is over everywhere."""
    return isinstance(error, AccelerateError) and not isinstance(error, JobTimeout)
