# SPDX-License-Identifier: Apache-2.0
"""The frame codec: one WebSocket binary message is one frame. Pure; bytes in, bytes out.

Little-endian header of 16 bytes, then the payload:

    offset  type  field
    0       u8    magic 0xAC
    1       u8    version 1
    2       u8    kind: 1 = message, 2 = chunk
    3       u8    flags: bit 0 = last chunk of its stream
    4       u32   message: length of the JSON; chunk: stream number
    8       u64   message: length of the inline tensor bytes; chunk: byte offset in its stream

A message's payload is JSON, zero padding to a multiple of 8, and the inline tensor bytes. A
chunk's payload is raw bytes. Tensors of at most INLINE_BYTES in total travel inside their
message; larger ones follow as streams of chunks, in order, with other frames between.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import attrs
import numpy as np

MAGIC = 0xAC
VERSION = 1
HEADER_BYTES = 16
KIND_MESSAGE = 1
KIND_CHUNK = 2
FLAG_LAST = 1
#: Inline tensor bytes and each tensor in them start at a multiple of this.
ALIGNMENT = 8

CHUNK_BYTES = 1 << 20
INLINE_BYTES = 256 << 10
MAX_FRAME_BYTES = 2 << 20
MAX_JSON_BYTES = 1 << 20
MAX_TENSOR_BYTES = 4 << 30
MAX_STREAMS = 64
#: WebSocket close codes of RFC 6455, section 7.4.1.
PROTOCOL_ERROR = 1002
POLICY_VIOLATION = 1008
TOO_BIG = 1009

_HEADER = struct.Struct("<BBBBIQ")
_PAD = b"\0" * ALIGNMENT

Buffer: TypeAlias = bytes | bytearray | memoryview


class FrameError(Exception):
    """Say why a connection must be closed; `code` is the WebSocket close code."""

    def __init__(self, reason: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


@attrs.frozen
class MessageFrame:
    """Hold a message's JSON and the inline bytes its tensors lie in; views, not copies."""

    json: memoryview
    inline: memoryview


@attrs.frozen
class ChunkFrame:
    """Hold one piece of a stream; a view, not a copy."""

    stream: int
    offset: int
    is_last: bool
    data: memoryview


