# SPDX-License-Identifier: Apache-2.0
"""Sums of look-ups become one step, and arithmetic with single numbers one more."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import check, random

IDS = np.array([[3, 0, 2], [1, 3, -1]], np.int64)
KINDS = np.array([[0, 1, 1], [1, 0, 0]], np.int64)
CONSTANTS = {
    "words": random(4, 5, seed=1),
    "kinds": random(2, 5, seed=2),
    "positions": random(3, 5, seed=3),
    "row": random(5, seed=4),
    "column": random(3, 1, seed=5),
    "third": random(4, 5, seed=6),
}
HEAD = "(int64[2, 3] ids, int64[2, 3] types) => (float[2, 3, 5] y)"
FORMS = {
    "one table": ("y = Gather(words, ids)", 0),
    "two tables": ("a = Gather(words, ids)  b = Gather(kinds, types)  y = Add(a, b)", 0),
    "two tables and positions": (
        "a = Gather(words, ids)  b = Gather(kinds, types)  c = Add(a, b)  y = Add(positions, c)",
        0,
    ),
    "positions in between": (
        "a = Gather(words, ids)  b = Gather(kinds, types)  c = Add(a, positions)  y = Add(b, c)",
        0,
    ),
    "one row for all": ("a = Gather(words, ids)  y = Add(a, row)", 0),
    # The third table's rows are what is added to the sum of two others.
    "three tables": (
        """a = Gather(words, ids)  b = Gather(kinds, types)  c = Add(a, b)  d = Gather(third, ids)
        y = Add(c, d)""",
        1,
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_sums_become_one_step(name: str) -> None:
    body, more = FORMS[name]
    fused = check(f"{HEAD} {{ {body} }}", {"ids": IDS, "types": KINDS}, CONSTANTS)
    assert [one.operation for one in fused.program.steps] == ["embedding"] * (1 + more)


def test_what_is_no_repetition_is_added_by_itself() -> None:
    fused = check(
        f"{HEAD} {{ a = Gather(words, ids)  y = Add(a, column) }}",
        {"ids": IDS, "types": KINDS},
        CONSTANTS,
    )
    assert fused.operators == {"plan.Embedding": 1, "Add": 1}


def test_the_same_ids_twice_are_no_operands_of_one_dispatch() -> None:
    fused = check(
        f"{HEAD} {{ a = Gather(words, ids)  b = Gather(third, ids)  y = Add(a, b) }}",
        {"ids": IDS, "types": KINDS},
        CONSTANTS,
    )
    assert [one.operation for one in fused.program.steps] == ["copy", "embedding"]


def test_arithmetic_with_numbers_is_one_node() -> None:
    numbers = "float one = {1}, float half = {0.5}, float two = {2}, float three = {3}"
    fused = check(
        f"""(float[4, 5] x) => (float[4, 5] y) <{numbers}>
        {{ a = Sub(one, x)  b = Mul(a, three)  c = Div(b, two)  y = Add(half, c) }}""",
        {"x": random(4, 5)},
    )
    assert fused.operators == {"plan.Affine": 1}
    node = fused.only("plan.Affine")
    assert (node.attributes["alpha"], node.attributes["beta"]) == (-1.5, 2.0)


def test_a_mask_of_integers_becomes_what_is_added_to_scores() -> None:
    lowest = np.finfo(np.float32).min
    fused = check(
        """(int64[2, 3] mask) => (float[2, 1, 1, 3] y) <float one = {1}>
        { a = Cast <to = 1> (mask)  b = Sub(one, a)  c = Mul(b, lowest)
          y = Unsqueeze(c, axes) }""",
        {"mask": np.array([[1, 1, 0], [1, 0, 0]])},
        {"lowest": np.array(lowest), "axes": np.array([1, 2])},
    )
    assert fused.operators == {"plan.Affine": 1}


def test_numbers_too_large_for_a_factor_stay_apart() -> None:
    fused = check(
        """(float[3] x) => (float[3] y) <float large = {1e30}>
        { a = Mul(x, large)  y = Mul(a, large) }""",
        {"x": np.array([0, 1e-30, 1e-25], np.float32)},
    )
    assert fused.operators == {"plan.Affine": 2}
