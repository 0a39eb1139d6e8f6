# SPDX-License-Identifier: Apache-2.0
"""A page's socket that breaks, stands still, is slow, or carries half an answer."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time

import attrs

from accelerate_core.errors import Unsupported, WorkerLost
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Context

from ..hookspecs.fault import Fault, Proof
from ..relay import Link
from ..victim import Victim

_SEEN_S = 5.0


class _OnLink(Fault):
    """Do something to the page's socket."""

    def __init__(self) -> None:
        self._link: Link | None = None

    def obstacle(self, victim: Victim) -> str | None:
        """Return why there is no wire to break."""
        return None if victim.link else "no relay stands between its page and the bridge"

    def take(self, victim: Victim) -> Link:
        """Return the victim's link, and remember it for `lift`."""
        self._link = victim.link
        if self._link is None:
            raise Unsupported(self.obstacle(victim) or "its socket is gone", where=victim.name)
        return self._link

    async def lift(self) -> None:
        """Let everything pass again."""
        if self._link is not None:
            self._link.delay_s = 0.0
            self._link.release()


class ConnectionLost(_OnLink):
    """Reset the page's TCP connection."""

    async def inject(self, victim: Victim) -> Proof:
        """Send RST to both sides and wait until the bridge has noticed."""
        link = self.take(victim)
        at_ns = time.perf_counter_ns()
        link.reset()
        await _noticed(victim)
        return Proof(at_ns=at_ns, seen=f"socket from port {link.host_end[1]} reset on both sides")


class Partition(_OnLink):
    """Let nothing pass, and tell neither side."""

    async def inject(self, victim: Victim) -> Proof:
        """Hold every byte, and see that pings get no answer."""
        link = self.take(victim)
        at_ns, before = time.perf_counter_ns(), link.up_bytes
        link.hold()
        await asyncio.sleep(0.05)
        if link.up_bytes != before and not link.is_held:
            raise WorkerLost("bytes passed a wire that was cut", where=victim.name)
        return Proof(at_ns=at_ns, seen=f"held after {before} bytes, none since")


@attrs.frozen(kw_only=True)
class LatencySettings:
    """Say how slow the wire gets."""

    #: Seconds that every byte is late, either way.
    delay_s: float = attrs.field(default=0.1, validator=attrs.validators.gt(0))


class NetworkLatency(_OnLink):
    """Make every byte late."""

    def __init__(self, settings: LatencySettings) -> None:
        super().__init__()
        self._settings = settings

    async def inject(self, victim: Victim) -> Proof:
        """Delay both ways, and see how long an answer of the page's script takes."""
        link = self.take(victim)
        at_ns = time.perf_counter_ns()
        link.delay_s = self._settings.delay_s
        took_s = await _round_trip(victim)
        if took_s < 2 * self._settings.delay_s:
            raise WorkerLost(f"a round trip took {took_s:.3f} s all the same", where=victim.name)
        return Proof(at_ns=at_ns, seen=f"a round trip takes {took_s * 1e3:.0f} ms")


@attrs.frozen(kw_only=True)
class InstabilitySettings:
    """Say how often the wire stands still, and for how long."""

    #: Longest time in seconds that nothing passes; each is drawn evenly from 0 on.
    stall_s: float = attrs.field(default=0.3, validator=attrs.validators.gt(0))
    #: Longest time in seconds that everything passes.
    pause_s: float = attrs.field(default=0.2, validator=attrs.validators.gt(0))
    seed: int = 0


