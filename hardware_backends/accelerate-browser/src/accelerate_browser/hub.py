# SPDX-License-Identifier: Apache-2.0
"""What all browser backends of one host share: slots, bridges, and who is alive."""

from __future__ import annotations

import asyncio
import socket
import weakref
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from accelerate_core.hookspecs import Family
from accelerate_core.protocols import Context, Plugins

from .slots import Slot, SlotLease, SlotPool

if TYPE_CHECKING:
    from .bridge import Bridge
    from .worker import BrowserWorker


class Hub:
    """Share slots and bridges between backends, so that webgpu and wasm pages live at once.

    `join` and `leave` come in pairs; the last one to leave frees what is shared.
    """

    _by_host: ClassVar[weakref.WeakKeyDictionary[Plugins, Hub]] = weakref.WeakKeyDictionary()

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._members = 0
        self._pool = SlotPool(ctx.state_dir)
        self._bridges: list[Bridge] = []
        self._opening = asyncio.Lock()
        #: Live workers by id: kept tensors are relayed between them.
        self.workers: dict[str, BrowserWorker] = {}
        #: Takes over a slot's listening socket and returns another, on which the bridge is then
        #: reached through it: for faults on the wire. Set before the first page.
        self.relay: Callable[[socket.socket], Awaitable[socket.socket]] | None = None

    @classmethod
    def join(cls, ctx: Context) -> Hub:
        """Return the hub of this host, made when it is the first time."""
        if ctx.plugins not in cls._by_host:
            cls._by_host[ctx.plugins] = cls(ctx)
        hub = cls._by_host[ctx.plugins]
        hub._members += 1
        return hub

    async def leave(self) -> None:
        """Stop using the hub; the last one closes its bridges and gives its slots back."""
        self._members -= 1
        if self._members:
            return
        self._by_host.pop(self._ctx.plugins, None)
        for bridge in self._bridges:
            await bridge.close()
        await asyncio.to_thread(self._pool.close)

    async def lease(self, browser: str) -> SlotLease:
        """Lease a profile of a browser; when cancelled, the lease is given back."""
        acquiring = asyncio.ensure_future(asyncio.to_thread(self._pool.acquire, browser))
        try:
            return await asyncio.shield(acquiring)
        except asyncio.CancelledError:
            acquiring.add_done_callback(_give_back)
            raise

    async def bridge(self, slot: Slot) -> Bridge:
        """Return the bridge that serves a slot, opened when needed."""
        from .bridge import Bridge

        async with self._opening:
            if slot.bridge is None:
                listener = await self.relay(slot.socket) if self.relay else slot.socket
                bridge = Bridge(listener, self._ctx.log, port=slot.port)
                await bridge.open()
                slot.bridge = bridge
                self._bridges.append(bridge)
            bridge = slot.bridge
            assert isinstance(bridge, Bridge)
            return bridge


def create(ctx: Context, family: Family, name: str, settings: Mapping[str, Any], where: str) -> Any:
    """Create a plugin's object in a family that this distribution opens."""
    return opened(ctx, family).create(family.name, name, settings, where=where)


def opened(ctx: Context, family: Family) -> Plugins:
    """Return the plugins, which know `family` from now on."""
    ctx.plugins.add_family(family)
    return ctx.plugins


def _give_back(acquiring: asyncio.Future[SlotLease]) -> None:
    if not acquiring.cancelled() and acquiring.exception() is None:
        acquiring.result().release()
