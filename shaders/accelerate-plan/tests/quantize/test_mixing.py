# SPDX-License-Identifier: Apache-2.0
"""Bits of layers under a budget."""

from __future__ import annotations

from accelerate_plan.quantize.mixing import mean_bits, spread, wider
from hypothesis import given, settings
from hypothesis import strategies as st

layers = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.integers(1, 1000), st.integers(0, 9)), min_size=1
)


@settings(max_examples=40)
@given(layers=layers, budget=st.floats(4, 8))
def test_a_budget_is_kept_and_used(layers: dict[str, tuple[int, int]], budget: float) -> None:
    sizes = {name: one[0] for name, one in layers.items()}
    losses = {name: {4: one[1], 8: 0.0} for name, one in layers.items()}
    bits = spread(losses, sizes, budget)
    assert bits.keys() == sizes.keys() and set(bits.values()) <= {4, 8}
    assert mean_bits(bits, sizes) <= budget + 1e-9
    room = (budget - mean_bits(bits, sizes)) * sum(sizes.values())
    for name, number in bits.items():
        fits = 4 * sizes[name] <= room - 1e-6
        assert number == 8 or not fits or losses[name][4] == 0


def test_what_loses_most_gets_more() -> None:
    sizes = dict.fromkeys("abcd", 100)
    losses = {name: {4: loss, 8: 0.0} for name, loss in zip("abcd", (1, 9, 3, 2), strict=True)}
    assert spread(losses, sizes, 5.0) == {"a": 4, "b": 8, "c": 4, "d": 4}
    assert spread(losses, sizes, 8.0) == dict.fromkeys("abcd", 8)


def test_small_steps_come_first_where_they_save_most() -> None:
    losses = {"a": {2: 1.0, 3: 0.2, 4: 0.1, 8: 0.0}, "b": {2: 0.5, 3: 0.4, 4: 0.3, 8: 0.0}}
    assert spread(losses, {"a": 100, "b": 100}, 2.5) == {"a": 3, "b": 2}


def test_wider_numbers_of_bits() -> None:
    assert wider(2) == (3, 4, 8) and wider(8) == ()
