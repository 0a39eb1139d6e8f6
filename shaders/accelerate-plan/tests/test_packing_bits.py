# SPDX-License-Identifier: Apache-2.0
"""Panels of packed codes: nothing is lost, and nothing is larger than said."""

from __future__ import annotations

from pathlib import Path

import accelerate_shaders
import numpy as np
import pytest
from accelerate_plan.packing import layout_of
from hypothesis import given, settings
from hypothesis import strategies as st

KERNELS = Path(accelerate_shaders.__file__).parent / "kernels"
BITS = (8, 4, 3, 2)
_FROM = "\n// How codes are read: all that differs between linear_q8, _q4, _q3 and _q2.\n"
_TO = "\n// From here on all four are the same.\n"
sizes = st.integers(1, 70)


@settings(max_examples=40)
@given(bits=st.sampled_from(BITS), rows=sizes, columns=sizes)
def test_codes_lie_where_the_layout_says(bits: int, rows: int, columns: int) -> None:
    codes = np.random.default_rng(rows).integers(0, 2**bits, (rows, columns)).astype(np.uint8)
    layout = layout_of(f"columns16_q{bits}")
    file = layout.pack(codes)
    assert len(file) == layout.size_bytes(codes.shape)
    assert len(file) % 16 == 0
    data = np.frombuffer(file, np.uint8)
    panels = -(-columns // 16)
    found = np.zeros_like(codes)
    start = 0
    for shift, width in ((0, 2), (2, 1)) if bits == 3 else ((0, bits),):
        each = 8 // width
        steps = -(-rows // each)
        plane = data[start : start + panels * steps * 16].reshape(panels, steps, 16)
        start += plane.size
        for row in range(rows):
            byte = plane[:, row // each].reshape(-1)[:columns]
            found[row] |= ((byte >> (row % each * width)) & (2**width - 1)) << shift
    assert start == len(data)
    np.testing.assert_array_equal(found, codes)


@settings(max_examples=40)
@given(rows=sizes, columns=sizes)
def test_halves_lie_in_panels(rows: int, columns: int) -> None:
    value = np.random.default_rng(rows).normal(size=(rows, columns)).astype(np.float16)
    layout = layout_of("columns16_f16")
    file = layout.pack(value.astype(np.float32))
    assert len(file) == layout.size_bytes(value.shape)
    panels = np.frombuffer(file, np.float16).reshape(-1, rows, 16)
    np.testing.assert_array_equal(panels.transpose(1, 0, 2).reshape(rows, -1)[:, :columns], value)


@pytest.mark.parametrize(("bits", "most"), [(8, 0.285), (4, 0.16), (3, 0.126), (2, 0.095)])
def test_memory_of_a_layer_in_groups_of_32(bits: int, most: float) -> None:
    """Issue 4: 4 bits take at most 0.16 of fp32."""
    rows, columns = 384, 1536
    packed = layout_of(f"columns16_q{bits}").size_bytes((rows, columns))
    scales = layout_of("columns16_f16").size_bytes((rows // 32, columns))
    assert packed + 2 * scales <= most * 4 * rows * columns


@pytest.mark.parametrize("name", ["tile16", "tile4", "row", "row_split", "universal"])
def test_kernels_of_other_bits_differ_only_in_how_codes_are_read(name: str) -> None:
    """A fix to one of the four is a fix to all."""

    def rest(bits: int) -> str:
        source = (KERNELS / f"linear_q{bits}" / f"{name}.wgsl").read_text(encoding="utf-8")
        before, _, after = source.partition(_FROM)
        assert after, f"{name} of {bits} bits has no mark"
        return before + after.partition(_TO)[2]

    assert {rest(bits) for bits in BITS} == {rest(8)}