def aligned(size: int) -> int:
    """Return `size` rounded up to the alignment of tensors."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def encode_message(json: bytes, inline: Sequence[Buffer] = ()) -> bytes:
    """Return a message frame; each inline part starts aligned, in the order given.

    FrameError when it would break a limit.
    """
    if len(json) > MAX_JSON_BYTES:
        raise FrameError(f"a message of {len(json)} bytes exceeds {MAX_JSON_BYTES}", TOO_BIG)
    parts: list[Buffer] = [b"", json, _PAD[: aligned(len(json)) - len(json)]]
    size = 0
    for part in inline:
        padding = aligned(size) - size
        parts += (_PAD[:padding], part)
        size += padding + len(part)
    parts[0] = _HEADER.pack(MAGIC, VERSION, KIND_MESSAGE, 0, len(json), size)
    frame = b"".join(parts)
    if len(frame) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(frame)} bytes exceeds {MAX_FRAME_BYTES}", TOO_BIG)
    return frame


def encode_chunk(stream: int, offset: int, data: Buffer, *, is_last: bool) -> bytes:
    """Return a chunk frame; FrameError when it would break a limit."""
    if HEADER_BYTES + len(data) > MAX_FRAME_BYTES:
        raise FrameError(f"a chunk of {len(data)} bytes exceeds a frame", TOO_BIG)
    flags = FLAG_LAST if is_last else 0
    return b"".join((_HEADER.pack(MAGIC, VERSION, KIND_CHUNK, flags, stream, offset), data))


def encode_stream(stream: int, data: Buffer) -> Iterator[bytes]:
    """Yield the chunk frames of one tensor, in order, each made when it is asked for."""
    view = memoryview(data).cast("B")
    for offset in range(0, len(view), CHUNK_BYTES):
        end = offset + CHUNK_BYTES
        yield encode_chunk(stream, offset, view[offset:end], is_last=end >= len(view))


def decode(frame: Buffer) -> MessageFrame | ChunkFrame:
    """Read one frame; FrameError for anything this version does not write."""
    view = memoryview(frame).toreadonly()
    if len(view) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(view)} bytes exceeds {MAX_FRAME_BYTES}", TOO_BIG)
    if len(view) < HEADER_BYTES:
        raise FrameError(f"a frame of {len(view)} bytes is shorter than its header")
    magic, version, kind, flags, first, second = _HEADER.unpack_from(view)
    if magic != MAGIC or version != VERSION:
        raise FrameError(f"magic {magic:#x} version {version} is not {MAGIC:#x} {VERSION}")
    if kind == KIND_MESSAGE:
        return _message(view, flags, first, second)
    if kind == KIND_CHUNK:
        return _chunk(view, flags, first, second)
    raise FrameError(f"unknown frame kind {kind}")


def _message(view: memoryview, flags: int, json_bytes: int, inline_bytes: int) -> MessageFrame:
    if flags:
        raise FrameError(f"unknown flags {flags:#x} on a message")
    if json_bytes > MAX_JSON_BYTES:
        raise FrameError(f"a message of {json_bytes} bytes exceeds {MAX_JSON_BYTES}", TOO_BIG)
    start = HEADER_BYTES + aligned(json_bytes)
    if start + inline_bytes != len(view):
        raise FrameError("a message frame's lengths do not add up to its size")
    if any(view[HEADER_BYTES + json_bytes : start]):
        raise FrameError("padding that is not zero")
    return MessageFrame(view[HEADER_BYTES : HEADER_BYTES + json_bytes], view[start:])


def _chunk(view: memoryview, flags: int, stream: int, offset: int) -> ChunkFrame:
    if flags & ~FLAG_LAST:
        raise FrameError(f"unknown flags {flags:#x} on a chunk")
    if len(view) == HEADER_BYTES:
        raise FrameError("an empty chunk")
    return ChunkFrame(stream, offset, bool(flags & FLAG_LAST), view[HEADER_BYTES:])


class Assembler:
    """Put the chunks of interleaved streams together, each in a buffer allocated once."""

    def __init__(self) -> None:
        self._open: dict[int, _Stream] = {}
        self._last = 0

    @property
    def open_streams(self) -> int:
        """How many announced streams are not complete."""
        return len(self._open)

    def announce(self, stream: int, size_bytes: int) -> None:
        """Expect a stream; FrameError for a number used before or a broken limit."""
        if stream <= self._last or stream > 0xFFFFFFFF:
            raise FrameError(f"stream {stream} announced after stream {self._last}")
        if size_bytes <= 0:
            raise FrameError(f"a stream of {size_bytes} bytes")
        if size_bytes > MAX_TENSOR_BYTES:
            raise FrameError(f"a stream of {size_bytes} bytes", TOO_BIG)
        if len(self._open) >= MAX_STREAMS:
            raise FrameError(f"more than {MAX_STREAMS} open streams", POLICY_VIOLATION)
        try:
            self._open[stream] = _Stream(size_bytes)
        except MemoryError:
            raise FrameError(f"no memory for a stream of {size_bytes} bytes", TOO_BIG) from None
        self._last = stream

    def accept(self, chunk: ChunkFrame) -> tuple[int, memoryview] | None:
        """Take a chunk; the stream's number and bytes when it is complete.

        FrameError for a chunk that was not announced, is out of order or too long.
        """
        stream = self._open.get(chunk.stream)
        if stream is None:
            raise FrameError(f"a chunk of stream {chunk.stream}, which is not open")
        if chunk.offset != stream.received:
            raise FrameError(f"a chunk at {chunk.offset} where {stream.received} was due")
        end = chunk.offset + len(chunk.data)
        if end > stream.size_bytes or chunk.is_last != (end == stream.size_bytes):
            raise FrameError(f"stream {chunk.stream} does not end where it was announced to")
        stream.write(chunk.data)
        if not chunk.is_last:
            return None
        del self._open[chunk.stream]
        return chunk.stream, stream.view


class _Stream:
    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.received = 0
        # numpy does not zero the memory, so an announcement alone costs no pages.
        self.view = np.empty(size_bytes, np.uint8).data

    def write(self, data: memoryview) -> None:
        self.view[self.received : self.received + len(data)] = data
        self.received += len(data)
