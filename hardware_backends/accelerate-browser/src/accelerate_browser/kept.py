# SPDX-License-Identifier: Apache-2.0
"""Tensors that stay on a page: named by refs, fetched, relayed to other pages, released."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from accelerate_core.errors import ModelError, SessionLost, WorkerLost
from accelerate_core.types import TensorRef, TensorSpec

from . import codec
from .bridge import Answer, Build, Connection
from .codec import OnPage, Raw, Sendable
from .messages import Fetch, Release

if TYPE_CHECKING:
    from accelerate_core.types import Array

    from .hub import Hub


class KeptTensors:
    """Know which tensors one connection's page keeps; all go with its device."""

    def __init__(
        self,
        connection: Connection,
        hub: Hub,
        where: str,
        ask: Callable[[Build], Awaitable[Answer]],
    ) -> None:
        self._connection = connection
        self._hub = hub
        self._where = where
        self._ask = ask

    @property
    def _epoch(self) -> int:
        return self._connection.device_losses

    def holds(self, ref: TensorRef) -> bool:
        """Whether a tensor was made here, and with the device there is now."""
        return (ref.worker_id, ref.epoch) == (self._connection.id, self._epoch)

    async def fetch(self, ref: TensorRef) -> Array:
        """Copy a tensor to the host; ModelError when it is not here any more."""
        return codec.to_array(await self.fetch_raw(ref))

    async def fetch_raw(self, ref: TensorRef) -> Raw:
        """Copy a tensor to the host as it crosses: little-endian bytes."""
        self._check(ref)
        answer = await self._ask(lambda id, _: Fetch(id=id, ref=ref.id))
        (tensor,) = answer.tensors.values()
        if isinstance(tensor, OnPage):
            raise WorkerLost("the page answered a fetch without bytes", where=self._where)
        return tensor

    async def release(self, ref: TensorRef) -> None:
        """Drop a tensor; one that is gone with its device is no error."""
        if ref.worker_id == self._connection.id and ref.epoch < self._epoch:
            return
        self._check(ref)
        await self._ask(lambda id, _: Release(id=id, ref=ref.id))

    async def sendable(self, ref: TensorRef) -> Sendable:
        """Return a tensor as an input here: by name, or the bytes of one on another page.

        SessionLost when that page or its tensor is gone.
        """
        if ref.worker_id == self._connection.id:
            self._check(ref)
            sizes = tuple(size for size in ref.spec.shape if isinstance(size, int))
            return OnPage(ref.id, ref.spec.dtype, sizes)
        owner = self._hub.workers.get(ref.worker_id)
        reason = "which is gone or no page"
        if owner is not None:
            try:
                return await owner.tensors.fetch_raw(ref)
            except (WorkerLost, ModelError) as error:
                # The loss of another worker is none of this one.
                reason = f"and gone: {error.info.message}"
        raise SessionLost(
            f"tensor {ref.spec.name!r} is on {ref.worker_id}, {reason}",
            where=self._where,
            hint="Run the model that made it again, or fetch it in time, and pass the array.",
        )

    def output(self, name: str, tensor: Raw | OnPage) -> Array | TensorRef:
        """Return an output as callers get it."""
        if isinstance(tensor, Raw):
            return codec.to_array(tensor)
        spec = TensorSpec(name, tensor.dtype, tuple(tensor.shape))
        return TensorRef(self._connection.id, self._epoch, tensor.ref, spec)

    def _check(self, ref: TensorRef) -> None:
        if not self.holds(ref):
            lost = ref.worker_id == self._connection.id
            raise ModelError(
                f"tensor {ref.spec.name!r} is gone: "
                + ("the page's device was lost since" if lost else "it is on another worker"),
                where=self._where,
                hint="Run the model that made it again." if lost else None,
            )
