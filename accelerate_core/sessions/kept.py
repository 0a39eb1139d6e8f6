# SPDX-License-Identifier: Apache-2.0
"""The sessions of one worker: what backends that keep state are made of.

The state stays wherever the worker leaves outputs that are kept: as `TensorRef`s on a page, as
arrays in this process. A run that fails or is cancelled leaves the state as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs

from ..errors import AccelerateError, ModelError, SessionLost, did_you_mean
from ..inputs import describe
from ..protocols import SessionId
from ..types import ModelHandle, Result, TensorRef
from .checkpoint import Checkpoint, first_state, pack, state_pairs, unpack

if TYPE_CHECKING:
    from ..protocols import Inputs
    from ..types import Array

#: Runs a model once; outputs that are named may stay on the worker.
Step: TypeAlias = Callable[["Inputs", Collection[str]], Awaitable[Result]]


@attrs.define(eq=False)
class _Session:
    model: ModelHandle
    pairs: Mapping[str, str]  #: state output by state input
    runs: int = 0
    state: dict[str, Array | TensorRef] = attrs.field(factory=dict)
    is_closed: bool = False
    #: Two runs of one session never overlap.
    turn: asyncio.Lock = attrs.field(factory=asyncio.Lock)


class Keeper(Protocol):
    """A worker that keeps tensors."""

    def holds(self, ref: TensorRef) -> bool:
        """Whether a kept tensor is still there."""
        ...

    async def fetch(self, ref: TensorRef) -> Array:
        """See `Worker.fetch`."""
        ...

    async def release(self, ref: TensorRef) -> None:
        """See `Worker.release`."""
        ...


class Sessions:
    """Keep the state of a worker's sessions, each used by one run at a time."""

    def __init__(self, where: str, keeper: Keeper | None = None) -> None:
        """Set who keeps the tensors, where the worker does not return them all as arrays."""
        self._where = where
        self._keeper = keeper
        self._open: dict[SessionId, _Session] = {}
        self._releasing: set[asyncio.Task[None]] = set()

    def open(self, model: ModelHandle) -> SessionId:
        """Open a session whose state is zero; ModelError for a model that has none."""
        return self._add(_Session(model, state_pairs(model.spec)))

    def restore(self, model: ModelHandle, state: bytes) -> SessionId:
        """Open a session from a checkpoint; ModelError where it does not fit the model."""
        read = unpack(state, model.spec)
        pairs = state_pairs(model.spec)
        return self._add(_Session(model, pairs, read.runs, dict(read.tensors)))

    async def run(
        self,
        id: SessionId,
        model: ModelHandle,
        inputs: Inputs,
        step: Step,
        keep: Collection[str] = (),
    ) -> Result:
        """Run a session's model on its state; returns the outputs that are no state.

        SessionLost for a session that is not here, ModelError for one of another model.
        """
        session = self._find(id)
        if session.model.id != model.id:
            raise ModelError(
                f"the session is of {session.model.spec.name} ({session.model.id})",
                where=f"{self._where}, {model.spec.name} ({model.id})",
                hint="Run the model that the session was opened for.",
            )
        _check_names(session, inputs)
        async with self._turn(session, id):
            state = session.state or first_state(session.model.spec, inputs)
            try:
                result = await step({**inputs, **state}, (*session.pairs.values(), *keep))
            except AccelerateError:
                self._check_held(session, id)  # else it failed for want of its state
                raise
            # From here to the return nothing waits: the run counts, and is answered, or neither.
            outputs = dict(result.outputs)
            old, session.state = (
                session.state,
                {name: outputs.pop(made) for name, made in session.pairs.items()},
            )
            session.runs += 1
            self._drop(old)
        return attrs.evolve(result, outputs=outputs)

    async def checkpoint(self, id: SessionId) -> bytes:
        """Return a session's state between two runs; SessionLost for one that is not here."""
        session = self._find(id)
        async with self._turn(session, id):
            try:
                tensors = {name: await self._array(one) for name, one in session.state.items()}
            except AccelerateError:
                self._check_held(session, id)
                raise
            model = session.model.spec.sha256
            return pack(Checkpoint(model=model, runs=session.runs, tensors=tensors))

    async def close(self, id: SessionId) -> None:
        """Forget a session and drop what it holds; SessionLost for one that is not here."""
        session = self._find(id)
        del self._open[id]
        session.is_closed = True
        # Whoever has the turn works on the state, and drops it when done.
        if not session.turn.locked():
            await asyncio.gather(*self._drop(session.state))

    def close_all(self) -> None:
        """Forget every session: the worker, and all it kept, is gone."""
        for session in self._open.values():
            session.is_closed = True
            session.state = {}
        self._open.clear()

    async def close_model(self, model: ModelHandle) -> None:
        """Forget the sessions of a model that is unloaded."""
        for id in [id for id, one in self._open.items() if one.model.id == model.id]:
            await self.close(id)

    @contextlib.asynccontextmanager
    async def _turn(self, session: _Session, id: SessionId) -> AsyncIterator[None]:
        async with session.turn:
            self._find(id)  # it may have been closed meanwhile
            self._check_held(session, id)
            try:
                yield
            finally:
                if session.is_closed:
                    self._drop(session.state)

    async def _array(self, value: Array | TensorRef) -> Array:
        if not isinstance(value, TensorRef):
            return value
        assert self._keeper is not None
        return await self._keeper.fetch(value)

    def _check_held(self, session: _Session, id: SessionId) -> None:
        """Close a session whose state went with the worker's device, and say so."""
        refs = [one for one in session.state.values() if isinstance(one, TensorRef)]
        if self._keeper is not None and not all(map(self._keeper.holds, refs)):
            self._open.pop(id, None)
            session.is_closed = True
            raise _lost(f"the state of session {id!r} went with the device", self._where)

    def _drop(self, state: Mapping[str, Array | TensorRef]) -> list[asyncio.Task[None]]:
        loop = asyncio.get_running_loop()
        refs = [value for value in state.values() if isinstance(value, TensorRef)]
        tasks = [loop.create_task(self._free(ref)) for ref in refs]
        for task in tasks:
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)
        return tasks

    async def _free(self, ref: TensorRef) -> None:
        assert self._keeper is not None
        with contextlib.suppress(AccelerateError):  # it went with its worker or device
            await self._keeper.release(ref)

    def _add(self, session: _Session) -> SessionId:
        id = f"session-{uuid.uuid4().hex}"
        self._open[id] = session
        return id

    def _find(self, id: SessionId) -> _Session:
        if id not in self._open:
            raise _lost(f"session {id!r} is not open here (any more)", self._where)
        return self._open[id]


def _lost(message: str, where: str) -> SessionLost:
    return SessionLost(
        message, where=where, hint="Restore it from its last checkpoint, or open another."
    )


def _check_names(session: _Session, inputs: Inputs) -> None:
    spec = session.model.spec
    wanted = {one.name: one for one in spec.inputs if one.name not in session.pairs}
    for name in inputs:
        if name not in wanted:
            is_state = name in session.pairs
            raise ModelError(
                f"input {name!r} is the session's own state" if is_state else f"no input {name!r}",
                where=f"inputs of {spec.name} in a session",
                accepted=[describe(one) for one in wanted.values()],
                hint=None if is_state else did_you_mean(name, wanted),
            )
