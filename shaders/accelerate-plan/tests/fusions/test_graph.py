# SPDX-License-Identifier: Apache-2.0
"""What changes nothing is dropped, and tensors are seen as walks over the memory of others."""

from __future__ import annotations

import math

import numpy as np
from accelerate_plan.fusions.strided import Strided
from hypothesis import given
from hypothesis import strategies as st

from .conftest import check, random


def test_copies_and_casts_of_the_same_are_dropped() -> None:
    fused = check(
        """(float[2, 3] x, int64[3] i) => (float[2, 3] y, int64[3] j)
        { a = Identity(x)  b = Cast <to = 10> (a)  c = Cast <to = 1> (b)  d = Dropout(c)
          e = Expand(d, shape)  y = Relu(e)  k = Cast <to = 6> (i)  l = Cast <to = 7> (k)
          j = Identity(l) }""",
        {"x": random(2, 3), "i": np.array([1, -2, 3])},
        {"shape": np.array([2, 3])},
        tolerance=1e-3,  # ONNX Runtime rounds to float16, we do not
    )
    assert fused.operators == {"plan.Activation": 1}
    assert [step.operation for step in fused.program.steps] == ["unary"]


def test_a_cast_to_truth_is_no_copy() -> None:
    fused = check(
        """(int64[3] i) => (int64[3] j) { k = Cast <to = 9> (i)  j = Cast <to = 7> (k) }""",
        {"i": np.array([0, 5, -2])},
    )
    assert fused.operators == {"Cast": 1}


SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@given(SIZES, st.data())
def test_a_walk_finds_what_numpy_finds(shape: tuple[int, ...], data: st.DataObject) -> None:
    memory = np.arange(math.prod(shape))
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    walk, expected = Strided.contiguous("x", shape), memory.reshape(shape)
    walk, expected = walk.transposed(order), expected.transpose(order)
    if expected.shape[0] == 1:
        wide = (3, *expected.shape[1:])
        walk, expected = walk.expanded(wide), np.broadcast_to(expected, wide)
    to = data.draw(
        st.sampled_from(
            [
                expected.shape[::-1],
                (expected.size,),
                (1, expected.size, 1),
                (*expected.shape[:1], 1, *expected.shape[1:]),
                (math.prod(expected.shape[:2]), *expected.shape[2:]),
            ]
        )
    )
    found = walk.reshaped(to)
    try:
        wanted = np.reshape(expected, to, copy=False)
    except ValueError:  # numpy would have to copy, too
        assert found is None
        return
    assert found is not None
    steps = np.array(found.strides) * memory.itemsize
    view = np.lib.stride_tricks.as_strided(memory, to, steps)
    np.testing.assert_array_equal(view, wanted)
