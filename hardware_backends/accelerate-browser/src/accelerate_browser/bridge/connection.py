# SPDX-License-Identifier: Apache-2.0
"""One page's socket: requests out, answers in, streams both ways, signs of life."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import WSCloseCode, WSMsgType, web

from accelerate_core.errors import AccelerateError, ModelError, WorkerLost

from .. import codec, frames
from ..codec import Sendable
from ..frames import ChunkFrame, FrameError
from ..messages import (
    Bye,
    Cancel,
    Done,
    Echo,
    Failed,
    Fetch,
    FromHost,
    Hello,
    Load,
    Loaded,
    Notice,
    Ping,
    Pong,
    Ready,
    Release,
    Renew,
    Run,
    TensorHeader,
    Unload,
)
from ..problems import lost_page, to_error
from .answers import Answer, Answers

Request = Load | Run | Fetch | Release | Unload | Renew | Echo
#: Makes a request from its number and the headers of its tensors.
Build = Callable[[int, tuple[TensorHeader, ...]], Request]

_CLOSE_S = 2.0
_CANCEL_S = 0.2


class Connection:
    """Speak with one page. Everything in flight fails with WorkerLost when it is gone."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.WriteTransport,
        *,
        id: str,
        where: str,
        log: logging.Logger,
        on_refused: Callable[[str], None],
    ) -> None:
        self.id = id
        loop = asyncio.get_running_loop()
        #: Set by the page's first message.
        self.said_hello: asyncio.Future[Hello] = loop.create_future()
        #: Set by the page's Ready, or by what it said instead.
        self.ready: asyncio.Future[Ready] = loop.create_future()
        #: Set to the reason when the page is gone.
        self.lost: asyncio.Future[WorkerLost] = loop.create_future()
        self.notices: asyncio.Queue[Notice] = asyncio.Queue()
        #: How often the page lost its device, and with it every tensor it kept.
        self.device_losses = 0
        self.last_pong: Pong | None = None
        #: Asked once when the socket ends unasked: what it is a consequence of, or None.
        self.explain: Callable[[], Awaitable[WorkerLost | None]] | None = None
        self._socket = socket
        self._transport = transport
        self._where = where
        self._log = log
        self._on_refused = on_refused
        self._answers = Answers()
        self._waiting: dict[int, tuple[asyncio.Future[Answer], type[Loaded | Done]]] = {}
        self._given_up: set[int] = set()
        #: Requests that a page does not answer when they are cancelled: it has them in part only.
        self._unanswerable: set[int] = set()
        self._ids = itertools.count(1)
        self._streams = itertools.count(1)
        # One upload at a time keeps a small message at most one chunk away from the wire.
        self._upload = asyncio.Lock()
        self._unanswered_pings = 0
        self._heard_at = time.monotonic()

    @property
    def is_silent(self) -> bool:
        """Whether it left more than one question for a sign of life unanswered."""
        return self._unanswered_pings >= 2

    @property
    def peer(self) -> tuple[str, int] | None:
        """The page's end of the socket; None when it is gone."""
        address = self._transport.get_extra_info("peername")
        return (address[0], address[1]) if address else None

    def abort(self) -> None:
        """Break the socket as a network does: the page is lost when that is noticed."""
        self._transport.abort()

    # --- asking -------------------------------------------------------------------------------

    async def request(
        self, build: Build, tensors: Mapping[str, Sendable] | None = None, *, grace_ms: float = 1e3
    ) -> Answer:
        """Send a request and return its answer.

        Raises what the page failed with, typed; WorkerLost when it is gone; ModelError for
        tensors that cannot cross. Cancelling tells the page, and ends when the page says that it
        is free of the request, or is gone; cancelling again does not wait for that.
        """
        number = next(self._ids)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        try:
            await self._ask(number, build, tensors or {}, future)
            return await future
        except FrameError as error:
            raise ModelError(error.reason, where=self._where) from None
        except asyncio.CancelledError:
            if number in self._waiting and not self.lost.done():
                await self._withdraw(number, grace_ms)
            raise
        finally:
            self._waiting.pop(number, None)
            self._unanswerable.discard(number)
            if future.done():
                future.exception()

    async def _withdraw(self, number: int, grace_ms: float) -> None:
        """Tell the page that nobody waits any more, and wait for its answer where one comes."""
        _, expected = self._waiting[number]
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (answered, expected)
        try:
            await self._tell_soon(Cancel(id=number, grace_ms=grace_ms), _CANCEL_S)
            if number not in self._unanswerable:
                await asyncio.wait([answered])
        finally:
            if answered.done():
                answered.exception()  # nobody need ask
            else:
                self._given_up.add(number)

    async def tell(self, message: FromHost) -> None:
        """Send a message that has no answer."""
        await self._send(frames.encode_message(codec.encode(message)))

    async def _tell_soon(self, message: FromHost, within_s: float) -> None:
        """Send a message to a page that may read no more: it is queued, and waiting ends."""
        with contextlib.suppress(TimeoutError, WorkerLost):
            async with asyncio.timeout(within_s):
                await self.tell(message)

    async def _ask(
        self,
        number: int,
        build: Build,
        tensors: Mapping[str, Sendable],
        future: asyncio.Future[Answer],
    ) -> None:
        is_small = codec.fits_inline(tensors)
        # Streams are announced in the order of their numbers, so numbering needs the lock too.
        async with contextlib.nullcontext() if is_small else self._upload:
            packed = codec.pack(tensors, self._streams.__next__)
            request = build(number, packed.headers)
            frame = frames.encode_message(codec.encode(request), packed.inline)
            self._check_open()
            if packed.streams or isinstance(request, Renew):
                self._unanswerable.add(number)
            self._waiting[number] = (future, Loaded if isinstance(request, Load) else Done)
            await self._send(frame)
            for stream, data in packed.streams:
                for chunk in frames.encode_stream(stream, data):
                    await self._send(chunk)
        if not isinstance(request, Renew):
            self._unanswerable.discard(number)

    async def _send(self, frame: bytes) -> None:
        self._check_open()
        try:
            await self._socket.send_bytes(frame)
        except (ConnectionError, RuntimeError) as error:
            raise await self._ended(f"the page's socket broke: {error}") from error
        # A page that stopped reading blocks `send_bytes`; losing it unblocks with no error.
        self._check_open()

    def _check_open(self) -> None:
        if self.lost.done():
            raise self.lost.result()

    # --- hearing ------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Read until the socket closes; a broken rule closes it with a reason."""
        reason = "the page's socket closed"
        try:
            while (message := await self._socket.receive()).type is WSMsgType.BINARY:
                self._unanswered_pings = 0
                self._heard_at = time.monotonic()
                self._hear(message.data)
            if message.type is WSMsgType.TEXT:
                raise FrameError("only binary frames are spoken here")
            if message.type is WSMsgType.CLOSE:
                reason = f"the page closed its socket: {message.data} {message.extra or ''}".strip()
            elif message.type is WSMsgType.ERROR:
                reason = f"the page's socket broke: {message.data}"
                self._on_refused("frame")
        except FrameError as error:
            reason = f"the page broke the protocol: {error.reason}"
            self._on_refused("frame")
            await self.refuse(error.code, reason)
        finally:
            await self._ended(reason)

    def _hear(self, frame: bytes) -> None:
        read = frames.decode(frame)
        if isinstance(read, ChunkFrame):
            if answer := self._answers.chunk(read):
                self._settle(answer.message.id, answer)
            return
        message = codec.decode_from_page(read.json)
        if len(read.inline) and not isinstance(message, Done):
            raise FrameError("tensor bytes on a message that has none")
        if self.said_hello.done() == isinstance(message, Hello):
            raise FrameError("Hello comes first, and once")
        if isinstance(message, Done):
            if answer := self._answers.message(message, read.inline):
                self._settle(message.id, answer)
        elif isinstance(message, Loaded):
            self._settle(message.id, Answer(message, {}))
        elif isinstance(message, Failed):
            self._hear_failed(message)
        elif isinstance(message, Pong):
            self._hear_pong(message)
        elif isinstance(message, Notice):
            self.device_losses += message.event == "device_lost"
            if message.event == "log" and not self.ready.done():
                # No worker is there yet whose events could tell it.
                self._log.warning("%s: %s", self._where, message.message)
            else:
                self.notices.put_nowait(message)
        elif isinstance(message, Ready):
            if self.ready.done():
                raise FrameError("Ready comes once")
            self.ready.set_result(message)
        elif isinstance(message, Hello):
            self.said_hello.set_result(message)

    def _hear_pong(self, message: Pong) -> None:
        before, self.last_pong = self.last_pong, message
        if message.running and before is not None and message.progress != before.progress:
            self.notices.put_nowait(Notice(event="progress"))

    def _hear_failed(self, message: Failed) -> None:
        if message.error.stack:
            self._log.debug("%s: %s", self._where, message.error.stack)
        error = to_error(message.error, self._where)
        if message.id is not None:
            self._settle(message.id, error)
        elif not self.ready.done():
            self._fail_start(error)
        else:
            self.lose("the page failed", lost_page(message.error, self._where))

    def _settle(self, number: int, outcome: Answer | AccelerateError) -> None:
        if number in self._given_up:
            self._given_up.discard(number)
            return
        if number not in self._waiting:
            raise FrameError(f"an answer to request {number}, which is not open")
        future, expected = self._waiting.pop(number)
        if future.done():
            return  # its task is being cancelled
        if isinstance(outcome, AccelerateError):
            future.set_exception(outcome)
        elif isinstance(outcome.message, expected):
            future.set_result(outcome)
        else:
            raise FrameError(f"request {number} is not answered by that message")

    # --- living and dying ---------------------------------------------------------------------

    async def watch(
        self,
        interval_s: float,
        timeout_s: float,
        tell: Callable[[float | None], None] = lambda silent_ms: None,
    ) -> None:
        """Ask for signs of life until the page is lost or gives none for `timeout_s`.

        A page is asked once in a turn, idle or not, and twice while it owes an answer. One that
        left two questions unanswered is silent: `tell` gets how long in milliseconds, again at
        each turn, and None once the page is heard. Turns are counted, not seconds: a host that was
        busy itself doubts and loses nobody.
        """
        missed_s, was_silent = 0.0, False
        pings = itertools.count(1)
        while True:
            turn_s = interval_s / 2 if self._unanswered_pings else interval_s
            await asyncio.wait([self.lost], timeout=turn_s)
            if self.lost.done():
                return
            missed_s = missed_s + turn_s if self._unanswered_pings else 0.0
            if missed_s >= timeout_s:
                message = f"the page's script gave no sign of life for {timeout_s:g} s"
                self.lose(message, WorkerLost(message, where=self._where, reason="hang"))
                return
            if self.is_silent:
                was_silent = True
                tell((time.monotonic() - self._heard_at) * 1e3)
            elif was_silent:
                was_silent = False
                tell(None)
            self._unanswered_pings += 1
            await self._tell_soon(Ping(sequence=next(pings)), turn_s)

    async def _ended(self, reason: str) -> WorkerLost:
        """Declare the page gone after its socket; what ended the socket may lie deeper."""
        if self.lost.done() or self.explain is None:
            return self.lose(reason)
        return self.lose(reason, await self.explain())

    def lose(self, reason: str, error: WorkerLost | None = None) -> WorkerLost:
        """Declare the page gone, once; everything in flight fails. Returns the first reason."""
        if self.lost.done():
            return self.lost.result()
        lost = error or WorkerLost(reason, where=self._where, reason="connection")
        self.lost.set_result(lost)
        for future, _ in self._waiting.values():
            if not future.done():
                future.set_exception(lost)
        self._waiting.clear()
        self._fail_start(lost)
        self._answers.clear()
        # Aborting frees senders that wait for a page that reads no more.
        self._transport.abort()
        return lost

    def _fail_start(self, error: AccelerateError) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # nobody need ask

    async def close(self, reason: str) -> None:
        """Say goodbye and close the socket; gives a page that does not answer two seconds."""
        if not self.lost.done():
            await self._tell_soon(Bye(reason=reason), _CLOSE_S)
            await self._close_socket(WSCloseCode.GOING_AWAY, reason)
        self.lose(reason)

    async def refuse(self, code: int, reason: str) -> None:
        """Close the socket with a WebSocket close code and a reason."""
        await self._close_socket(code, reason)
        self.lose(reason)

    async def _close_socket(self, code: int, reason: str) -> None:
        message = reason.encode()[:120].decode(errors="ignore").encode()
        with contextlib.suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(_CLOSE_S):
                await self._socket.close(code=code, message=message)
