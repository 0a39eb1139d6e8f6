# SPDX-License-Identifier: Apache-2.0
"""Gather and its kin against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import check

RNG = np.random.default_rng(6)
X = RNG.standard_normal((3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3)])
def test_gather(axis: int, shape: tuple[int, ...]) -> None:
    size = X.shape[axis]
    ids = RNG.integers(-size, size, shape)
    check("Gather", {"x": X, "ids": ids}, axis=axis)
    check("Gather", {"x": X}, {"ids": ids}, axis=axis)
    check("Gather", {"x": (9 * X).astype(np.int64)}, {"ids": ids}, axis=axis)


@pytest.mark.parametrize("ids", [2, [1], [0, 1], [2, 1, 0], [-1, -2], [[1], [2]], [[1, 2]], [0, 2]])
def test_known_indices_in_a_row_are_a_copy(ids: object) -> None:
    program = check("Gather", {"x": X[:, :3]}, {"ids": np.array(ids, np.int64)}, axis=1)
    assert all(step.operation == "copy" for step in program.steps)


def test_rows_of_a_table() -> None:
    ids = RNG.integers(0, 3, (2, 6))
    program = check("Gather", {"ids": ids}, {"table": X.reshape(3, 20)}, order=["table", "ids"])
    assert [step.operation for step in program.steps] == ["embedding"]
    whole = {"table": np.arange(12).reshape(3, 4)}
    check("Gather", {"ids": ids}, whole, order=["table", "ids"])
    check("Gather", {"ids": ids}, {"table": X}, order=["table", "ids"], axis=1)


@settings(max_examples=20)
@given(st.integers(-3, 2), st.booleans())
def test_gather_elements(axis: int, is_known: bool) -> None:
    size = X.shape[axis]
    ids = RNG.integers(-size, size, (2, 3, 4))
    if is_known:
        check("GatherElements", {"x": X}, {"ids": ids}, axis=axis)
    else:
        check("GatherElements", {"x": X, "ids": ids}, axis=axis)


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("length, batch", [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1)])
def test_gather_nd(length: int, batch: int, is_known: bool) -> None:
    sizes = np.array(X.shape[batch : batch + length])
    ids = RNG.integers(-sizes, sizes, (*X.shape[:batch], 6, length))
    inputs, constants = ({"x": X}, {"ids": ids}) if is_known else ({"x": X, "ids": ids}, {})
    check("GatherND", inputs, constants, batch_dims=batch)
