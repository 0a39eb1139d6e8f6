# SPDX-License-Identifier: Apache-2.0
"""Params lie where WGSL looks for them (WGSL specification, 14.4: alignment and size)."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from accelerate_plan.params import TYPES, pack
from hypothesis import given
from hypothesis import strategies as st

from accelerate_core.errors import PluginError

_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "u32": st.integers(0, 2**32 - 1),
    "i32": st.integers(-(2**31), 2**31 - 1),
    "f32": st.floats(width=32, allow_nan=False),
}


@st.composite
def blocks(draw: st.DrawFn) -> tuple[dict[str, str], dict[str, Any]]:
    kinds = draw(st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=12))
    fields = {f"p{number}": kind for number, kind in enumerate(kinds)}
    values = {}
    for name, kind in fields.items():
        scalar = _SCALARS[kind.removeprefix("vec4<").removesuffix(">")]
        values[name] = draw(st.lists(scalar, min_size=4, max_size=4) if "vec" in kind else scalar)
    return fields, values


@given(blocks())
def test_every_value_lies_at_its_alignment(block: tuple[dict[str, str], dict[str, Any]]) -> None:
    fields, values = block
    data = pack(fields, values, where="here")
    assert len(data) % 16 == 0
    offset = 0
    for name, kind in fields.items():
        count, alignment = (4, 16) if kind.startswith("vec4") else (1, 4)
        offset = -(-offset // alignment) * alignment
        code = {"u": "I", "i": "i", "f": "f"}[kind.removeprefix("vec4<")[0]]
        found = struct.unpack_from(f"<{count}{code}", data, offset)
        assert list(found) == (values[name] if count == 4 else [values[name]])
        offset += 4 * count
    assert len(data) - offset < 16


def test_numpy_numbers_are_numbers() -> None:
    values = {"m": np.int64(3), "scale": np.float32(0.5), "shape": (np.int64(1), 2, 3, 4)}
    fields = {"m": "u32", "scale": "f32", "shape": "vec4<u32>"}
    assert struct.unpack("<If8x4I", pack(fields, values, where="")) == (3, 0.5, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("u32", -1),
        ("u32", 2**32),
        ("u32", 1.0),
        ("i32", 2**31),
        ("f32", 1e39),
        ("f32", "1"),
        ("vec4<u32>", [1, 2, 3]),
        ("vec4<u32>", 1),
        ("vec4<f32>", [1, 2, 3, 1e39]),
    ],
)
def test_values_that_do_not_fit_are_refused(kind: str, value: Any) -> None:
    with pytest.raises(PluginError) as caught:
        pack({"size": kind}, {"size": value}, where="softmax")
    assert caught.value.info.where == "softmax"
    assert "size" in caught.value.info.message and kind in caught.value.info.message


def test_missing_and_unknown_params_are_named() -> None:
    with pytest.raises(PluginError) as caught:
        pack({"rows": "u32", "columns": "u32"}, {"rows": 1, "colums": 2}, where="softmax")
    message = caught.value.info.message
    assert "missing columns" in message and "not known colums" in message
    assert caught.value.info.accepted == ("rows", "columns")
