# SPDX-License-Identifier: Apache-2.0
"""Transpose, Slice, Concat, Pad and their kin against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from .conftest import check


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.arange(1, np.prod(shape) + 1).reshape(shape).astype(dtype)


def int64s(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


SHAPES = hnp.array_shapes(min_dims=1, max_dims=5, max_side=4)


@settings(max_examples=25)
@given(st.data(), SHAPES)
def test_transpose(data: st.DataObject, shape: tuple[int, ...]) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    check("Transpose", {"x": numbers(*shape)}, perm=order)


def test_transpose_reverses_by_default_and_moving_single_axes_is_a_view() -> None:
    check("Transpose", {"x": numbers(2, 3, 4)})
    assert not check("Transpose", {"x": numbers(3, 1, 4)}, perm=[1, 0, 2]).steps


@settings(max_examples=25)
@given(st.data(), SHAPES)
def test_slice(data: st.DataObject, shape: tuple[int, ...]) -> None:
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    starts, ends, steps = [], [], []
    for axis in axes:
        part = data.draw(
            st.slices(shape[axis]).filter(
                lambda one, size=shape[axis]: len(range(*one.indices(size)))  # type: ignore[misc]
            )
        )
        step = part.step or 1
        starts.append((0 if step > 0 else shape[axis]) if part.start is None else part.start)
        ends.append((2**62 if step > 0 else -(2**62)) if part.stop is None else part.stop)
        steps.append(step)
    signed = [axis - len(shape) if data.draw(st.booleans()) else axis for axis in axes]
    ranges = {"starts": starts, "ends": ends, "axes": signed, "steps": steps}
    constants = {name: int64s(*values) for name, values in ranges.items()}
    check("Slice", {"x": numbers(*shape)}, constants)


def test_slice_without_axes_and_steps_and_by_attributes() -> None:
    check("Slice", {"x": numbers(4, 5)}, {"starts": int64s(1), "ends": int64s(-1)})
    check("Slice", {"x": numbers(4, 5)}, starts=[1, 0], ends=[3, -2], axes=[0, 1], opset=9)


def test_a_slice_that_starts_where_a_view_may_is_one() -> None:
    ranges = {"starts": int64s(2), "ends": int64s(4)}
    assert not check("Slice", {"x": numbers(6, 32)}, ranges).steps
    assert check("Slice", {"x": numbers(6, 31)}, ranges).steps


@settings(max_examples=25)
@given(st.data(), SHAPES, st.integers(1, 3))
def test_concat(data: st.DataObject, shape: tuple[int, ...], count: int) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    sizes = [data.draw(st.integers(1, 4)) for _ in range(count)]
    inputs = {}
    for index, size in enumerate(sizes):
        part = list(shape)
        part[axis] = size
        inputs[f"x{index}"] = numbers(*part) + 100 * index
    check("Concat", inputs, axis=axis)


def test_concat_takes_a_tensor_twice_and_constants() -> None:
    given = {"x": numbers(2, 3)}, {"c": numbers(2, 5)}
    check("Concat", *given, order=["x", "c", "x"], axis=1)
    whole = {"x": numbers(2, 3, dtype="int64")}, {"c": numbers(1, 3, dtype="int64")}
    check("Concat", *whole, order=["c", "x"], axis=0)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
@settings(max_examples=25)
@given(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=4))
def test_pad(mode: str, data: st.DataObject, shape: tuple[int, ...]) -> None:
    most = [size - 1 for size in shape]
    before, after = ([data.draw(st.integers(0, one)) for one in most] for _ in range(2))
    check("Pad", {"x": numbers(*shape)}, {"pads": int64s(*before, *after)}, mode=mode)


def test_pad_with_a_value_some_axes_and_negative_amounts() -> None:
    pads, value, axes = int64s(1, 2), np.float32(-2.5), int64s(-2)
    check("Pad", {"x": numbers(2, 3, 4)}, {"pads": pads, "value": value, "axes": axes})
    check("Pad", {"x": numbers(4, 5)}, {"pads": int64s(-1, 2, 1, -2)})
    check("Pad", {"x": numbers(4, 5)}, {"pads": int64s(-1, 0, -1, -2)})
    whole = {"pads": int64s(1, 0), "value": np.int64(-7)}
    check("Pad", {"x": numbers(3, dtype="int64")}, whole)
    check("Pad", {"x": numbers(3, 2)}, pads=[1, 0, 0, 2], value=1.5, opset=10)


@pytest.mark.parametrize(
    "shape, to",
    [((3, 1), (2, 3, 4)), ((1,), (3, 2)), ((2, 3), (2, 3)), ((1, 2, 1, 3), (4, 2, 5, 3))],
)
def test_expand(shape: tuple[int, ...], to: tuple[int, ...]) -> None:
    check("Expand", {"x": numbers(*shape)}, {"shape": int64s(*to)})


@pytest.mark.parametrize(
    "shape, repeats", [((3,), (4,)), ((2, 3), (2, 1)), ((2, 1, 3), (1, 4, 2)), ((2, 3), (1, 1))]
)
def test_tile(shape: tuple[int, ...], repeats: tuple[int, ...]) -> None:
    check("Tile", {"x": numbers(*shape)}, {"repeats": int64s(*repeats)})


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_split(axis: int) -> None:
    x = numbers(4, 6, 10)
    size = x.shape[axis]
    check("Split", {"x": x}, {"split": int64s(1, size - 1)}, outputs=2, axis=axis)
    check("Split", {"x": x}, outputs=2, axis=axis, num_outputs=2)


@pytest.mark.parametrize(
    "op, constants, given",
    [
        ("Reshape", {"shape": int64s(4, -1)}, {}),
        ("Flatten", {}, {"axis": 1}),
        ("Squeeze", {"axes": int64s(1)}, {}),
        ("Unsqueeze", {"axes": int64s(0, -1)}, {}),
        ("Identity", {}, {}),
        ("Dropout", {}, {}),
    ],
)
def test_what_only_reshapes_is_a_view(op: str, constants: Any, given: Any) -> None:
    assert not check(op, {"x": numbers(2, 1, 6)}, constants, **given).steps


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode: str) -> None:
    check("DepthToSpace", {"x": numbers(2, 12, 3, 5)}, blocksize=2, mode=mode)


def test_space_to_depth() -> None:
    check("SpaceToDepth", {"x": numbers(2, 3, 4, 6)}, blocksize=2)
