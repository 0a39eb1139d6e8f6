# SPDX-License-Identifier: Apache-2.0
"""Attention is found in the arrangements of several exporters, and read where it lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .conftest import Fused, check, random

BATCH, ROWS, KEYS, HEADS, SIZE = 2, 3, 5, 4, 6
WIDTH = HEADS * SIZE
LOWEST = np.finfo(np.float32).min


def integers(*values: int) -> Any:
    return np.array(values, np.int64)


Q = random(BATCH, ROWS, WIDTH, seed=1)
K = random(BATCH, KEYS, WIDTH, seed=2)
V = random(BATCH, KEYS, WIDTH, seed=3)
MASK = np.where(np.arange(KEYS) < np.array([[KEYS], [3]]), 0, LOWEST).astype(np.float32)
SEEN = (MASK == 0)[:, None, None]
CONSTANTS = {
    "heads": integers(0, 0, HEADS, SIZE),
    "joined": integers(0, 0, WIDTH),
    "one_two": integers(1, 2),
    "divisor": np.array(2.5, np.float32),
    "scale": np.array(0.4, np.float32),
    "root": np.sqrt(np.array(0.4, np.float32)),
    "infinity": np.array(-np.inf, np.float32),
    "zero": np.array(0, np.float32),
    "bias": random(1, HEADS, ROWS, KEYS, seed=4),
    "causal": np.triu(np.full((ROWS, KEYS), LOWEST), KEYS - ROWS + 1)[None, None],
    "flat_q": integers(BATCH * HEADS, ROWS, SIZE),
    "flat_k": integers(BATCH * HEADS, KEYS, SIZE),
    "scores4": integers(BATCH, HEADS, ROWS, KEYS),
    "scores3": integers(BATCH * HEADS, ROWS, KEYS),
    "mixed4": integers(BATCH, HEADS, ROWS, SIZE),
    "joined2": integers(BATCH, ROWS, WIDTH),
}
HEAD = (
    f"(float[{BATCH}, {ROWS}, {WIDTH}] q, float[{BATCH}, {KEYS}, {WIDTH}] k, "
    f"float[{BATCH}, {KEYS}, {WIDTH}] v, float[{BATCH}, {KEYS}] mask, "
    f"bool[{BATCH}, 1, 1, {KEYS}] seen) => (float[{BATCH}, {ROWS}, {WIDTH}] y) "
)
SPLIT = """
    a = Reshape(q, heads)  qh = Transpose <perm = [0, 2, 1, 3]> (a)
    b = Reshape(k, heads)  kh = Transpose <perm = [0, 2, 3, 1]> (b)
    c = Reshape(v, heads)  vh = Transpose <perm = [0, 2, 1, 3]> (c)
"""
JOIN = """
    h = Transpose <perm = [0, 2, 1, 3]> (m)  y = Reshape(h, joined)
