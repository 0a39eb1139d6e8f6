# SPDX-License-Identifier: Apache-2.0
"""Strangers and broken pages: each is turned away, counted, and harms nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
import pytest
from accelerate_browser import codec, frames
from accelerate_browser.bridge import Bridge
from accelerate_browser.hookspecs.engine import EngineModule
from accelerate_browser.messages import (
    PROTOCOL,
    Done,
    Echo,
    Hello,
    Loaded,
    Notice,
    Pong,
    Ready,
    TensorHeader,
)

from accelerate_core.errors import BackendUnavailable, PluginError, WorkerLost

Meet = Callable[[], Awaitable[Any]]


async def assert_works(met: Any) -> None:
    """Whatever happened to others, this connection still answers."""
    request = asyncio.create_task(
        met.connection.request(
            lambda id, headers: Echo(id=id, tensors=headers), {"x": np.arange(3.0)}
        )
    )
    message, frame = await met.page.hear()
    await met.page.send(Done(id=message.id, tensors=message.tensors), (frame.inline,))
    answer = await request
    np.testing.assert_array_equal(codec.to_array(answer.tensors["x"]), np.arange(3.0))


async def test_a_token_works_once(bridge: Bridge, engine: EngineModule, new_page: Any) -> None:
    invitation = bridge.invite(engine, "wasm:chromium")
    page = new_page()
    assert (await page.shake("x" * 43)).status == 403
    answer = await page.shake(invitation.token)
    assert answer.status == 200
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
    assert (await page.shake(invitation.token)).status == 403
    assert bridge.refused["token"] == 2
    assert invitation.token not in repr(invitation) and "#" + invitation.token in invitation.url


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token": []}', b"\xff", b"[" * 4000, b"x" * 9000])
async def test_a_handshake_of_garbage_is_refused(
    bridge: Bridge, new_page: Any, body: bytes
) -> None:
    page = new_page()
    answer = await page.session.post(
        f"{bridge.origin.url}/handshake", data=body, headers=page.headers
    )
    assert answer.status in (403, 413)


@pytest.mark.parametrize(
    ("headers", "status", "word"),
    [
        ({"Origin": "http://evil.example"}, 403, "origin"),
        ({"Origin": "null"}, 403, "origin"),
        ({"Host": "evil.example"}, 421, "host"),
        ({"Host": "localhost"}, 421, "host"),
    ],
)
async def test_other_origins_and_names_are_refused_everywhere(
    bridge: Bridge,
    engine: EngineModule,
    new_page: Any,
    meet: Meet,
    headers: dict[str, str],
    status: int,
    word: str,
) -> None:
    good = await meet()
    stranger, invitation = new_page(), bridge.invite(engine, "wasm:chromium")
    assert (await stranger.shake(invitation.token, **headers)).status == status
    for path in ("/", "/runtime/main.js", "/engines/ort-wasm/engine.js", "/assets/x"):
        answer = await stranger.session.get(bridge.origin.url + path, headers=headers)
        assert answer.status == status, path
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await good.page.open(good.connection.id, **headers)
    assert caught.value.status == status
    assert bridge.refused[word] == 6
    # The token was not used up by the stranger.
    assert (await stranger.shake(invitation.token)).status == 200
    await assert_works(good)


async def test_a_handshake_or_socket_without_origin_is_refused(
    bridge: Bridge, engine: EngineModule, new_page: Any
) -> None:
    page, invitation = new_page(), bridge.invite(engine, "wasm:chromium")
    page.headers = {}
    assert (await page.shake(invitation.token)).status == 403
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await page.open("x")
    assert bridge.refused["origin"] == 2


async def test_a_socket_needs_its_own_cookie_and_comes_once(
    bridge: Bridge, engine: EngineModule, new_page: Any, meet: Meet
) -> None:
    good, other, stranger = await meet(), await meet(), new_page()
    for page in (stranger, other.page):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await page.open(good.connection.id)
        assert refused.value.status == 403
    with pytest.raises(aiohttp.WSServerHandshakeError) as twice:
        await good.page.open(good.connection.id)
    assert twice.value.status == 409
    assert bridge.refused["cookie"] == 2 and bridge.refused["socket"] == 1


async def test_only_listed_files_and_registered_assets_are_served(
    bridge: Bridge, new_page: Any, meet: Meet, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    asset = tmp_path / "asset"
    asset.write_bytes(b"weights")
    good, stranger = await meet(), new_page()
    url = bridge.origin.url
    bridge.serve_asset("ab12", asset)
    answer = await good.page.session.get(f"{url}/assets/ab12")
    assert await answer.read() == b"weights" and "immutable" in answer.headers["Cache-Control"]
    assert (await stranger.session.get(f"{url}/assets/ab12")).status == 403
    for path in (
        "/assets/cd34",
        "/assets/..%2Fsecret",
        "/runtime/..%2F..%2Fsecret",
        "/runtime/..%5Csecret",
        "/engines/ort-wasm/..%2F..%2Fsecret",
        "/engines/../secret",
        "/engines/nothing/engine.js",
        "/runtime/",
        "/secret",
    ):
        answer = await good.page.session.get(aiohttp.client.URL(url + path, encoded=True))
        assert answer.status == 404, path
        assert "secret" not in await answer.text()


async def test_files_come_with_their_types_and_isolating_headers(
    bridge: Bridge, new_page: Any
) -> None:
    page = new_page()
    for path, kind, caching in (
        ("/", "text/html", "no-store"),
        ("/runtime/main.js", "text/javascript", "no-cache"),
        ("/engines/ort-wasm/ort.wasm", "application/wasm", "no-cache"),
        ("/nothing", "text/plain", "no-store"),
    ):
        answer = await page.session.get(bridge.origin.url + path)
        assert answer.content_type == kind
        assert answer.headers["Cache-Control"] == caching
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def _message(message: Any, inline: tuple[bytes, ...] = ()) -> bytes:
    return frames.encode_message(codec.encode(message), inline)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"garbage", 1002),
        ("text", 1002),
        (frames.encode_message(b"{}"), 1002),
        (frames.encode_message(b'{"type": "Bye"}'), 1002),
        (frames.encode_chunk(1, 0, b"x", is_last=True), 1002),
        (_message(Done(id=99)), 1002),
        (_message(Loaded(id=99, model="m", fetch_ms=0, compile_ms=0)), 1002),
        (_message(Ready(engine_version="again")), 1002),
        (_message(Pong(sequence=1, progress=0, running=0), (b"x",)), 1002),
        (
            _message(
                Hello(protocol=1, user_agent="", cross_origin_isolated=True, hardware_concurrency=1)
            ),
            1002,
        ),
        (bytes(frames.MAX_FRAME_BYTES + 1), 1009),
    ],
)
async def test_a_page_that_breaks_the_protocol_loses_its_socket_and_harms_nobody(
    bridge: Bridge, meet: Meet, frame: bytes | str, code: int
) -> None:
    good, bad = await meet(), await meet()
    if isinstance(frame, str):
        await bad.page.socket.send_str(frame)
    else:
        await bad.page.socket.send_bytes(frame)
    closed, _ = await bad.page.closed()
    assert closed == code
    assert bridge.refused["frame"] == 1
    with pytest.raises(WorkerLost):
        await bad.connection.request(lambda id, headers: Echo(id=id, tensors=headers))
    await assert_works(good)


_HEADER = TensorHeader(name="x", dtype="uint8", shape=(8,), size_bytes=8)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([msgspec.structs.replace(_HEADER, offset=0, size_bytes=9)], "disagree"),
        ([msgspec.structs.replace(_HEADER, offset=8)], "outside"),
        ([_HEADER], "exactly one place"),
        ([msgspec.structs.replace(_HEADER, offset=0, stream=1)], "exactly one place"),
        ([msgspec.structs.replace(_HEADER, offset=0)] * 2, "two tensors"),
        ([msgspec.structs.replace(_HEADER, stream=0)], "announced"),
        ([msgspec.structs.replace(_HEADER, stream=1, shape=(0,), size_bytes=0)], "0 bytes"),
    ],
)
async def test_an_answer_that_lies_about_its_tensors_is_refused(
    bridge: Bridge, meet: Meet, headers: list[TensorHeader], reason: str
) -> None:
    met = await meet()
    request = asyncio.create_task(
        met.connection.request(lambda id, headers: Echo(id=id, tensors=headers))
    )
    message, _ = await met.page.hear()
    await met.page.send(Done(id=message.id, tensors=tuple(headers)), (bytes(8),))
    assert (await met.page.closed())[0] == 1002
    with pytest.raises(WorkerLost, match=reason):
        await request
    assert bridge.refused["frame"] == 1


async def test_a_reason_goes_with_the_close(meet: Meet) -> None:
    met = await meet()
    await met.page.socket.send_bytes(b"x" * 20)
    _, reason = await met.page.closed()
    assert "magic" in reason
    assert "magic" in str(await met.connection.lost)


async def test_a_page_of_another_protocol_is_refused(
    bridge: Bridge, engine: EngineModule, new_page: Any
) -> None:
    page, invitation = new_page(), bridge.invite(engine, "wasm:chromium")
    answer = await page.shake(invitation.token)
    await page.open((await answer.json())["connection"])
    await page.send(
        Hello(
            protocol=PROTOCOL + 1,
            user_agent="",
            cross_origin_isolated=True,
            hardware_concurrency=1,
        )
    )
    with pytest.raises(BackendUnavailable, match="protocol 2"):
        await invitation.connection
    assert (await page.closed())[0] == 1008
    assert bridge.refused["hello"] == 1


async def test_a_page_that_says_something_else_first_is_refused(
    bridge: Bridge, engine: EngineModule, new_page: Any
) -> None:
    page, invitation = new_page(), bridge.invite(engine, "wasm:chromium")
    answer = await page.shake(invitation.token)
    await page.open((await answer.json())["connection"])
    await page.send(Notice(event="log"))
    assert (await page.closed())[0] == 1002
    with pytest.raises(BackendUnavailable, match="Hello comes first"):
        await invitation.connection


async def test_a_withdrawn_invitation_opens_nothing(
    bridge: Bridge, engine: EngineModule, new_page: Any
) -> None:
    early, late = new_page(), new_page()
    invitation = bridge.invite(engine, "wasm:chromium")
    answer = await early.shake(invitation.token)
    bridge.uninvite(invitation)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await early.open((await answer.json())["connection"])
    assert (await late.shake(invitation.token)).status == 403


async def test_an_engine_that_was_not_built_is_refused(bridge: Bridge, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="not built"):
        bridge.serve_engine(EngineModule(name="ort-none", folder=tmp_path / "none"))
