# SPDX-License-Identifier: Apache-2.0
"""Messages and tensors: strict when reading, exact both ways."""

from __future__ import annotations

import itertools
import json
import typing
from typing import Any

import msgspec
import numpy as np
import pytest
from accelerate_browser import codec, frames, generate, messages
from accelerate_browser.frames import FrameError
from accelerate_browser.messages import Done, Failed, Loaded, PageError, Pong, Run, TensorHeader
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

_arrays = st.sampled_from(sorted(codec.DTYPES)).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0, max_side=5))
)


def _unpack(packed: codec.Packed) -> dict[str, np.ndarray[Any, Any]]:
    frame = frames.decode(frames.encode_message(b"{}", packed.inline))
    assert isinstance(frame, frames.MessageFrame)
    streams = dict(packed.streams)
    arrays = {}
    for header in packed.headers:
        codec.check_header(header, len(frame.inline))
        data = (
            frame.inline[header.offset : header.offset + header.size_bytes]
            if header.offset is not None
            else memoryview(streams[header.stream or 0])
        )
        arrays[header.name] = codec.to_array(codec.Raw(header.dtype, header.shape, data))
    return arrays


@given(st.dictionaries(st.text(max_size=5), _arrays, max_size=4))
def test_tensors_cross_exactly(tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    arrays = _unpack(codec.pack(tensors, itertools.count(1).__next__))
    assert list(arrays) == list(tensors)
    for name, array in arrays.items():
        assert array.dtype == tensors[name].dtype and array.shape == tensors[name].shape
        assert array.tobytes() == tensors[name].tobytes()
        assert array.flags.writeable


def test_foreign_layouts_cross_as_little_endian_rows() -> None:
    tensor = np.arange(12, dtype=">f4").reshape(3, 4).T
    (array,) = _unpack(codec.pack({"x": tensor}, itertools.count(1).__next__)).values()
    assert array.dtype == np.dtype("float32")
    np.testing.assert_array_equal(array, tensor)


def test_small_tensors_travel_inside_and_large_ones_beside() -> None:
    half = np.zeros(frames.INLINE_BYTES // 2, np.uint8)
    fits = codec.pack({"a": half, "b": half}, itertools.count(1).__next__)
    assert [h.offset for h in fits.headers] == [0, half.nbytes] and not fits.streams
    empty = np.zeros((0, 3), np.float32)
    over = codec.pack(
        {"a": half, "b": half, "c": half[:1], "d": empty}, itertools.count(5).__next__
    )
    assert [h.stream for h in over.headers] == [5, 6, 7, None]
    assert over.headers[3].offset == 0


def test_a_tensor_that_cannot_cross_is_refused() -> None:
    for tensor in (np.zeros(2, np.complex64), np.array(["a"])):
        with pytest.raises(FrameError, match="cannot cross"):
            codec.pack({"x": tensor}, itertools.count(1).__next__)


_HEADER = TensorHeader(name="x", dtype="float32", shape=(2, 3), size_bytes=24, offset=8)


@pytest.mark.parametrize(
    "change",
    [
        {"size_bytes": 23},
        {"shape": (2, 4)},
        {"shape": (-2, -3)},
        {"dtype": "float128"},
        {"stream": 1},
        {"offset": None},
        {"offset": -8},
        {"offset": 4},
        {"offset": 16},
    ],
)
def test_a_header_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    codec.check_header(_HEADER, 32)
    with pytest.raises(FrameError):
        codec.check_header(msgspec.structs.replace(_HEADER, **change), 32)


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
_headers = st.builds(
    TensorHeader,
    name=_texts,
    dtype=_texts,
    shape=st.lists(st.integers(), max_size=3).map(tuple),
    size_bytes=st.integers(),
    offset=st.none() | st.integers(),
)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=5,
)
_details = st.dictionaries(_texts, _json, max_size=3)
_from_page = st.one_of(
    st.builds(Pong, sequence=st.integers(), progress=st.integers(), running=st.integers()),
    st.builds(
        Done,
        id=st.integers(),
        tensors=st.lists(_headers, max_size=2).map(tuple),
        in_page_ms=st.none() | st.floats(0, 1e9),
        details=_details,
    ),
    st.builds(
        Failed,
        id=st.none() | st.integers(),
        error=st.builds(PageError, name=_texts, message=_texts, stack=_texts),
    ),
    st.builds(
        Loaded,
        id=st.integers(),
        model=_texts,
        fetch_ms=st.floats(0, 1e9),
        compile_ms=st.floats(0, 1e9),
        is_cached=st.none() | st.booleans(),
    ),
)


@given(_from_page)
def test_messages_are_read_as_written(message: messages.FromPage) -> None:
    assert codec.decode_from_page(codec.encode(message)) == message


@given(st.data(), _from_page)
def test_any_damage_is_a_frame_error_or_another_message(
    data: st.DataObject, message: messages.FromPage
) -> None:
    damaged = bytearray(codec.encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = codec.decode_from_page(bytes(damaged))
    except FrameError:
        return
    assert isinstance(read, typing.get_args(messages.FromPage))
    assert codec.decode_from_page(codec.encode(read)) == read


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"type": "Run", "id": 1, "model": "m", "tensors": []}',
        b'{"type": ["Pong"]}',
        b'{"type": "Pong", "sequence": 1, "progress": 2}',
        b'{"type": "Pong", "sequence": 1, "progress": 2, "running": 0, "more": 1}',
        b'{"type": "Pong", "sequence": "1", "progress": 2, "running": 0}',
        b'{"type": "Pong", "sequence": true, "progress": 2, "running": 0}',
        b'{"type": "Pong", "sequence": 1.5, "progress": 2, "running": 0}',
        b'{"type": "Done", "id": 1, "in_page_ms": NaN}',
        b'{"type": "Done", "id": 1, "in_page_ms": 1e999}',
        b'{"type": "Done", "id": 1, "details": {"x": 1e999}}',
        b'{"type": "Done", "id": 1, "details": []}',
        b'{"type": "Done", "id": 1, "tensors": "abc"}',
        b'{"type": "Notice", "event": "\\ud800"}',
        b'{"type": "Notice", "event": "\xff"}',
        b'{"type": "Notice", "event": "x", "data": {"a": '
        + b"[" * 100_000
        + b"]" * 100_000
        + b"}}",
        b'{"type": "Done", "id": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_message_that_is_not_quite_one_is_refused(text: bytes) -> None:
    with pytest.raises(FrameError):
        codec.decode_from_page(text)


def test_a_host_message_reads_back_as_pages_read_it() -> None:
    run = Run(id=3, model="m1", tensors=(_HEADER,), keep=("y",))
    assert codec.decode_from_host(codec.encode(run)) == run
    assert json.loads(codec.encode(run))["type"] == "Run"


def test_the_declarations_of_the_page_are_fresh() -> None:
    assert generate.PLACE.read_text(encoding="utf-8") == generate.declarations(), (
        "stale: run python -m accelerate_browser.generate"
    )
