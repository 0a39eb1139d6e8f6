# SPDX-License-Identifier: Apache-2.0
"""What runs models: backends and their workers. Asynchronous."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from ..errors import Unsupported
from ..types import (
    Availability,
    Chunk,
    LoadOptions,
    ModelHandle,
    ModelSpec,
    Result,
    Target,
    TensorRef,
    WorkerEvent,
    WorkerInfo,
)

if TYPE_CHECKING:
    from ..fleet.policy import Mend
    from ..types import Array
    from .context import Context

    Inputs: TypeAlias = Mapping[str, Array | TensorRef]

SessionId: TypeAlias = str


class Worker:
    """One live executor. Many models per worker; every call may raise `WorkerLost`."""

    info: WorkerInfo
    #: Takes tensors kept by other workers that relay; they cross the host as raw bytes.
    relays: bool = False

    async def load(self, spec: ModelSpec, options: LoadOptions | None = None) -> ModelHandle:
        """Load a model; ModelError when the worker cannot run it."""
        raise Unsupported("this worker cannot load models")

    async def run(
        self,
        model: ModelHandle,
        inputs: Inputs,
        *,
        session: SessionId | None = None,
        keep: Collection[str] = (),
    ) -> Result:
        """Run once. Outputs named in `keep` stay on the worker as `TensorRef`s.

        Cancelling the task cancels the run; it ends when the worker is free for another. ModelError
        for wrong names, dtypes or shapes.
        """
        raise Unsupported("this worker cannot run models")

    def stream(
        self, model: ModelHandle, inputs: Inputs, *, session: SessionId | None = None
    ) -> AsyncIterator[Chunk]:
        """Run and yield partial outputs as they come."""
        raise Unsupported("this worker does not stream")

    async def open_session(self, model: ModelHandle) -> SessionId:
        """Open state kept between runs: a KV cache, a recurrent state.

        `Sessions` of accelerate_core.sessions.kept is what workers that keep state are made of.
        """
        raise Unsupported("this worker keeps no sessions")

    async def checkpoint(self, session: SessionId) -> bytes:
        """Return a session's state between two runs; SessionLost when it is gone."""
        raise Unsupported("this worker keeps no sessions")

    async def restore(self, model: ModelHandle, state: bytes) -> SessionId:
        """Open a session from a checkpoint."""
        raise Unsupported("this worker keeps no sessions")

    async def close_session(self, session: SessionId) -> None:
        """Drop a session and its memory."""
        raise Unsupported("this worker keeps no sessions")

    async def fetch(self, ref: TensorRef) -> Array:
        """Copy a kept tensor to the host."""
        raise Unsupported("this worker keeps no tensors")

    async def release(self, ref: TensorRef) -> None:
        """Drop a kept tensor."""
        raise Unsupported("this worker keeps no tensors")

    async def unload(self, model: ModelHandle) -> None:
        """Drop a model and its memory."""
        raise Unsupported("this worker cannot unload models")

    async def mend(self, how: Mend) -> None:
        """Become as new by the given means, without models, sessions and kept tensors.

        What runs meanwhile fails. WorkerLost when that did not help; Mend.RESTART is not for it.
        """
        raise Unsupported("this worker cannot be mended")

    async def memory(self) -> int | None:
        """Return the bytes the worker's process tree holds (PSS), or None where unknown."""
        return None

    async def close(self, *, kill: bool = False) -> None:
        """Stop the worker and free all it holds. Safe to call twice; never raises WorkerLost."""

    async def events(self) -> AsyncIterator[WorkerEvent]:
        """Yield what happens unasked; ends when the worker is gone."""
        return
        yield  # an async generator


class Backend:
    """A way to execute, made once per host by `backend_create`."""

    #: `LoadOptions.dimensions` must fix every free dimension.
    needs_static_shapes: bool = False

    def loads_for_sizes(self, target: Target) -> bool:
        """Whether a load is for the sizes in `LoadOptions.dimensions`, where they are known."""
        return self.needs_static_shapes

    async def discover(self) -> Sequence[Availability]:
        """Say which targets exist here. Looks for binaries and packages; starts nothing."""
        raise Unsupported("this backend does not say what it can start")

    async def start(self, target: Target, ctx: Context) -> Worker:
        """Start a worker for a concrete target.

        BackendUnavailable names what is missing and how to get it. Whatever was started is
        stopped again when this raises or is cancelled.
        """
        raise Unsupported("this backend cannot start workers")

    async def close(self) -> None:
        """Free what all workers of this backend share. Called after the last worker closed."""
