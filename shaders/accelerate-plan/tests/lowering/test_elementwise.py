# SPDX-License-Identifier: Apache-2.0
"""Functions, arithmetic, casts, comparisons and choice against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from accelerate_plan.codes import Unary
from accelerate_plan.graph import Graph, Node, Value
from accelerate_plan.lowering import Lowering
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from accelerate_core.errors import Unsupported

from .conftest import check

X = np.array([[-88.0, -3.5, -2.5, -1.0, -0.3], [0.0, 0.2, 0.5, 1.5, 20.0]], np.float32)
POSITIVE = np.abs(X) + np.float32(0.01)
SMALL = np.clip(X, -5, 5)
WHOLE = np.array([[-7, -2, 0], [1, 3, 40]], np.int64)
TRUTH = np.array([[True, False, True], [False, False, True]])


@pytest.mark.parametrize(
    "op, x, given",
    [
        ("Abs", X, {}),
        ("Atan", X, {}),
        ("Ceil", X, {}),
        ("Celu", X, {"alpha": 0.7}),
        ("Cos", SMALL, {}),
        ("Elu", X, {"alpha": 1.3}),
        ("Elu", X, {}),
        ("Erf", X, {}),
        ("Exp", SMALL, {}),
        ("Floor", X, {}),
        ("Gelu", X, {}),
        ("Gelu", X, {"approximate": "tanh"}),
        ("HardSigmoid", X, {"alpha": 0.3, "beta": 0.4}),
        ("HardSigmoid", X, {}),
        ("HardSwish", X, {}),
        ("LeakyRelu", X, {"alpha": 0.1}),
        ("LeakyRelu", X, {}),
        ("Log", POSITIVE, {}),
        ("Mish", X, {}),
        ("Neg", X, {}),
        ("Reciprocal", POSITIVE, {}),
        ("Relu", X, {}),
        ("Round", X, {}),
        ("Selu", X, {}),
        ("Sigmoid", X, {}),
        ("Sign", X, {}),
        ("Sin", SMALL, {}),
        ("Softplus", X, {}),
        ("Softsign", X, {}),
        ("Sqrt", POSITIVE, {}),
        ("Tan", SMALL / 4, {}),
        ("Tanh", X, {}),
    ],
)
def test_function(op: str, x: np.ndarray, given: Any) -> None:
    program = check(op, {"x": x}, tolerance=3e-6, **given)
    assert len(program.steps) == 1


@pytest.mark.parametrize("op", ["Neg", "Abs", "Sign", "Relu"])
def test_function_of_whole_numbers(op: str) -> None:
    check(op, {"x": WHOLE.astype(np.int32)})


@pytest.mark.parametrize("op, count", [("Exp", 1), ("PRelu", 2)])
def test_what_has_no_kernel_for_whole_numbers_is_refused(op: str, count: int) -> None:
    names = tuple("ab"[:count])
    graph = Graph(
        name="whole",
        nodes=[Node(op=op, inputs=names, outputs=("y",), label="layer.3")],
        values={name: Value((2,), "int64") for name in (*names, "y")},
        constants={},
        inputs=names,
        outputs=("y",),
    )
    with pytest.raises(Unsupported, match=rf"{op} cannot be compiled: its input is whole") as info:
        Lowering(graph).run()
    assert info.value.info.where == "model whole, node layer.3"


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu"])
@settings(max_examples=20)
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=1, max_dims=5, max_side=3))
def test_arithmetic(op: str, shapes: hnp.BroadcastableShapes) -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.uniform(0.5, 2, one).astype(np.float32) - 1 for one in shapes.input_shapes)
    if op == "PRelu" and a.shape != shapes.result_shape:
        a = np.ascontiguousarray(np.broadcast_to(a, shapes.result_shape))
    check(op, {"a": a, "b": np.where(b == 0, np.float32(1), b)}, tolerance=1e-5)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Mod", "Pow"])
def test_arithmetic_of_whole_numbers(op: str) -> None:
    b = np.array([3, -2, 5] if op != "Pow" else [3, 2, 0], np.int64)
    check(op, {"a": WHOLE, "b": b})
    check(op, {"a": WHOLE.astype(np.int32)}, {"b": b.astype(np.int32)})


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Pow"])
@pytest.mark.parametrize("value", [2.0, 0.5, -3.0])
def test_a_number_on_either_side_is_a_function_of_the_other(op: str, value: float) -> None:
    number = {"c": np.array(value, np.float32)}
    left = check(op, {"x": POSITIVE}, number, order=["x", "c"], tolerance=1e-5)
    assert [one.operation for one in left.steps] == ["unary"]
    right = {"c": np.array([[abs(value)]], np.float32)}
    check(op, {"x": POSITIVE / 8}, right, order=["c", "x"], tolerance=1e-5)


def test_a_number_may_have_more_axes_than_the_tensor() -> None:
    check("Mul", {"x": X}, {"c": np.full((1, 1, 1, 1), 2, np.float32)})


def test_a_tensor_may_meet_itself_and_a_view_of_itself() -> None:
    for op in ("Add", "Mul", "Sub", "Div", "Max"):
        check(op, {"x": POSITIVE}, order=["x", "x"])
    squared = check("Mul", {"x": X}, order=["x", "x"], tolerance=1e-5)
    assert [one.params["operation"] for one in squared.steps] == [Unary.SQUARE]


def test_power_takes_whole_exponents_and_mod_the_sign_of_either() -> None:
    check("Pow", {"x": SMALL, "n": np.array([[1, 2, 3, 2, 2]], np.int64)}, tolerance=1e-5)
    check("Pow", {"x": SMALL}, {"n": np.array(3, np.int64)}, tolerance=1e-5)
    check("Mod", {"a": X, "b": np.float32([[3.0]])}, fmod=1, tolerance=1e-5)
    check("Mod", {"a": WHOLE, "b": np.array([3, -2, 5])}, fmod=1)


def test_many_are_added_and_compared() -> None:
    three = {"a": X, "b": X[:1] * 2, "c": np.array([[3.0]], np.float32)}
    for op in ("Sum", "Mean", "Max", "Min"):
        check(op, three, tolerance=1e-5)
        check(op, {"a": X})


@pytest.mark.parametrize("least, most", [(-1.0, 2.0), (None, 0.3), (-0.5, None), (None, None)])
def test_clip(least: float | None, most: float | None) -> None:
    bounds = {"min": least, "max": most}
    constants = {k: np.array(v, np.float32) for k, v in bounds.items() if v is not None}
    order = ["x", *(name if bounds[name] is not None else "" for name in bounds)]
    check("Clip", {"x": X}, constants, order=order)
    whole = {k: np.array(v * 4, np.int64) for k, v in bounds.items() if v is not None}
    check("Clip", {"x": WHOLE}, whole, order=order)
    given = {k: v for k, v in bounds.items() if v is not None}
    check("Clip", {"x": X}, opset=6, **given)


@pytest.mark.parametrize("x", [X, WHOLE, WHOLE.astype(np.int32), TRUTH])
@pytest.mark.parametrize("to", ["float32", "int64", "int32", "bool"])
def test_cast(x: np.ndarray, to: str) -> None:
    kinds = {"float32": 1, "int64": 7, "int32": 6, "bool": 9}
    check("Cast", {"x": x}, to=kinds[to])


def test_cast_to_the_type_of_another() -> None:
    check("CastLike", {"x": X}, {"like": WHOLE})


@pytest.mark.parametrize("op", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
def test_comparison(op: str) -> None:
    check(op, {"a": X, "b": np.array([[0.5], [0.5]], np.float32)})
    check(op, {"a": WHOLE}, {"b": np.array([-2, 3, 1], np.int64)})


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_logic(op: str) -> None:
    check(op, {"a": TRUTH, "b": TRUTH[:1]})


def test_not() -> None:
    check("Not", {"a": TRUTH})


@settings(max_examples=25)
@given(st.data(), hnp.mutually_broadcastable_shapes(num_shapes=3, min_dims=1, max_side=3))
def test_where(data: st.DataObject, shapes: hnp.BroadcastableShapes) -> None:
    rng = np.random.default_rng(2)
    condition, a, b = (rng.standard_normal(one) for one in shapes.input_shapes)
    dtype = data.draw(st.sampled_from([np.float32, np.int64]))
    values = {"c": condition > 0, "a": (a * 9).astype(dtype), "b": (b * 9).astype(dtype)}
    check("Where", values)


def test_where_chooses_between_equal_constants() -> None:
    twice = {name: np.array([1.5], np.float32) for name in "ab"}
    check("Where", {"c": TRUTH}, twice)


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [-1, 0, 2])
def test_trilu(upper: int, k: int) -> None:
    x = np.arange(1, 25, dtype=np.float32).reshape(2, 3, 4)
    check("Trilu", {"x": x}, {"k": np.array(k, np.int64)}, upper=upper)
    check("Trilu", {"x": x.astype(np.int64)}, upper=upper)
