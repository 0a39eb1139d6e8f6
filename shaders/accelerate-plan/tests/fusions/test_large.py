# SPDX-License-Identifier: Apache-2.0
"""Weights that no device has to be able to bind are cut."""

from __future__ import annotations

import numpy as np
import pytest
from accelerate_plan.fusions import large

from .conftest import check, random

IDS = np.array([[3, 0, 2], [1, 3, -1]], np.int64)
CONSTANTS = {
    "words": random(4, 150, seed=1),
    "kinds": random(2, 150, seed=2),
    "positions": random(3, 150, seed=3),
    "w": random(5, 150, seed=4),
    "half": random(5, 150, seed=4).astype(np.float16),
    "bias": random(150, seed=5),
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "_MOST_BYTES", 1499)


@pytest.mark.parametrize(
    ("body", "lookups", "sums"),
    [
        ("y = Gather(words, ids)", 3, 0),
        ("a = Gather(words, ids)  y = Add(a, positions)", 3, 1),
        (
            """a = Gather(words, ids)  b = Gather(kinds, types)  c = Add(a, b)
            y = Add(c, positions)""",
            4,
            1,
        ),
    ],
)
def test_tables_are_cut_by_columns(body: str, lookups: int, sums: int) -> None:
    fused = check(
        f"(int64[2, 3] ids, int64[2, 3] types) => (float[2, 3, 150] y) {{ {body} }}",
        {"ids": IDS, "types": IDS % 2},
        CONSTANTS,
    )
    assert fused.operators["plan.Embedding"] == lookups
    assert (fused.operators["Concat"], fused.operators["Add"]) == (1, sums)


@pytest.mark.parametrize(("parts", "residual"), [("", ""), ("bias", ""), ("bias", "residual")])
def test_layers_are_cut_by_columns(parts: str, residual: str) -> None:
    bias = "c = Add(a, bias)" if parts else "c = Identity(a)"
    add = "y = Add(d, z)" if residual else "y = Identity(d)"
    fused = check(
        f"""(float[2, 3, 5] x, float[2, 3, 150] z) => (float[2, 3, 150] y)
        {{ a = MatMul(x, w)  {bias}  d = Relu(c)  {add} }}""",
        {"x": random(2, 3, 5), "z": random(2, 3, 150)},
        CONSTANTS,
    )
    sizes = [one.params["n"] for one in fused.program.steps if one.operation == "linear"]
    assert sizes == [64, 64, 22]
    assert fused.operators["Add"] == bool(residual)


def test_halves_take_half_the_room() -> None:
    fused = check(
        """(float[2, 5] x) => (float[2, 150] y)
        { h = Cast <to = 10> (x)  a = MatMul(h, half)  y = Cast <to = 1> (a) }""",
        {"x": random(2, 5)},
        CONSTANTS,
        tolerance=1e-2,  # ONNX Runtime rounds to float16, we do not
    )
    steps = [one.params["n"] for one in fused.program.steps if one.operation == "linear_f16"]
    assert steps == [128, 22]


def test_what_can_be_bound_is_left_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "_MOST_BYTES", 4 * 5 * 150)
    fused = check(
        "(float[2, 5] x) => (float[2, 150] y) { y = MatMul(x, w) }",
        {"x": random(2, 5)},
        CONSTANTS,
    )
    assert fused.operators == {"plan.Linear": 1}
