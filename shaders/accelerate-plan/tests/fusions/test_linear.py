# SPDX-License-Identifier: Apache-2.0
"""Linear layers take in what surrounds them."""

from __future__ import annotations

import numpy as np
import pytest
from accelerate_plan.codes import Activation

from .conftest import check, random

X = random(2, 3, 5)
Z = random(2, 3, 7, seed=1)
CONSTANTS = {
    "w": random(5, 7, seed=2),
    "w1": random(1, 5, 7, seed=2),
    "turned": random(7, 5, seed=2),
    "b": random(7, seed=3),
    "b11": random(1, 1, 7, seed=4),
    "flat": np.array([6, 5], np.int64),
    "full": np.array([2, 3, 7], np.int64),
    "square": random(5, 5, seed=5),
    "column": random(3, 1, seed=6),
    "two": np.array(2, np.float32),
}
FORMS = {
    "product": ("y = MatMul(x, w)", ""),
    "batched weight": ("y = MatMul(x, w1)", ""),
    "bias": ("a = MatMul(x, w)  y = Add(a, b)", "b"),
    "bias in front": ("a = MatMul(x, w)  y = Add(b11, a)", "b"),
    "activation": ("a = MatMul(x, w)  c = Add(a, b)  y = Relu(c)", "ba"),
    "residual": ("a = MatMul(x, w)  y = Add(a, z)", "r"),
    "bias and residual": ("a = MatMul(x, w)  c = Add(a, b)  y = Add(z, c)", "br"),
    "all": ("a = MatMul(x, w)  c = Add(a, b)  d = Relu(c)  y = Add(z, d)", "bar"),
    "gemm between reshapes": (
        """f = Reshape(x, flat)  g = Gemm(f, w, b)  h = Reshape(g, full)  i = Relu(h)
        y = Add(i, z)""",
        "bar",
    ),
    "turned gemm": (
        """f = Reshape(x, flat)  g = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (f, turned, b)
        y = Reshape(g, full)""",
        "b",
    ),
}


def graph(body: str) -> str:
    return f"(float[2, 3, 5] x, float[2, 3, 7] z) => (float[2, 3, 7] y) {{ {body} }}"


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_a_layer_become_one_step(name: str) -> None:
    body, parts = FORMS[name]
    fused = check(graph(body), {"x": X, "z": Z}, CONSTANTS)
    (step,) = fused.program.steps
    assert step.operation == "linear"
    assert step.params["has_bias"] == ("b" in parts)
    assert step.params["has_residual"] == ("r" in parts)
    assert step.params["activation"] == (Activation.RELU if "a" in parts else Activation.NONE)
    assert step.flops == 2 * 6 * 5 * 7


@pytest.mark.parametrize(
    "body",
    [
        # Others read what is in between.
        "a = MatMul(x, w)  c = Mul(a, two)  y = Add(a, c)",
        # A residual before the activation is none.
        "a = MatMul(x, w)  c = Add(a, z)  y = Relu(c)",
        # Nor is a bias behind it, or a second activation.
        "a = MatMul(x, w)  c = Relu(a)  y = Add(c, b)",
        "a = MatMul(x, w)  c = Relu(a)  y = Tanh(c)",
        # What is added is broadcast.
        "a = MatMul(x, w)  y = Add(a, column)",
    ],
)
def test_what_does_not_fit_stays_outside(body: str) -> None:
    fused = check(graph(body), {"x": X, "z": Z}, CONSTANTS)
    assert fused.operators["plan.Linear"] == 1
    assert sum(fused.operators.values()) > 1


def test_a_layer_does_not_add_what_it_reads() -> None:
    # One dispatch may not have the same memory as two operands.
    fused = check(
        "(float[2, 3, 5] x) => (float[2, 3, 5] y) { a = MatMul(x, square)  y = Add(a, x) }",
        {"x": X},
        CONSTANTS,
    )
    assert fused.operators == {"plan.Linear": 1, "Add": 1}


def test_layers_of_one_input_become_one() -> None:
    fused = check(
        """(float[2, 3, 5] x) => (float[2, 3, 7] q, float[2, 3, 7] k, float[2, 3, 7] v)
        { a = MatMul(x, w)  q = Add(a, b)  k = MatMul(x, w2)  c = MatMul(x, w)
          v = Add(c, b11) }""",
        {"x": X},
        {**CONSTANTS, "w2": random(5, 7, seed=8)},
    )
    (step,) = fused.program.steps
    # Each block is bound by itself: it begins at a multiple of 64 elements.
    assert (step.params["n"], step.params["block"], step.params["block_stride"]) == (21, 7, 64)


def test_a_layer_puts_out_the_parts_it_is_split_into() -> None:
    fused = check(
        """(float[2, 3, 5] x) => (float[2, 3, 4] q, float[2, 3, 4] k, float[2, 3, 4] v)
        { f = Reshape(x, flat)  a = Gemm(f, wide, long)  b = Reshape(a, full)
          q, k, v = Split <axis = 2> (b, parts) }""",
        {"x": X},
        {
            "flat": np.array([6, 5]),
            "full": np.array([2, 3, 12]),
            "wide": random(5, 12),
            "long": random(12),
            "parts": np.array([4, 4, 4]),
        },
    )
    (step,) = fused.program.steps
    assert (step.params["n"], step.params["block"]) == (12, 4)


def test_unequal_parts_are_cut_out_of_one_tensor() -> None:
    fused = check(
        """(float[2, 3, 5] x) => (float[2, 3, 4] q, float[2, 3, 8] k)
        { a = MatMul(x, wide)  q, k = Split <axis = 2> (a, parts) }""",
        {"x": X},
        {"wide": random(5, 12), "parts": np.array([4, 8])},
    )
    assert fused.operators == {"plan.Linear": 1, "Split": 1}


def test_layers_of_different_work_are_not_joined() -> None:
    fused = check(
        """(float[2, 3, 5] x) => (float[2, 3, 5] y)
        { a = MatMul(x, square)  t = Tanh(a)  c = MatMul(t, square)  d = Mul(c, x)
          e = MatMul(x, square2)  y = Add(d, e) }""",
        {"x": X},
        {**CONSTANTS, "square2": random(5, 5, seed=6)},
    )
    assert fused.operators == {"plan.Linear": 3, "Mul": 1}
    fused = check(
        """(float[2, 3, 5] x) => (float[2, 3, 5] y, float[2, 3, 5] z)
        { a = MatMul(x, square)  y = Tanh(a)  z = MatMul(x, square2) }""",
        {"x": X},
        {**CONSTANTS, "square2": random(5, 5, seed=6)},
    )
    assert fused.operators == {"plan.Linear": 2}


def test_a_product_of_two_activations_is_no_layer() -> None:
    fused = check(
        "(float[2, 3, 5] x, float[2, 5, 4] z) => (float[2, 3, 4] y) { y = MatMul(x, z) }",
        {"x": X, "z": random(2, 5, 4)},
    )
    assert [step.operation for step in fused.program.steps] == ["matmul"]
