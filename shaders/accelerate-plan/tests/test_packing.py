# SPDX-License-Identifier: Apache-2.0
"""How f32 constants lie in memory."""

from __future__ import annotations

import numpy as np
import pytest
from accelerate_plan.packing import layout_of


@pytest.mark.parametrize("rows", [1, 4, 6])
def test_rows4_interleaves_four_rows(rows: int) -> None:
    value = np.random.default_rng(0).standard_normal((rows, 3, 2, 5)).astype(np.float32)
    layout = layout_of("rows4")
    data = layout.pack(value)
    assert len(data) == layout.size_bytes(value.shape)
    packed = np.frombuffer(data, np.float32).reshape(-1, 3, 2, 5, 4)
    for row in range(packed.shape[0] * 4):
        expected = value[row] if row < rows else 0
        np.testing.assert_array_equal(packed[row // 4, ..., row % 4], expected)


@pytest.mark.parametrize("columns", [1, 16, 37])
def test_columns16_interleaves_sixteen_columns(columns: int) -> None:
    value = np.random.default_rng(0).standard_normal((5, columns)).astype(np.float32)
    layout = layout_of("columns16")
    data = layout.pack(value)
    assert len(data) == layout.size_bytes(value.shape)
    packed = np.frombuffer(data, np.float32).reshape(-1, 5, 16)
    for column in range(packed.shape[0] * 16):
        expected = value[:, column] if column < columns else 0
        np.testing.assert_array_equal(packed[column // 16, :, column % 16], expected)


def test_plain_keeps_the_kind() -> None:
    assert layout_of("plain").pack(np.array([[1, 2]], np.int64)) == b"\1\0\0\0\2\0\0\0"
    assert layout_of("plain").pack(np.array([True])) == b"\1\0\0\0"
    assert layout_of("plain").pack(np.array([1.0])) == np.float32(1).tobytes()
