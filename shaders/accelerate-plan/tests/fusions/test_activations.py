# SPDX-License-Identifier: Apache-2.0
"""Activations are found in every form that exporters write."""

from __future__ import annotations

import pytest
from accelerate_plan.codes import Activation

from .conftest import check, random

X = 3 * random(4, 5)

GELU = {
    "whole": "y = Gelu(x)",
    "whole, of ONNX Runtime": "y = com.microsoft.Gelu(x)",
    "divided": """
        a = Div(x, root2)  b = Erf(a)  c = Add(b, one)  d = Mul(x, c)  y = Mul(d, half)""",
    "multiplied": """
        a = Mul(x, inverse)  b = Erf(a)  c = Add(one, b)  d = Mul(half, x)  y = Mul(d, c)""",
    "halved inside": """
        a = Mul(x, inverse)  b = Erf(a)  c = Add(b, one)  d = Mul(c, half)  y = Mul(x, d)""",
}
GELU_TANH = {
    "whole": 'y = Gelu <approximate = "tanh"> (x)',
    "whole, of ONNX Runtime": "y = com.microsoft.FastGelu(x)",
    "by a power": """
        a = Pow(x, three)  b = Mul(a, cubic)  c = Add(x, b)  d = Mul(c, outer)  e = Tanh(d)
        f = Add(e, one)  g = Mul(x, half)  y = Mul(g, f)""",
    "by products": """
        a = Mul(x, x)  b = Mul(a, x)  c = Mul(b, cubic)  d = Add(x, c)  e = Mul(d, outer)
        f = Tanh(e)  g = Add(f, one)  h = Mul(x, g)  y = Mul(h, half)""",
    "factored": """
        a = Mul(x, x)  b = Mul(cubic, a)  c = Add(one, b)  d = Mul(outer, x)  e = Mul(d, c)
        f = Tanh(e)  g = Add(one, f)  h = Mul(half, x)  y = Mul(h, g)""",
}
OTHERS = {
    "relu": (Activation.RELU, "y = Relu(x)"),
    "relu as a maximum": (Activation.RELU, "y = Max(x, zero)"),
    "silu": (Activation.SILU, "a = Sigmoid(x)  y = Mul(x, a)"),
    "silu, other way round": (Activation.SILU, "a = Sigmoid(x)  y = Mul(a, x)"),
    "quick gelu": (Activation.QUICK_GELU, "a = Mul(x, quick)  b = Sigmoid(a)  y = Mul(x, b)"),
    "quick gelu, whole": (Activation.QUICK_GELU, "y = com.microsoft.QuickGelu(x)"),
    "tanh": (Activation.TANH, "y = Tanh(x)"),
    "sigmoid": (Activation.SIGMOID, "y = Sigmoid(x)"),
    "sigmoid, written out": (
        Activation.SIGMOID,
        "a = Neg(x)  b = Exp(a)  c = Add(one, b)  y = Reciprocal(c)",
    ),
}
FORMS = {
    **{f"gelu {name}": (Activation.GELU, body) for name, body in GELU.items()},
    **{f"gelu (tanh) {name}": (Activation.GELU_TANH, body) for name, body in GELU_TANH.items()},
    **OTHERS,
}
NUMBERS = """
    float root2 = {1.4142135}, float inverse = {0.70710677}, float one = {1}, float half = {0.5},
    float three = {3}, float cubic = {0.044715}, float outer = {0.7978846}, float quick = {1.702},
    float zero = {0}
"""


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_an_activation_become_one_node(name: str) -> None:
    kind, body = FORMS[name]
    # FastGelu and Gelu with tanh are computed in fewer digits by ONNX Runtime.
    fused = check(
        f"(float[4, 5] x) => (float[4, 5] y) <{NUMBERS}> {{ {body} }}", {"x": X}, tolerance=1e-5
    )
    assert fused.operators == {"plan.Activation": 1}
    assert fused.only("plan.Activation").attributes["kind"] == kind


def test_what_is_read_elsewhere_is_kept() -> None:
    fused = check(
        "(float[4, 5] x) => (float[4, 5] y, float[4, 5] a) { a = Sigmoid(x)  y = Mul(x, a) }",
        {"x": X},
    )
    assert fused.operators == {"plan.Activation": 1, "Mul": 1}


def test_what_else_reads_the_input_hides_nothing() -> None:
    fused = check(
        f"""(float[4, 5] x) => (float[4, 5] y, float[4, 5] z) <{NUMBERS}>
        {{ z = Mul(x, three)  a = Sigmoid(x)  y = Mul(x, a) }}""",
        {"x": X},
    )
    assert fused.operators == {"plan.Activation": 1, "plan.Affine": 1}


def test_what_only_resembles_an_activation_is_computed_as_it_is() -> None:
    fused = check(
        f"""(float[4, 5] x) => (float[4, 5] y) <{NUMBERS}>
        {{ a = Mul(x, root2)  b = Sigmoid(a)  y = Mul(x, b) }}""",
        {"x": X},
    )
    assert fused.operators == {"plan.Affine": 1, "plan.Activation": 1, "Mul": 1}


@pytest.mark.parametrize("operator", ["BiasGelu", "FastGelu"])
def test_a_bias_before_a_gelu_is_added(operator: str) -> None:
    fused = check(
        f"""(float[4, 5] x) => (float[4, 5] y)
        <float[5] bias> {{ y = com.microsoft.{operator}(x, bias) }}""",
        {"x": X},
        {"bias": random(5)},
        tolerance=1e-5,
    )
    assert fused.operators == {"Add": 1, "plan.Activation": 1}
