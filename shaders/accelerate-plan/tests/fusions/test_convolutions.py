# SPDX-License-Identifier: Apache-2.0
"""Convolutions become linear layers, with channels last for as long as it goes."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import check, random

X = random(2, 6, 8, 10)
CONSTANTS = {
    "w3": random(4, 6, 3, 3, seed=1) / 4,
    "v3": random(4, 4, 3, 3, seed=2) / 4,
    "w1": random(4, 6, 1, 1, seed=3) / 4,
    "v1": random(4, 4, 1, 1, seed=4) / 4,
    "b": random(4, seed=5),
    "g": random(4, 3, 3, 3, seed=6),
    "rows": np.array([2, 4, 80]),
}
SAME = "<pads = [1, 1, 1, 1]>"


def graph(body: str, shape: str = "2, 4, 8, 10") -> str:
    return f"(float[2, 6, 8, 10] x) => (float[{shape}] y) {{ {body} }}"


def test_a_block_of_a_resnet_is_turned_at_its_ends_only() -> None:
    body = f"""
        p = Conv {SAME} (x, w3, b)  a = Relu(p)
        q = Conv {SAME} (a, v3, b)  c = Relu(q)
        d = Conv (c, v1, b)  s = Conv (x, w1)  e = Add(d, s)  y = Relu(e)"""
    fused = check(graph(body), {"x": X}, CONSTANTS, tolerance=1e-5)
    # The shortcut reads x with channels last, the end puts channels first again.
    assert fused.operators == {
        "plan.Unfold": 2,
        "plan.Linear": 4,
        "Transpose": 2,
        "plan.Activation": 1,
    }


def test_patches_become_rows_without_being_turned() -> None:
    body = """p = Conv <strides = [3, 3]> (x, w3, b)  r = Reshape(p, rows)
        y = Transpose <perm = [0, 2, 1]> (r)"""
    given = CONSTANTS | {"rows": np.array([2, 4, -1])}
    fused = check(graph(body, "2, 6, 4"), {"x": X}, given, tolerance=1e-5)
    assert fused.operators == {"plan.Unfold": 1, "plan.Linear": 1}
    assert [step.operation for step in fused.program.steps] == ["unfold", "linear"]


def test_what_is_turned_may_be_read_by_others_too() -> None:
    body = f"p = Conv {SAME} (x, w3)  a = Relu(p)  c = Neg(p)  y = Add(a, c)"
    check(graph(body), {"x": X}, CONSTANTS, tolerance=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        f"p = Conv {SAME} (x, w3)  k = Neg(b)  n = Unsqueeze(k, axes)  y = Mul(p, n)",
        f"p = Conv {SAME} (x, w3)  s = Sigmoid(x4)  y = Mul(p, s)",
        f"p = Conv {SAME} (x, w3)  y = Max(p, number)",
    ],
)
def test_what_is_broadcast_or_was_never_turned_is_not_moved(body: str) -> None:
    given = CONSTANTS | {"axes": np.array([1, 2]), "x4": random(2, 4, 8, 10)}
    given["number"] = np.full((1, 1, 1, 1), 0.1, np.float32)
    check(graph(body), {"x": X}, given, tolerance=1e-5)


def test_groups_stay_convolutions() -> None:
    body = "y = Conv <group = 2, pads = [1, 1, 1, 1]> (x, g, b)"
    fused = check(graph(body), {"x": X}, CONSTANTS, tolerance=1e-5)
    assert fused.operators == {"Conv": 1}


def test_what_would_be_too_large_unfolded_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate_plan.fusions.convolutions._UNFOLDED_BYTES", 30000)
    fused = check(graph(f"y = Conv {SAME} (x, w3, b)"), {"x": X}, CONSTANTS, tolerance=1e-5)
    assert fused.operators == {"Conv": 1}