"""
FORMS = {
    "plain": f"{SPLIT} s = MatMul(qh, kh)  p = Softmax(s)  m = MatMul(p, vh) {JOIN}",
    "scaled and masked": f"""{SPLIT} w = Unsqueeze(mask, one_two)
        s = MatMul(qh, kh)  d = Div(s, divisor)  e = Add(d, w)  p = Softmax <axis = 3> (e)
        m = MatMul(p, vh) {JOIN}""",
    "query scaled before its heads are cut": f"""
        z = Mul(q, scale)  {SPLIT.replace("(q,", "(z,")}
        s = MatMul(qh, kh)  p = Softmax(s)  m = MatMul(p, vh) {JOIN}""",
    "both scaled, hidden by a choice": f"""{SPLIT}
        i = Mul(qh, root)  j = Mul(kh, root)  s = MatMul(i, j)  e = Where(seen, s, infinity)
        p = Softmax(e)  n = IsNaN(p)  r = Where(n, zero, p)  m = MatMul(r, vh) {JOIN}""",
    "hidden by a choice the other way": f"""{SPLIT} t = Not(seen)
        s = MatMul(qh, kh)  e = Where(t, infinity, s)  p = Softmax(e)  m = MatMul(p, vh) {JOIN}""",
    "bias and mask": f"""{SPLIT} w = Unsqueeze(mask, one_two)
        s = MatMul(qh, kh)  d = Add(bias, s)  e = Add(d, w)  p = Softmax(e)
        m = MatMul(p, vh) {JOIN}""",
    "causal": f"""{SPLIT}
        s = MatMul(qh, kh)  e = Add(s, causal)  p = Softmax(e)  m = MatMul(p, vh) {JOIN}""",
    "batches and heads as one axis": """
        a = Reshape(q, heads)  a1 = Transpose <perm = [0, 2, 1, 3]> (a)  qh = Reshape(a1, flat_q)
        b = Reshape(k, heads)  b1 = Transpose <perm = [0, 2, 1, 3]> (b)  b2 = Reshape(b1, flat_k)
        kh = Transpose <perm = [0, 2, 1]> (b2)
        c = Reshape(v, heads)  c1 = Transpose <perm = [0, 2, 1, 3]> (c)  vh = Reshape(c1, flat_k)
        w = Unsqueeze(mask, one_two)
        s = MatMul(qh, kh)  s4 = Reshape(s, scores4)  e = Add(s4, w)  e3 = Reshape(e, scores3)
        p = Softmax(e3)  m3 = MatMul(p, vh)  m = Reshape(m3, mixed4)
        h = Transpose <perm = [0, 2, 1, 3]> (m)  y = Reshape(h, joined2)""",
}


def attend(body: str, **others: Any) -> Fused:
    inputs = {"q": Q, "k": K, "v": V, "mask": MASK, "seen": SEEN}
    return check(f"{HEAD} {{ {body} }}", inputs, {**CONSTANTS, **others})


@pytest.mark.parametrize("name", FORMS)
def test_arrangements_become_one_step_and_its_mask(name: str) -> None:
    fused = attend(FORMS[name])
    steps = [step.operation for step in fused.program.steps]
    assert steps.count("attention") == 1
    # Nothing is transposed; what is left makes the mask.
    assert not {"copy", "matmul", "softmax"} & set(steps)
    assert len(steps) <= (3 if "other way" in name else 2)


def test_a_causal_mask_is_no_operand() -> None:
    node = attend(FORMS["causal"]).only("plan.Attention")
    assert node.attributes["causal"] and node.inputs[3] == ""
    for place, value in (((0, 0, 0, -1), 0), ((0, 0, -1, 0), 1)):
        almost = CONSTANTS["causal"].copy()
        almost[place] = value
        node = attend(FORMS["causal"], causal=almost).only("plan.Attention")
        assert not node.attributes["causal"] and node.inputs[3]


def test_rows_before_all_keys_see_all_alike() -> None:
    # Where a row hides every key, softmax spreads it evenly; the kernel would make it 0.
    hidden = np.triu(np.full((1, 1, KEYS, ROWS), LOWEST), ROWS - KEYS + 1)
    inputs = {
        "q": random(1, HEADS, KEYS, SIZE, seed=1),
        "k": random(1, HEADS, ROWS, SIZE, seed=2),
        "v": random(1, HEADS, ROWS, SIZE, seed=3),
    }
    shapes = {name: ", ".join(map(str, value.shape)) for name, value in inputs.items()}
    fused = check(
        f"""(float[{shapes["q"]}] q, float[{shapes["k"]}] k, float[{shapes["v"]}] v)
        => (float[{shapes["q"]}] y)
        {{ t = Transpose <perm = [0, 1, 3, 2]> (k)  s = MatMul(q, t)  e = Add(s, hidden)
            p = Softmax(e)  y = MatMul(p, v) }}""",
        inputs,
        {"hidden": hidden},
    )
    assert not fused.only("plan.Attention").attributes["causal"]


@pytest.mark.parametrize(
    "body",
    [
        # What is scaled behind the mask scales the mask.
        f"""{SPLIT} w = Unsqueeze(mask, one_two)  s = MatMul(qh, kh)  e = Add(s, bias)
        d = Mul(e, scale)  p = Softmax(d)  m = MatMul(p, vh) {JOIN}""",
        f"{SPLIT} s = MatMul(qh, kh)  p = Softmax <axis = 1> (s)  m = MatMul(p, vh) {JOIN}",
    ],
)
def test_what_is_no_attention_is_computed_as_it_is(body: str) -> None:
    assert attend(body).operators["plan.Attention"] == 0


GROUPS = 2
GROUPED = {
    **CONSTANTS,
    "few": integers(0, 0, GROUPS, SIZE),
    "two": integers(2),
    "repeated": integers(BATCH, GROUPS, HEADS // GROUPS, KEYS, SIZE),
    "repeated_heads": integers(BATCH, HEADS, KEYS, SIZE),
    "grouped_rows": integers(BATCH, GROUPS, -1, SIZE),
    "grouped_scores": integers(BATCH, GROUPS, -1, KEYS),
}
FEW = """
    a = Reshape(q, heads)  qh = Transpose <perm = [0, 2, 1, 3]> (a)
    b = Reshape(k, few)  b1 = Transpose <perm = [0, 2, 1, 3]> (b)
    c = Reshape(v, few)  c1 = Transpose <perm = [0, 2, 1, 3]> (c)
