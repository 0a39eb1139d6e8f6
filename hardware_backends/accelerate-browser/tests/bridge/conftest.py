# SPDX-License-Identifier: Apache-2.0
"""A bridge on a free port, and a page made of Python that speaks its protocol."""

from __future__ import annotations

import itertools
import logging
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from accelerate_browser import codec, frames
from accelerate_browser.bridge import Bridge, Connection, Invitation, server
from accelerate_browser.hookspecs.engine import EngineModule
from accelerate_browser.messages import PROTOCOL, FromHost, FromPage, Hello, Ready

LOG = logging.getLogger("test")


@attrs.define
class Page:
    """Speak as a page does, or as one should not."""

    bridge: Bridge
    session: aiohttp.ClientSession
    headers: dict[str, str]
    socket: aiohttp.ClientWebSocketResponse = attrs.field(default=None)
    streams: Any = attrs.field(factory=lambda: itertools.count(1))

    async def shake(self, token: str, **headers: str) -> aiohttp.ClientResponse:
        url = f"{self.bridge.origin.url}/handshake"
        return await self.session.post(
            url, json={"token": token}, headers={**self.headers, **headers}
        )

    async def open(self, connection: str, **headers: str) -> None:
        self.socket = await self.session.ws_connect(
            f"{self.bridge.origin.url}/socket?connection={connection}",
            headers={**self.headers, **headers},
            max_msg_size=frames.MAX_FRAME_BYTES,
        )

    async def enter(self, invitation: Invitation) -> None:
        answer = await self.shake(invitation.token)
        assert answer.status == 200, await answer.text()
        await self.open((await answer.json())["connection"])
        await self.send(
            Hello(
                protocol=PROTOCOL,
                user_agent="test",
                cross_origin_isolated=True,
                hardware_concurrency=2,
            )
        )

    async def send(self, message: FromPage | FromHost, inline: tuple[Any, ...] = ()) -> None:
        await self.socket.send_bytes(frames.encode_message(codec.encode(message), inline))

    async def hear(self) -> tuple[FromHost, frames.MessageFrame]:
        frame = frames.decode(await self.socket.receive_bytes(timeout=5))
        assert isinstance(frame, frames.MessageFrame)
        return codec.decode_from_host(frame.json), frame

    async def closed(self) -> tuple[int, str]:
        """Return the close code and reason once the host closed the socket."""
        while True:
            message = await self.socket.receive(timeout=5)
            if message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra or ""
            if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                return self.socket.close_code or 0, ""


@pytest.fixture
def engine(tmp_path: Path) -> EngineModule:
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / "engine.js").write_text("export const api = 1;")
    (folder / "ort.wasm").write_bytes(b"\0asm")
    return EngineModule(name="ort-wasm", folder=folder, options={"threads": 1})


@pytest.fixture
async def bridge(
    engine: EngineModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bridge]:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    (runtime / "index.html").write_text("<!doctype html><title>test</title>")
    (runtime / "main.js").write_text("// main")
    monkeypatch.setattr(server, "RUNTIME", runtime)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    bridge = Bridge(listener, LOG)
    await bridge.open()
    bridge.serve_engine(engine)
    yield bridge
    await bridge.close()


@pytest.fixture
async def new_page(bridge: Bridge) -> AsyncIterator[Callable[[], Page]]:
    pages: list[Page] = []

    def make() -> Page:
        jar = aiohttp.CookieJar(unsafe=True)  # the host is an address, not a name
        session = aiohttp.ClientSession(cookie_jar=jar)
        pages.append(Page(bridge, session, {"Origin": bridge.origin.url}))
        return pages[-1]

    yield make
    for page in pages:
        if page.socket is not None:
            await page.socket.close()
        await page.session.close()


@attrs.frozen
class Met:
    """A page and its host's side, past Welcome and Ready."""

    page: Page
    connection: Connection


@pytest.fixture
async def meet(
    bridge: Bridge, engine: EngineModule, new_page: Callable[[], Page]
) -> Callable[[], Any]:
    async def make() -> Met:
        page, invitation = new_page(), bridge.invite(engine, "wasm:chromium")
        await page.enter(invitation)
        connection = await invitation.connection
        message, _ = await page.hear()
        assert message == invitation.welcome
        await page.send(Ready(engine_version="test 1"))
        await connection.ready
        return Met(page, connection)

    return make
