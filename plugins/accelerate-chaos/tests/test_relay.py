# SPDX-License-Identifier: Apache-2.0
"""The relay does to real sockets what it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import attrs
import pytest
from accelerate_chaos.relay import Link, Relay

from accelerate_core.testing.waiting import until


@attrs.frozen
class Wire:
    """Both ends of a relayed connection."""

    relay: Relay
    link: Link
    page: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    host: tuple[asyncio.StreamReader, asyncio.StreamWriter]

    async def up(self, data: bytes) -> bytes:
        self.page[1].write(data)
        return await asyncio.wait_for(self.host[0].readexactly(len(data)), 5)

    async def down(self, data: bytes) -> bytes:
        self.host[1].write(data)
        return await asyncio.wait_for(self.page[0].readexactly(len(data)), 5)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    relay = Relay()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    inner = await relay.insert(listener)
    arrived: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    arrived = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda *ends: arrived.set_result(ends), sock=inner)
    page = await asyncio.open_connection("127.0.0.1", port)
    page[1].write(b"hello")
    host = await asyncio.wait_for(arrived, 5)
    assert await host[0].readexactly(5) == b"hello"
    link = relay.link(host[1].get_extra_info("peername"))
    assert link is not None
    yield Wire(relay, link, page, host)
    await relay.close()
    server.close()
    for _, writer in (page, host):
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_bytes_pass_both_ways(wire: Wire) -> None:
    large = bytes(range(256)) * 4096
    assert await wire.up(large) == large
    assert await wire.down(large) == large


async def test_a_reset_reaches_both_ends(wire: Wire) -> None:
    wire.link.reset()
    for reader, _ in (wire.page, wire.host):
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 5)
    await until(lambda: wire.relay.link(wire.link.host_end) is None)


async def test_what_is_held_passes_when_it_is_released(wire: Wire) -> None:
    wire.link.hold()
    wire.page[1].write(b"late")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wire.host[0].readexactly(4), 0.2)
    wire.link.release()
    assert await asyncio.wait_for(wire.host[0].readexactly(4), 5) == b"late"


async def test_delay_is_latency_not_less_bandwidth(wire: Wire) -> None:
    wire.link.delay_s = 0.2
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert len(await wire.up(bytes(1 << 20))) == 1 << 20
    took = loop.time() - began
    assert 0.2 <= took < 2.0, "sixteen reads and more, each delayed, would take 3.2 s"


async def test_an_answer_is_cut_in_half_and_the_wire_reset(wire: Wire) -> None:
    wire.link.cut_next(100)
    assert await wire.up(b"small") == b"small"
    wire.page[1].write(bytes(200))
    assert len(await asyncio.wait_for(wire.host[0].readexactly(100), 5)) == 100
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(wire.host[0].read(1), 5)
    assert wire.link.cut.result()[1] == 100


async def test_a_goodbye_passes_too(wire: Wire) -> None:
    wire.page[1].close()
    assert await asyncio.wait_for(wire.host[0].read(), 5) == b""
