# SPDX-License-Identifier: Apache-2.0
"""A TCP relay between pages and their bridge, on the pages' own port: where the wire breaks.

A page asks the port of its slot, so its Host and Origin are what the bridge expects. Bytes pass
unread; what a link is told to do to them happens to a real socket on either side.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time

_READ_BYTES = 1 << 16
_HELD_READS = 64
#: SO_LINGER on, for zero seconds: closing sends RST instead of FIN.
_ABRUPT = struct.pack("ii", 1, 0)


class Link:
    """One TCP connection of a page, in two halves."""

    def __init__(self, page: asyncio.StreamWriter, host: asyncio.StreamWriter) -> None:
        self._page = page
        self._host = host
        self._open = asyncio.Event()
        self._open.set()
        self._cut_from: int | None = None
        #: Seconds that every byte is late, either way.
        self.delay_s = 0.0
        #: Bytes that reached the bridge.
        self.up_bytes = 0
        #: Set to the moment (perf_counter_ns) and the bytes withheld, once an answer was cut.
        self.cut: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()

    @property
    def host_end(self) -> tuple[str, int]:
        """The address the bridge sees this link come from."""
        address: tuple[str, int] = self._host.get_extra_info("sockname")
        return address

    @property
    def is_held(self) -> bool:
        """Whether nothing passes."""
        return not self._open.is_set()

    def hold(self) -> None:
        """Let nothing pass, and let neither side know."""
        self._open.clear()

    def release(self) -> None:
        """Let everything pass that was held."""
        self._open.set()

    def cut_next(self, at_least: int) -> None:
        """Pass on half of the next piece from the page that has this many bytes, then reset."""
        self._cut_from = at_least

    def reset(self) -> None:
        """Reset both connections: neither side hears a goodbye."""
        for writer in (self._page, self._host):
            raw = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABRUPT)
            writer.transport.abort()
        self._open.set()
        self.closed.set()

    async def pump(self, page: asyncio.StreamReader, host: asyncio.StreamReader) -> None:
        """Pass bytes both ways until either side ends or the link is reset."""
        halves = [
            asyncio.create_task(self._pass(page, self._host, is_up=True)),
            asyncio.create_task(self._pass(host, self._page, is_up=False)),
        ]
        ended = asyncio.create_task(self.closed.wait())
        try:
            await asyncio.wait([*halves, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*halves, ended):
                task.cancel()
            await asyncio.gather(*halves, ended, return_exceptions=True)
            self._page.close()
            self._host.close()
            self.closed.set()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool
    ) -> None:
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_HELD_READS)
        reading = asyncio.create_task(self._read(reader, held))
        loop = asyncio.get_running_loop()
        try:
            while True:
                came_s, data = await held.get()
                if not data:
                    return
                await self._open.wait()
                if (wait_s := came_s + self.delay_s - loop.time()) > 0:
                    await asyncio.sleep(wait_s)
                    await self._open.wait()
                if is_up and self._cut_from is not None and len(data) >= self._cut_from:
                    await self._cut(writer, data)
                    return
                writer.write(data)
                await writer.drain()
                self.up_bytes += len(data) * is_up
        except ConnectionError:
            return
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(
        self, reader: asyncio.StreamReader, held: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        loop = asyncio.get_running_loop()
        data = b"-"
        while data:
            try:
                data = await reader.read(_READ_BYTES)
            except ConnectionError:
                data = b""
            await held.put((loop.time(), data))

    async def _cut(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        kept = len(data) // 2
        writer.write(data[:kept])
        await writer.drain()
        # A reset throws away what the other side has not read yet: let it read the half.
        await asyncio.sleep(0.02)
        if not self.cut.done():
            self.cut.set_result((time.perf_counter_ns(), len(data) - kept))
        self.reset()


class Relay:
    """All links of one host; `insert` is a hub's `relay`."""

    def __init__(self) -> None:
        self._links: set[Link] = set()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def insert(self, listener: socket.socket) -> socket.socket:
        """Serve a slot's listening socket, and return the one its bridge shall listen on."""
        inner = socket.create_server(("127.0.0.1", 0))
        port = inner.getsockname()[1]

        async def accepted(reader: asyncio.StreamReader, page: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                await self._accept(reader, page, port)
            finally:
                self._tasks.discard(task)

        self._servers.append(await asyncio.start_server(accepted, sock=listener))
        return inner

    def link(self, host_end: tuple[str, int]) -> Link | None:
        """Return the live link that the bridge sees come from this address."""
        return next((one for one in self._links if one.host_end == host_end), None)

    async def close(self) -> None:
        """Stop serving and reset what is left. Safe to call twice."""
        for server in self._servers:
            server.close()
        for link in list(self._links):
            link.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(
        self, reader: asyncio.StreamReader, page: asyncio.StreamWriter, port: int
    ) -> None:
        try:
            host_reader, host = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            page.close()
            return
        link = Link(page, host)
        self._links.add(link)
        try:
            await link.pump(reader, host_reader)
        finally:
            self._links.discard(link)
