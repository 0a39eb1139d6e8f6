# SPDX-License-Identifier: Apache-2.0
"""Rotary embeddings are found in the forms that exporters write."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import check, random

# Batch, heads, length, size.
X = random(2, 3, 5, 8)
CONSTANTS = {
    "zero": np.array([0]),
    "half": np.array([4]),
    "all": np.array([2**62]),
    "back": np.array([-4]),
    "last": np.array([-1]),
    "halves": np.array([4, 4]),
    "uneven": np.array([3, 5]),
    "three": np.array([3]),
}
LOWER = "lower = Slice(x, zero, half, last)"
FORMS = {
    "halves negated": f"""
        upper = Slice(x, half, all, last)  {LOWER}  n = Neg(upper)
        turned = Concat <axis = -1> (n, lower)""",
    "halves negated, from the end": f"""
        upper = Slice(x, back, all, last)  {LOWER}  n = Neg(upper)
        turned = Concat <axis = 3> (n, lower)""",
    "halves of a split": """
        lower, upper = Split <axis = -1> (x, halves)  n = Neg(upper)
        turned = Concat <axis = -1> (n, lower)""",
    "halves swapped, for a signed sine": f"""
        upper = Slice(x, half, all, last)  {LOWER}
        turned = Concat <axis = -1> (upper, lower)""",
}
ENDS = {
    "in order": "a = Mul(x, cos)  b = Mul(turned, sin)  y = Add(a, b)",
    "the other way round": "a = Mul(cos, x)  b = Mul(sin, turned)  y = Add(b, a)",
}
#: What cos and sin are broadcast over.
ANGLES = {"of all": (1, 1, 5, 8), "of each batch": (2, 1, 5, 8), "of no batch": (5, 8)}


def graph(form: str, end: str, angles: tuple[int, ...]) -> str:
    shape = ", ".join(map(str, angles))
    return f"""(float[2, 3, 5, 8] x, float[{shape}] cos, float[{shape}] sin)
        => (float[2, 3, 5, 8] y) {{ {form} {end} }}"""


def inputs(angles: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {"x": X, "cos": random(*angles, seed=1), "sin": random(*angles, seed=2)}


@pytest.mark.parametrize("angles", ANGLES.values(), ids=ANGLES)
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("form", FORMS)
def test_forms_become_one_node(form: str, end: str, angles: tuple[int, ...]) -> None:
    if len(angles) < 4:
        angles = (1, 1, *angles)
    fused = check(graph(FORMS[form], end, angles), inputs(angles), CONSTANTS)
    assert fused.operators["plan.Rotary"] == 1
    # A sine for halves that are not negated gets its sign once.
    assert fused.operators["Mul"] == ("signed" in form)
    assert fused.operators.total() == 1 + ("signed" in form)


def test_heads_may_come_behind_the_length_and_be_turned_for_it() -> None:
    """As projections put them out; the turning is left to the strides."""
    text = f"""(float[2, 5, 24] p, float[1, 1, 5, 8] cos, float[1, 1, 5, 8] sin)
        => (float[2, 3, 5, 8] y) {{
        r = Reshape(p, shape)  x = Transpose <perm = [0, 2, 1, 3]> (r)
        {FORMS["halves negated"]} {ENDS["in order"]} }}"""
    given = inputs((1, 1, 5, 8)) | {"p": random(2, 5, 24)}
    del given["x"]
    fused = check(text, given, CONSTANTS | {"shape": np.array([2, 5, 3, 8])})
    assert fused.operators == {"plan.Rotary": 1}
    assert fused.only("plan.Rotary").attributes["x_strides"] == (120, 24, 8, 0)


def test_layers_share_a_sine_with_signs() -> None:
    form = FORMS["halves swapped, for a signed sine"]
    text = f"""(float[2, 3, 5, 8] x, float[1, 1, 5, 8] cos, float[1, 1, 5, 8] sin)
        => (float[2, 3, 5, 8] z) {{
        {form} {ENDS["in order"]}
        upper2 = Slice(y, half, all, last)  lower2 = Slice(y, zero, half, last)
        turned2 = Concat <axis = -1> (upper2, lower2)
        c = Mul(y, cos)  d = Mul(turned2, sin)  z = Add(c, d) }}"""
    fused = check(text, inputs((1, 1, 5, 8)), CONSTANTS, tolerance=1e-5)
    assert fused.operators == {"plan.Rotary": 2, "Mul": 1}


@pytest.mark.parametrize(
    "form",
    [
        "lower, upper = Split <axis = -1> (x, uneven)  turned = Concat <axis = -1> (upper, lower)",
        f"upper = Slice(x, half, all, last)  {LOWER}  turned = Concat <axis = -1> (lower, upper)",
        "turned = Sin(x)",
    ],
)
def test_what_only_looks_alike_stays(form: str) -> None:
    fused = check(graph(form, ENDS["in order"], (1, 1, 5, 8)), inputs((1, 1, 5, 8)), CONSTANTS)
    assert not fused.operators["plan.Rotary"]
