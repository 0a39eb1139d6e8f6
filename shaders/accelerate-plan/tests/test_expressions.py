# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of `kernel.toml` is Python's, and nothing else gets through."""

from __future__ import annotations

import math

import pytest
from accelerate_plan.expressions import evaluate
from hypothesis import given
from hypothesis import strategies as st

from accelerate_core.errors import PluginError

NAMES = {"m": 7, "n": 384, "shape_0": 0, "workgroup": 8.0}

COMPARISONS = ["==", "!=", "<", "<=", ">", ">=", "and", "or"]

numbers = st.sampled_from(["1", "2.5", "16", *NAMES])
expressions = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        st.tuples(inner, st.sampled_from(COMPARISONS), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            lambda parts: f"{parts[0]}({parts[1]}, {parts[2]})"
        ),
        inner.map(lambda one: f"(not {one})"),
        inner.map(lambda one: f"-{one}"),
    ),
    max_leaves=12,
)


@given(expressions)
def test_values_are_pythons(text: str) -> None:
    try:
        wanted = eval(text, {"min": min, "max": max}, dict(NAMES))
    except ZeroDivisionError:
        with pytest.raises(PluginError, match=r"division|modulo"):
            evaluate(text, NAMES)
        return
    found = evaluate(text, NAMES)
    # `and` and `or` give a truth value here, an operand in Python.
    if " and " in text or " or " in text:
        assert math.isfinite(found)
    else:
        assert found == wanted


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("m > 8 or n % 4 == 0", True),
        ("m > 8 and n % 4 == 0", False),
        ("not (m == 7)", False),
        ("1", True),
    ],
)
def test_conditions_are_true_or_false(text: str, truth: bool) -> None:
    assert bool(evaluate(text, NAMES)) is truth


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m +",
        "k * 2",
        "m ** 2",
        "1 < m < 9",
        "'m'",
        "[m]",
        "m.real",
        "m if n else 2",
        "abs(m)",
        "min(m, key=n)",
        "min()",
        "__import__('os')",
        "(lambda: 1)()",
        "m / shape_0",
        "m\0",
    ],
)
def test_anything_else_is_refused_with_what_is_known(text: str) -> None:
    with pytest.raises(PluginError) as caught:
        evaluate(text, NAMES, where="linear/kernel.toml")
    info = caught.value.info
    assert info.where == "linear/kernel.toml" and repr(text) in info.message
    assert set(NAMES) <= set(info.accepted)
