# SPDX-License-Identifier: Apache-2.0
"""Requests, answers, streams, cancelling, and signs of life on one connection."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from accelerate_browser import codec, frames
from accelerate_browser.messages import (
    Bye,
    Cancel,
    Done,
    Echo,
    Failed,
    Notice,
    PageError,
    Ping,
    Pong,
    TensorHeader,
)

from accelerate_core import errors

Meet = Callable[[], Awaitable[Any]]


def _echo(id: int, headers: tuple[TensorHeader, ...]) -> Echo:
    return Echo(id=id, tensors=headers)


async def test_answers_find_their_requests_in_any_order(meet: Meet) -> None:
    met = await meet()
    requests = [
        asyncio.create_task(met.connection.request(_echo, {"x": np.full(2, i, np.int64)}))
        for i in range(5)
    ]
    heard = [await met.page.hear() for _ in requests]
    for message, frame in reversed(heard):
        await met.page.send(Done(id=message.id, tensors=message.tensors), (frame.inline,))
    for i, request in enumerate(requests):
        answer = await request
        assert codec.to_array(answer.tensors["x"]).tolist() == [i, i]


async def test_a_large_tensor_goes_and_comes_in_chunks_with_messages_between(meet: Meet) -> None:
    met = await meet()
    tensor = np.arange(5 << 20, dtype=np.uint8).reshape(5, -1)
    request = asyncio.create_task(met.connection.request(_echo, {"x": tensor}))
    message, _ = await met.page.hear()
    (header,) = message.tensors
    assert header.stream == 1 and header.offset is None
    assembler = frames.Assembler()
    assembler.announce(1, header.size_bytes)
    between, whole = 0, None
    await met.connection.tell(Ping(sequence=7))
    while whole is None:
        frame = frames.decode(await met.page.socket.receive_bytes(timeout=5))
        if isinstance(frame, frames.ChunkFrame):
            whole = assembler.accept(frame)
        else:
            between += 1
    assert between == 1 and bytes(whole[1]) == tensor.tobytes()
    await met.page.send(Done(id=message.id, tensors=(header,)))
    for number, chunk in enumerate(frames.encode_stream(1, tensor.reshape(-1))):
        await met.page.socket.send_bytes(chunk)
        await met.page.send(Notice(event="log", message=str(number)))
    answer = await request
    np.testing.assert_array_equal(codec.to_array(answer.tensors["x"]), tensor)
    assert met.connection.notices.qsize() >= 4


async def test_a_small_request_overtakes_a_large_one(meet: Meet) -> None:
    met = await meet()
    large = asyncio.create_task(met.connection.request(_echo, {"x": np.zeros(64 << 20, np.uint8)}))
    await met.page.hear()
    small = asyncio.create_task(met.connection.request(_echo, {"x": np.zeros(1)}))
    chunks = 0
    while isinstance(
        frames.decode(await met.page.socket.receive_bytes(timeout=5)), frames.ChunkFrame
    ):
        chunks += 1
    assert chunks < 48, "the small request waited for the large one"
    met.connection.lose("enough")
    await asyncio.gather(large, small, return_exceptions=True)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("model", errors.ModelError),
        ("unsupported", errors.Unsupported),
        ("unavailable", errors.BackendUnavailable),
        ("out_of_memory", errors.ModelError),
        ("device_lost", errors.WorkerLost),
        ("cancelled", errors.WorkerLost),
        ("internal", errors.PluginError),
        ("of the future", errors.PluginError),
    ],
)
async def test_a_failure_keeps_its_kind(meet: Meet, kind: str, expected: type[Exception]) -> None:
    met = await meet()
    request = asyncio.create_task(met.connection.request(_echo))
    message, _ = await met.page.hear()
    error = PageError(name="Error", message="it broke", stack="at x.js:1", kind=kind)
    await met.page.send(Failed(id=message.id, error=error))
    with pytest.raises(expected, match="it broke") as caught:
        await request
    assert caught.value.info.kind == expected.__name__
    assert type(pickle.loads(pickle.dumps(caught.value))) is expected
    assert caught.value.info.where == "wasm:chromium"


async def test_a_tensor_that_cannot_cross_is_refused_before_it_is_sent(meet: Meet) -> None:
    met = await meet()
    with pytest.raises(errors.ModelError, match="complex64"):
        await met.connection.request(_echo, {"x": np.zeros(2, np.complex64)})
    many = {str(i): np.zeros(4096, np.float64) for i in range(frames.MAX_STREAMS + 1)}
    with pytest.raises(errors.ModelError, match="large tensors"):
        await met.connection.request(_echo, many)
    request = asyncio.create_task(met.connection.request(_echo))
    message, _ = await met.page.hear()
    assert message.tensors == ()
    await met.page.send(Done(id=message.id))
    await request


@pytest.mark.parametrize("is_patient", [True, False])
async def test_cancelling_tells_the_page_and_waits_until_it_is_free(
    meet: Meet, is_patient: bool
) -> None:
    met = await meet()
    request = asyncio.create_task(met.connection.request(_echo, grace_ms=50))
    message, _ = await met.page.hear()
    request.cancel()
    cancel, _ = await met.page.hear()
    assert cancel == Cancel(id=message.id, grace_ms=50)
    assert not (await asyncio.wait([request], timeout=0.1))[0]
    if is_patient:
        error = PageError(name="AbortError", message="it was", kind="cancelled")
        await met.page.send(Failed(id=message.id, error=error))
    else:
        request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(request, 2)
    if not is_patient:
        await met.page.send(Done(id=message.id))  # late, and dropped
    again = asyncio.create_task(met.connection.request(_echo))
    message, _ = await met.page.hear()
    await met.page.send(Done(id=message.id))
    await again


async def test_everything_in_flight_fails_when_the_socket_goes(meet: Meet) -> None:
    met = await meet()
    requests = [asyncio.create_task(met.connection.request(_echo)) for _ in range(3)]
    await met.page.hear()
    await met.page.socket.close(code=4002, message=b"I give up")
    for request in requests:
        with pytest.raises(errors.WorkerLost, match="I give up"):
            await request
    with pytest.raises(errors.WorkerLost) as caught:
        await met.connection.request(_echo)
    assert caught.value.info.reason == "connection"


async def test_a_page_that_fails_as_a_whole_is_lost(meet: Meet) -> None:
    met = await meet()
    await met.page.send(Failed(id=None, error=PageError(name="Error", message="all is lost")))
    assert "all is lost" in str(await met.connection.lost)


async def test_signs_of_life_keep_a_page_and_silence_loses_it(meet: Meet) -> None:
    met = await meet()
    watch = asyncio.create_task(met.connection.watch(0.05, 0.2))
    for sequence in range(1, 9):
        message, _ = await met.page.hear()
        assert message == Ping(sequence=sequence)
        await met.page.send(Pong(sequence=sequence, progress=0, running=0))
    assert not met.connection.lost.done()
    async with asyncio.timeout(2):
        lost = await met.connection.lost
    assert "no sign of life" in str(lost)
    await watch


async def test_a_silent_page_is_doubted_early_and_trusted_again_when_it_is_heard(
    meet: Meet,
) -> None:
    met, told = await meet(), asyncio.Queue()
    watch = asyncio.create_task(met.connection.watch(0.05, 5, told.put_nowait))
    message, _ = await met.page.hear()
    await met.page.send(Pong(sequence=message.sequence, progress=0, running=0))
    async with asyncio.timeout(4):  # within 5 s it is lost
        first, second = await told.get(), await told.get()
    assert 50 < first < second and met.connection.is_silent
    await met.page.send(Notice(event="log"))  # anything is a sign of life
    async with asyncio.timeout(2):
        while await told.get() is not None:
            pass
    assert not met.connection.lost.done()
    met.connection.lose("enough")
    await watch


async def test_a_page_that_computes_says_so_apart_from_its_heartbeat(meet: Meet) -> None:
    met = await meet()
    for progress, running in ((4, 0), (5, 0), (6, 1), (6, 1), (7, 1)):
        await met.page.send(Pong(sequence=1, progress=progress, running=running))
    await met.page.send(Notice(event="log"))
    heard = []
    async with asyncio.timeout(2):
        while not heard or heard[-1] != "log":
            heard.append((await met.connection.notices.get()).event)
    assert heard == ["progress", "progress", "log"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("unavailable", "device_lost"), ("out_of_memory", "out_of_memory"), ("internal", "crash")],
)
async def test_a_page_that_fails_as_a_whole_says_why(meet: Meet, kind: str, reason: str) -> None:
    met = await meet()
    error = PageError(name="Error", message="all is lost", kind=kind)
    await met.page.send(Failed(id=None, error=error))
    assert (await met.connection.lost).info.reason == reason


async def test_a_page_that_stops_reading_is_lost_and_frees_the_sender(meet: Meet) -> None:
    met = await meet()
    sender = asyncio.create_task(met.connection.request(_echo, {"x": np.zeros(64 << 20, np.uint8)}))
    watch = asyncio.create_task(met.connection.watch(0.05, 0.3))
    async with asyncio.timeout(3):
        with pytest.raises(errors.WorkerLost, match="no sign of life"):
            await sender
        await watch


async def test_closing_says_goodbye(meet: Meet) -> None:
    met = await meet()
    closing = asyncio.create_task(met.connection.close("done"))
    message, _ = await met.page.hear()
    assert message == Bye(reason="done")
    assert (await met.page.closed())[0] == 1001
    await closing
    await met.connection.close("again")
