# SPDX-License-Identifier: Apache-2.0
"""Norms are found as operators and written out."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import check, random

X = random(2, 3, 7) + 1
CONSTANTS = {
    "w": random(7, seed=1),
    "b": random(7, seed=2),
    "w3": random(1, 1, 7, seed=3),
    "w37": random(3, 7, seed=4),
    "epsilon": np.array(1e-3, np.float32),
    "one": np.array(1, np.float32),
    "two": np.array(2, np.float32),
    "half": np.array(0.5, np.float32),
    "last": np.array([-1], np.int64),
}
LAYER_NORMS = {
    "whole": "y = LayerNormalization <epsilon = 0.001> (x, w, b)",
    "without bias": "y = LayerNormalization (x, w)",
    "over two axes": "y = LayerNormalization <axis = 1> (x, w37)",
    "written out": """
        m = ReduceMean(x, last)  d = Sub(x, m)  s = Pow(d, two)  v = ReduceMean(s, last)
        e = Add(v, epsilon)  r = Sqrt(e)  n = Div(d, r)  k = Mul(n, w)  y = Add(k, b)""",
    "written out, by products": """
        m = ReduceMean(x, last)  d = Sub(x, m)  s = Mul(d, d)  v = ReduceMean(s, last)
        e = Add(epsilon, v)  r = Sqrt(e)  i = Reciprocal(r)  n = Mul(i, d)  k = Mul(w3, n)
        y = Add(b, k)""",
    "written out, nothing learnt": """
        m = ReduceMean(x, last)  d = Sub(x, m)  s = Mul(d, d)  v = ReduceMean(s, last)
        e = Add(epsilon, v)  r = Sqrt(e)  y = Div(d, r)""",
}
RMS_NORMS = {
    "whole": "y = SimplifiedLayerNormalization <epsilon = 0.001> (x, w)",
    "written out": """
        s = Mul(x, x)  v = ReduceMean(s, last)  e = Add(v, epsilon)  r = Sqrt(e)  n = Div(x, r)
        y = Mul(n, w)""",
    "written out, by a power": """
        s = Pow(x, two)  v = ReduceMean(s, last)  e = Add(v, epsilon)  r = Pow(e, half)
        i = Div(one, r)  n = Mul(x, i)  y = Mul(w, n)""",
}


def graph(body: str) -> str:
    return f"(float[2, 3, 7] x) => (float[2, 3, 7] y) {{ {body} }}"


@pytest.mark.parametrize("name", LAYER_NORMS)
def test_forms_of_layer_norm_become_one_node(name: str) -> None:
    fused = check(graph(LAYER_NORMS[name]), {"x": X}, CONSTANTS, tolerance=1e-5)
    assert fused.operators == {"plan.LayerNorm": 1}


@pytest.mark.parametrize("name", RMS_NORMS)
def test_forms_of_rms_norm_become_one_node(name: str) -> None:
    fused = check(graph(RMS_NORMS[name]), {"x": X}, CONSTANTS, tolerance=1e-5)
    assert fused.operators == {"plan.RmsNorm": 1}


def test_a_norm_that_adds_first_leaves_the_sum_for_others() -> None:
    fused = check(
        """(float[2, 3, 7] x, float[2, 3, 7] z) => (float[2, 3, 7] y, float[2, 3, 7] t)
        { y, , , t = com.microsoft.SkipLayerNormalization <epsilon = 0.001> (x, z, w, b, b) }""",
        {"x": X, "z": random(2, 3, 7, seed=9)},
        CONSTANTS,
        tolerance=1e-5,
    )
    assert fused.operators == {"Add": 2, "plan.LayerNorm": 1}


def test_a_mean_over_another_axis_is_no_norm() -> None:
    body = LAYER_NORMS["written out"].replace("m = ReduceMean(x, last)", "m = ReduceMean(x, first)")
    constants = {**CONSTANTS, "first": np.array([0], np.int64)}
    fused = check(graph(body), {"x": X}, constants, tolerance=1e-5)
    # What it subtracts is no mean of rows; what is left is the RMS norm of the difference.
    assert fused.operators["plan.LayerNorm"] == 0 and fused.operators["Sub"] == 1