"""
GROUPED_FORMS = {
    "keys repeated": f"""{FEW}
        b2 = Unsqueeze(b1, two)  b3 = Expand(b2, repeated)  b4 = Reshape(b3, repeated_heads)
        c2 = Unsqueeze(c1, two)  c3 = Expand(c2, repeated)  vh = Reshape(c3, repeated_heads)
        kh = Transpose <perm = [0, 1, 3, 2]> (b4)
        s = MatMul(qh, kh)  p = Softmax(s)  m = MatMul(p, vh) {JOIN}""",
    "heads of a key as more rows": f"""{FEW}
        g = Reshape(qh, grouped_rows)  kh = Transpose <perm = [0, 1, 3, 2]> (b1)
        s3 = MatMul(g, kh)  s = Reshape(s3, scores4)  p = Softmax(s)
        p3 = Reshape(p, grouped_scores)  m3 = MatMul(p3, c1)  m = Reshape(m3, mixed4) {JOIN}""",
}


@pytest.mark.parametrize("name", GROUPED_FORMS)
def test_heads_that_share_keys_repeat_nothing(name: str) -> None:
    width = GROUPS * SIZE
    head = (
        f"(float[{BATCH}, {ROWS}, {WIDTH}] q, float[{BATCH}, {KEYS}, {width}] k, "
        f"float[{BATCH}, {KEYS}, {width}] v) => (float[{BATCH}, {ROWS}, {WIDTH}] y) "
    )
    inputs = {"q": Q, "k": K[..., :width].copy(), "v": V[..., :width].copy()}
    fused = check(f"{head} {{ {GROUPED_FORMS[name]} }}", inputs, GROUPED)
    assert [step.operation for step in fused.program.steps] == ["attention"]
    assert fused.only("plan.Attention").attributes["kv_heads"] == GROUPS


def test_sequences_in_front_of_batches_are_read_by_their_strides() -> None:
    width = BATCH * HEADS
    constants = {
        "q3": integers(ROWS, width, SIZE),
        "k3": integers(KEYS, width, SIZE),
        "back": integers(ROWS, BATCH, WIDTH),
    }
    fused = check(
        f"""(float[{ROWS}, {BATCH}, {WIDTH}] q, float[{KEYS}, {BATCH}, {WIDTH}] k,
        float[{KEYS}, {BATCH}, {WIDTH}] v) => (float[{ROWS}, {BATCH}, {WIDTH}] y) {{
        a = Reshape(q, q3)  qh = Transpose <perm = [1, 0, 2]> (a)
        b = Reshape(k, k3)  kh = Transpose <perm = [1, 2, 0]> (b)
        c = Reshape(v, k3)  vh = Transpose <perm = [1, 0, 2]> (c)
        s = MatMul(qh, kh)  p = Softmax(s)  m = MatMul(p, vh)
        h = Transpose <perm = [1, 0, 2]> (m)  y = Reshape(h, back) }}""",
        {
            name: np.ascontiguousarray(value.swapaxes(0, 1))
            for name, value in (("q", Q), ("k", K), ("v", V))
        },
        constants,
    )
    assert [step.operation for step in fused.program.steps] == ["attention"]


@pytest.mark.parametrize("batch", [1, 2])
def test_windows_are_more_batches(batch: int) -> None:
    windows = 3
    shape = (batch, windows, ROWS, WIDTH)
    axes = ", ".join(map(str, shape))
    fused = check(
        f"""(float[{axes}] q, float[{axes}] k, float[{axes}] v) => (float[{axes}] y) {{
        a = Reshape(q, heads)  qh = Transpose <perm = [0, 1, 3, 2, 4]> (a)
        b = Reshape(k, heads)  kh = Transpose <perm = [0, 1, 3, 4, 2]> (b)
        c = Reshape(v, heads)  vh = Transpose <perm = [0, 1, 3, 2, 4]> (c)
        s = MatMul(qh, kh)  d = Div(s, divisor)  e = Add(d, bias)  f = Add(e, apart)
        p = Softmax(f)  m = MatMul(p, vh)
        h = Transpose <perm = [0, 1, 3, 2, 4]> (m)  y = Reshape(h, joined) }}""",
        {name: random(*shape, seed=seed) for seed, name in enumerate("qkv")},
        {
            "heads": integers(0, 0, 0, HEADS, SIZE),
            "joined": integers(0, 0, 0, WIDTH),
            "divisor": np.array(2.5, np.float32),
            "bias": np.where(np.eye(ROWS, k=1) > 0, LOWEST, random(HEADS, ROWS, ROWS, seed=4)),
            "apart": np.where(random(windows, 1, ROWS, ROWS, seed=5) > 1, LOWEST, 0),
        },
    )
    # The masks of all windows are one constant; it is repeated where there are several batches.
    steps = [step.operation for step in fused.program.steps]
    assert steps == ["copy", "attention"][2 - batch :]


@pytest.mark.parametrize("rows", [1, ROWS])
def test_a_result_that_stays_by_head_is_turned_behind(rows: int) -> None:
    fused = check(
        f"""(float[{BATCH}, {HEADS}, {rows}, {SIZE}] q, float[{BATCH}, {HEADS}, {SIZE}, {KEYS}] k,
        float[{BATCH}, {HEADS}, {KEYS}, {SIZE}] v) => (float[{BATCH}, {HEADS}, {rows}, {SIZE}] y) {{
        b = Transpose <perm = [0, 1, 3, 2]> (k)  d = Relu(b)
        e = Transpose <perm = [0, 1, 3, 2]> (d)  s = MatMul(q, e)  p = Softmax(s)
        y = MatMul(p, v) }}""",
        {
            "q": random(BATCH, HEADS, rows, SIZE, seed=1),
            "k": random(BATCH, HEADS, SIZE, KEYS, seed=2),
            "v": random(BATCH, HEADS, KEYS, SIZE, seed=3),
        },
    )
    steps = [step.operation for step in fused.program.steps]
    # Keys [size, rows] are turned before, for their last axis is no row of them.
    assert steps == ["copy", "unary", "attention", "copy"][: 3 if rows == 1 else 4]


def test_shares_that_are_put_out_keep_the_softmax() -> None:
    body = FORMS["plain"].replace("p = Softmax(s)", "p = Softmax(s)")
    head = HEAD.replace(") =>", ") =>").replace(
        "] y)", f"] y, float[{BATCH}, {HEADS}, {ROWS}, {KEYS}] p)"
    )
    inputs = {"q": Q, "k": K, "v": V, "mask": MASK, "seen": SEEN}
    fused = check(f"{head} {{ {body} }}", inputs, CONSTANTS)
    assert fused.operators["plan.Attention"] == 0


def test_keys_that_are_values_are_copied_once() -> None:
    body = FORMS["plain"].replace("Reshape(v, heads)", "Reshape(k, heads)")
    steps = [step.operation for step in attend(body).program.steps]
    assert steps == ["copy", "attention"]
