# SPDX-License-Identifier: Apache-2.0
"""Reductions, extremes and running sums against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelerate_core.errors import Unsupported

from .conftest import check

RNG = np.random.default_rng(5)
X = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
SUMS = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"]
NORMS = ["ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"]


@pytest.mark.parametrize("op", [*SUMS, *NORMS])
@pytest.mark.parametrize("axes", [[-1], [1, 2], [0, 2], [1, -1], [2, 0, 1], [0, 1, 2, 3]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduction(op: str, axes: list[int], keepdims: int) -> None:
    given = {"axes": np.array(axes, np.int64)}
    check(op, {"x": X}, given, keepdims=keepdims, tolerance=1e-5)


def test_axes_may_be_left_out_or_be_an_attribute() -> None:
    check("ReduceMean", {"x": X}, tolerance=1e-5)
    check("ReduceMean", {"x": X}, axes=[1], opset=13, tolerance=1e-5)
    assert not check("ReduceSum", {"x": X}, noop_with_empty_axes=1).steps
    check("ReduceLogSum", {"x": np.exp(X)}, {"axes": np.array([2])}, tolerance=1e-5)


def test_axes_of_one_element_move_nothing() -> None:
    program = check("ReduceSum", {"x": X[:, :1]}, {"axes": np.array([1, 3])}, tolerance=1e-5)
    assert len(program.steps) == 1


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"])
def test_reduction_of_whole_numbers(op: str) -> None:
    check(op, {"x": RNG.integers(-9, 9, (2, 3, 4))}, {"axes": np.array([1])})


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("given", [{"axis": 1}, {"axis": -1, "keepdims": 0}, {}])
def test_arg_extreme(op: str, given: Any) -> None:
    check(op, {"x": X}, **given)
    check(op, {"x": RNG.integers(0, 3, (4, 5, 3)).astype(np.int32)}, **given)


def test_the_last_of_equals_is_refused() -> None:
    with pytest.raises(Unsupported, match="select_last_index"):
        check("ArgMax", {"x": X}, select_last_index=1)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pool(op: str) -> None:
    check(op, {"x": X}, tolerance=1e-5)
    check(op, {"x": X[0]}, tolerance=1e-5)


@pytest.mark.parametrize("axis", [-1, 1])
def test_log_softmax(axis: int) -> None:
    check("LogSoftmax", {"x": 20 * X}, axis=axis, tolerance=1e-5)


@pytest.mark.parametrize("x", [X, RNG.integers(-9, 9, (3, 4, 5))])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("given", [{}, {"exclusive": 1}, {"reverse": 1}])
def test_running_sum(x: np.ndarray, axis: int, given: Any) -> None:
    check("CumSum", {"x": x}, {"axis": np.array(axis, np.int64)}, tolerance=1e-5, **given)
