# SPDX-License-Identifier: Apache-2.0
"""A plan's file gives the plan back, and a damaged one is refused."""

from __future__ import annotations

import hashlib
import json
import struct

import pytest
from accelerate_plan.plan import (
    MAGIC,
    Buffer,
    Dispatch,
    Pipeline,
    Plan,
    Slice,
    Slot,
    read_plan,
    write_plan,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_core.errors import ModelError

sizes = st.integers(0, 1 << 40)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
slices = st.builds(Slice, st.integers(0, 9), sizes, sizes)
slots = st.builds(
    Slot,
    name=texts,
    dtype=st.sampled_from(["float32", "int64", "bool"]),
    shape=st.lists(st.integers(0, 1 << 20), max_size=5).map(tuple),
    stored=st.sampled_from(["f32", "i32", "u32"]),
    place=slices,
)
plans = st.builds(
    Plan,
    name=texts,
    inputs=st.lists(slots, max_size=3).map(tuple),
    outputs=st.lists(slots, max_size=3).map(tuple),
    buffers=st.lists(
        st.builds(
            Buffer,
            role=st.sampled_from(["arena", "weights", "constants", "spare"]),
            size=sizes,
            offset=sizes,
        ),
        max_size=3,
    ).map(tuple),
    pipelines=st.lists(
        st.builds(
            Pipeline,
            name=texts,
            source=texts,
            bindings=st.lists(st.sampled_from(["read", "read_write"]), max_size=8).map(tuple),
            constants=st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False)),
            features=st.lists(texts, max_size=2).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    dispatches=st.lists(
        st.builds(
            Dispatch,
            pipeline=st.integers(0, 9),
            params=st.tuples(sizes, sizes),
            bindings=st.lists(slices, max_size=8).map(tuple),
            grid=st.tuples(*[st.integers(1, 65535)] * 3),
            label=texts,
            flops=sizes,
        ),
        max_size=3,
    ).map(tuple),
    params_bytes=sizes,
    weights_bytes=sizes,
    weights_sha256=st.none() | st.just("ab" * 32),
    about=st.dictionaries(texts, st.integers() | texts | st.lists(st.integers(), max_size=2)),
    data=st.binary(max_size=600),
)
SMALL = Plan(
    name="small",
    inputs=(),
    outputs=(),
    buffers=(),
    pipelines=(),
    dispatches=(),
    params_bytes=256,
    data=bytes(256),
)


@settings(max_examples=50)
@given(plans)
def test_what_is_written_is_read(plan: Plan) -> None:
    file = write_plan(plan)
    assert read_plan(file) == plan
    assert write_plan(read_plan(file)) == file
    assert (len(file) - len(plan.data)) % 16 == 0, "views of the data need it"


@given(st.data())
def test_any_flipped_bit_and_any_cut_is_refused(data: st.DataObject) -> None:
    file = bytearray(write_plan(SMALL))
    bit = data.draw(st.integers(0, 8 * len(file) - 1))
    file[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ModelError):
        read_plan(bytes(file))
    whole = write_plan(SMALL)
    with pytest.raises(ModelError):
        read_plan(whole[: data.draw(st.integers(0, len(whole) - 1))])


@pytest.mark.parametrize(
    ("file", "what"),
    [
        (b"", "no plan"),
        (b"ONNX and no plan at all", "no plan"),
        (b"ACPLAN02" + bytes(64), "another version"),
        (MAGIC, "damaged"),
        (MAGIC + bytes(64), "damaged"),
    ],
)
def test_other_files_are_said_to_be_what_they_are(file: bytes, what: str) -> None:
    with pytest.raises(ModelError, match=what) as caught:
        read_plan(file, where="model x")
    assert caught.value.info.where == "model x" and caught.value.info.hint


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": None},
        {"name": None},
        {"buffers": [{"role": "scratch", "size": 4, "offset": 0}]},
        {"unheard": 1},
    ],
)
def test_a_sound_file_with_another_header_is_refused(change: dict[str, object]) -> None:
    """Whoever writes plans can make mistakes, too: the hash is right and the header is not."""
    body = write_plan(SMALL)[len(MAGIC) + 32 :]
    (size,) = struct.unpack_from("<I", body)
    header = {**json.loads(body[4 : 4 + size]), **change}
    text = json.dumps({k: v for k, v in header.items() if v is not None}).encode()
    body = struct.pack("<I", len(text)) + text + SMALL.data
    with pytest.raises(ModelError):
        read_plan(MAGIC + hashlib.sha256(body).digest() + body)
