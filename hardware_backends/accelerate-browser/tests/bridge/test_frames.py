# SPDX-License-Identifier: Apache-2.0
"""The frame codec: what is written is read, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from accelerate_browser import frames
from accelerate_browser.frames import Assembler, ChunkFrame, FrameError, MessageFrame
from hypothesis import given
from hypothesis import strategies as st

_blobs = st.binary(max_size=64)


@given(json=_blobs, inline=st.lists(_blobs, max_size=5))
def test_a_message_is_read_as_written(json: bytes, inline: list[bytes]) -> None:
    frame = frames.encode_message(json, inline)
    read = frames.decode(frame)
    assert isinstance(read, MessageFrame)
    assert read.json == json
    offset = 0
    for part in inline:
        assert read.inline[offset : offset + len(part)] == part
        # Views into the frame must be aligned for every dtype.
        assert (len(frame) - len(read.inline) + offset) % frames.ALIGNMENT == 0
        offset += frames.aligned(len(part))


@given(
    stream=st.integers(0, 2**32 - 1),
    offset=st.integers(0, 2**64 - 1),
    data=st.binary(min_size=1, max_size=64),
    is_last=st.booleans(),
)
def test_a_chunk_is_read_as_written(stream: int, offset: int, data: bytes, is_last: bool) -> None:
    read = frames.decode(frames.encode_chunk(stream, offset, data, is_last=is_last))
    assert read == ChunkFrame(stream, offset, is_last, memoryview(data))


@given(
    data=st.data(),
    frame=st.one_of(
        st.builds(frames.encode_message, _blobs, st.lists(_blobs, max_size=3)),
        st.builds(
            lambda s, o, d: frames.encode_chunk(s, o, d, is_last=False),
            st.integers(0, 9),
            st.integers(0, 99),
            st.binary(min_size=1, max_size=32),
        ),
    ),
)
def test_any_damage_is_a_frame_error_or_another_frame(data: st.DataObject, frame: bytes) -> None:
    damaged = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    try:
        read = frames.decode(bytes(damaged[:cut]))
    except FrameError as error:
        assert error.code in (1002, 1009) and error.reason
    else:
        # What is accepted is exactly what this codec would have written.
        if isinstance(read, MessageFrame):
            assert frames.encode_message(bytes(read.json), [read.inline]) == damaged[:cut]
        else:
            again = frames.encode_chunk(read.stream, read.offset, read.data, is_last=read.is_last)
            assert again == damaged[:cut]


@given(st.binary(max_size=200))
def test_garbage_is_a_frame_error(garbage: bytes) -> None:
    if garbage[:2] == bytes((frames.MAGIC, frames.VERSION)):
        return
    with pytest.raises(FrameError):
        frames.decode(garbage)


def test_a_header_that_does_not_fit_its_frame_is_refused() -> None:
    frame = frames.encode_message(b"{}", [b"tensor"])
    dirty = bytearray(frame)
    dirty[frames.HEADER_BYTES + 3] = 1
    for wrong, reason in (
        (frame[:-1], "add up"),
        (frame + b"x", "add up"),
        (bytes(dirty), "padding"),
        (frame[:3] + b"\x01" + frame[4:], "flags"),
        (frame[:2] + b"\x03" + frame[3:], "kind 3"),
        (frame[:1] + b"\x02" + frame[2:], "version 2"),
    ):
        with pytest.raises(FrameError, match=reason):
            frames.decode(wrong)


@given(st.data())
def test_interleaved_streams_are_put_together(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    assembler = Assembler()
    whole: dict[int, bytes] = {}
    waiting: dict[int, list[ChunkFrame]] = {}
    for number, size in enumerate(sizes, start=1):
        assembler.announce(number, size)
        body = whole[number] = bytes((number * 31 + i) % 256 for i in range(size))
        step = data.draw(st.integers(1, size))
        waiting[number] = [
            ChunkFrame(number, at, at + step >= size, memoryview(body[at : at + step]))
            for at in range(0, size, step)
        ]
    done: dict[int, bytes] = {}
    while waiting:
        number = data.draw(st.sampled_from(sorted(waiting)))
        finished = assembler.accept(waiting[number].pop(0))
        if not waiting[number]:
            del waiting[number]
            assert finished is not None and finished[0] == number
            done[number] = bytes(finished[1])
        else:
            assert finished is None
    assert done == whole
    assert assembler.open_streams == 0


def test_a_large_tensor_becomes_chunks_of_one_mebibyte() -> None:
    data = np.arange(frames.CHUNK_BYTES * 5 // 8 + 1, dtype=np.float32)
    chunks = [frames.decode(f) for f in frames.encode_stream(7, memoryview(data))]
    assert [len(c.data) for c in chunks if isinstance(c, ChunkFrame)] == [
        frames.CHUNK_BYTES,
        frames.CHUNK_BYTES,
        frames.CHUNK_BYTES // 2 + 4,
    ]
    assembler = Assembler()
    assembler.announce(7, data.nbytes)
    results = [assembler.accept(c) for c in chunks if isinstance(c, ChunkFrame)]
    assert results[:2] == [None, None]
    assert results[2] is not None and bytes(results[2][1]) == data.tobytes()


def _chunk(stream: int = 1, offset: int = 0, size: int = 4, *, last: bool = False) -> ChunkFrame:
    return ChunkFrame(stream, offset, last, memoryview(bytes(size)))


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        (_chunk(2), "not open"),
        (_chunk(offset=4), "was due"),
        (_chunk(size=9), "announced"),
        (_chunk(size=8), "announced"),
        (_chunk(size=4, last=True), "announced"),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused(chunk: ChunkFrame, reason: str) -> None:
    assembler = Assembler()
    assembler.announce(1, 8)
    with pytest.raises(FrameError, match=reason):
        assembler.accept(chunk)


def test_stream_numbers_sizes_and_counts_have_limits() -> None:
    assembler = Assembler()
    assembler.announce(3, 8)
    for number in (3, 2, 0, 2**32):
        with pytest.raises(FrameError):
            assembler.announce(number, 8)
    for size in (0, -1, frames.MAX_TENSOR_BYTES + 1):
        with pytest.raises(FrameError):
            assembler.announce(4, size)
    for number in range(4, 3 + frames.MAX_STREAMS):
        assembler.announce(number, 8)
    with pytest.raises(FrameError, match="open streams") as caught:
        assembler.announce(100, 8)
    assert caught.value.code == frames.POLICY_VIOLATION


@pytest.mark.parametrize(
    "make",
    [
        lambda: frames.encode_message(bytes(frames.MAX_JSON_BYTES + 1)),
        lambda: frames.encode_message(b"{}", [bytes(frames.MAX_FRAME_BYTES)]),
        lambda: frames.encode_chunk(1, 0, bytes(frames.MAX_FRAME_BYTES), is_last=True),
        lambda: frames.decode(bytes(frames.MAX_FRAME_BYTES + 1)),
    ],
)
def test_too_much_is_refused_on_both_sides(make: object) -> None:
    assert callable(make)
    with pytest.raises(FrameError) as caught:
        make()
    assert caught.value.code == frames.TOO_BIG
