# SPDX-License-Identifier: Apache-2.0
"""A page that lives while what computes in it does not."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING

import attrs

from accelerate_core.errors import AccelerateError, Unsupported, WorkerLost
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Context
from accelerate_core.testing.models import slow_chain, slow_input
from accelerate_core.types import LoadOptions

from ..hookspecs.fault import Fault, Proof
from ..victim import Victim, send, until

if TYPE_CHECKING:
    from accelerate_core.types import Result

_SEEN_S = 5.0
_LOOK_AGAIN_S = 0.01


class DeviceLost(Fault):
    """Take the page's GPU device away."""

    # A run that has only been sent waits in the page for the next device.
    hits_after_s = 0.02

    def obstacle(self, victim: Victim) -> str | None:
        """Return why there is no device to take."""
        if victim.worker.info.adapter is None:
            return f"{victim.worker.info.target.backend} holds no GPU device"
        return None if victim.gpu() else "its browser drives the GPU in no process of its own"

    async def inject(self, victim: Victim) -> Proof:
        """Kill the GPU's process, and wait for the page to say that its device is lost."""
        if reason := self.obstacle(victim):
            raise Unsupported(reason, where=victim.name)
        before = victim.connection.device_losses
        at_ns = await send(victim, victim.gpu(), signal.SIGKILL)
        if not await until(lambda: victim.connection.device_losses > before, _SEEN_S):
            raise WorkerLost("its page did not say that the device is lost", where=victim.name)
        return Proof(at_ns=at_ns, seen="the page said: device lost")


@attrs.frozen(kw_only=True)
class TimeoutSettings:
    """Say how long the compute thread is occupied."""

    #: Rows of a square matrix, multiplied with itself 64 times.
    size: int = attrs.field(default=1024, validator=attrs.validators.ge(64))


class ComponentTimeout(Fault):
    """Occupy the compute thread: the page's script answers, its work does not advance."""

    def __init__(self, settings: TimeoutSettings, ctx: Context) -> None:
        self._settings = settings
        self._ctx = ctx
        self._running: asyncio.Task[Result] | None = None

    async def inject(self, victim: Victim) -> Proof:
        """Run a long computation behind the fleet's back, and see the thread stuck in it."""
        worker, size = victim.worker, self._settings.size
        spec = slow_chain(self._ctx.assets)
        handle = await worker.load(spec, LoadOptions(dimensions={"n": size}))
        at_ns = time.perf_counter_ns()
        self._running = asyncio.create_task(worker.run(handle, slow_input(size)))
        seen = await self._stuck(victim)
        if seen is None:
            raise WorkerLost("its compute thread was not stuck", where=victim.name)
        return Proof(at_ns=at_ns, seen=seen)

    async def lift(self) -> None:
        """Give the computation up."""
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError, AccelerateError):
                await self._running
            self._running = None

    async def _stuck(self, victim: Victim) -> str | None:
        """Return what two answers of the page's script say, once the later shows no progress."""
        first = None
        ends_s = time.monotonic() + _SEEN_S
        while time.monotonic() < ends_s:
            pong = victim.connection.last_pong
            if self._running is None or self._running.done():
                return None
            if pong is not None and pong.running > 0:
                if first is not None and pong.sequence > first.sequence:
                    if pong.progress == first.progress:
                        signs = f"signs of life {first.sequence} and {pong.sequence}"
                        return f"{signs}, progress {pong.progress} at both"
                    first = pong
                first = first or pong
            await asyncio.sleep(_LOOK_AGAIN_S)
        return None


class DeviceLostPlugin:
    """Offer the fault `device_lost`."""

    name = "device_lost"

    @hookimpl
    def fault_create(self, settings: None, ctx: Context) -> Fault:
        """Return the fault."""
        return DeviceLost()


class ComponentTimeoutPlugin:
    """Offer the fault `component_timeout`."""

    name = "component_timeout"
    settings = TimeoutSettings

    @hookimpl
    def fault_create(self, settings: TimeoutSettings, ctx: Context) -> Fault:
        """Return the fault."""
        return ComponentTimeout(settings, ctx)