class NetworkInstability(_OnLink):
    """Let the wire stand still again and again."""

    def __init__(self, settings: InstabilitySettings) -> None:
        super().__init__()
        self._settings = settings
        self._flapping: asyncio.Task[None] | None = None

    async def inject(self, victim: Victim) -> Proof:
        """Begin to stall, and see the first stall."""
        link = self.take(victim)
        at_ns = time.perf_counter_ns()
        self._flapping = asyncio.create_task(self._flap(link))
        await asyncio.sleep(0)
        if not link.is_held:
            raise WorkerLost("the wire did not stall", where=victim.name)
        return Proof(at_ns=at_ns, seen=f"stalls of up to {self._settings.stall_s:g} s began")

    async def lift(self) -> None:
        """Stop stalling."""
        if self._flapping is not None:
            self._flapping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._flapping
            self._flapping = None
        await super().lift()

    async def _flap(self, link: Link) -> None:
        chance = random.Random(self._settings.seed)
        while not link.closed.is_set():
            link.hold()
            await asyncio.sleep(chance.uniform(0, self._settings.stall_s))
            link.release()
            await asyncio.sleep(chance.uniform(0, self._settings.pause_s))


@attrs.frozen(kw_only=True)
class PartialSettings:
    """Say which answers are cut."""

    #: Bytes an answer has at least; a sign of life has fewer.
    at_least_bytes: int = attrs.field(default=160, validator=attrs.validators.ge(1))
    #: Seconds to wait for such an answer.
    within_s: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))


class PartialResult(_OnLink):
    """Let half of an answer through, then reset the connection."""

    def __init__(self, settings: PartialSettings) -> None:
        super().__init__()
        self._settings = settings

    async def inject(self, victim: Victim) -> Proof:
        """Wait for the next answer and cut it."""
        link = self.take(victim)
        link.cut_next(self._settings.at_least_bytes)
        try:
            at_ns, withheld = await asyncio.wait_for(
                asyncio.shield(link.cut), self._settings.within_s
            )
        except TimeoutError:
            raise WorkerLost("it gave no answer to cut", where=victim.name) from None
        await _noticed(victim)
        return Proof(at_ns=at_ns, seen=f"the last {withheld} bytes of an answer withheld, reset")


async def _noticed(victim: Victim) -> None:
    try:
        await asyncio.wait_for(asyncio.shield(victim.connection.lost), _SEEN_S)
    except TimeoutError:
        raise WorkerLost("the bridge did not notice a reset", where=victim.name) from None


async def _round_trip(victim: Victim) -> float:
    """Return how long an echo takes, in seconds; the page's script answers it."""
    from accelerate_browser.messages import Echo

    began = time.perf_counter()
    try:
        async with asyncio.timeout(_SEEN_S):
            await victim.connection.request(lambda id, headers: Echo(id=id, tensors=headers))
    except TimeoutError:
        raise WorkerLost("no echo came back", where=victim.name) from None
    return time.perf_counter() - began


class ConnectionLostPlugin:
    """Offer the fault `connection_lost`."""

    name = "connection_lost"

    @hookimpl
    def fault_create(self, settings: None, ctx: Context) -> Fault:
        """Return the fault."""
        return ConnectionLost()


class PartitionPlugin:
    """Offer the fault `partition`."""

    name = "partition"

    @hookimpl
    def fault_create(self, settings: None, ctx: Context) -> Fault:
        """Return the fault."""
        return Partition()


class NetworkLatencyPlugin:
    """Offer the fault `network_latency`."""

    name = "network_latency"
    settings = LatencySettings

    @hookimpl
    def fault_create(self, settings: LatencySettings, ctx: Context) -> Fault:
        """Return the fault."""
        return NetworkLatency(settings)


class NetworkInstabilityPlugin:
    """Offer the fault `network_instability`."""

    name = "network_instability"
    settings = InstabilitySettings

    @hookimpl
    def fault_create(self, settings: InstabilitySettings, ctx: Context) -> Fault:
        """Return the fault."""
        return NetworkInstability(settings)


class PartialResultPlugin:
    """Offer the fault `partial_result`."""

    name = "partial_result"
    settings = PartialSettings

    @hookimpl
    def fault_create(self, settings: PartialSettings, ctx: Context) -> Fault:
        """Return the fault."""
        return PartialResult(settings)
