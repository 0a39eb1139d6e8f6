# SPDX-License-Identifier: Apache-2.0
"""Solvers do better than what they start from, in the measure that they minimise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from accelerate_models.quantized import Quantized, round_to_nearest
from accelerate_plan.quantize.grids import Format
from accelerate_plan.quantize.solvers import compensated, half_quadratic, nearest
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from accelerate_core.types import Array

ROWS, COLUMNS = 96, 40
RNG = np.random.default_rng(1)
MATRIX = RNG.normal(0, 0.1, (ROWS, COLUMNS)).astype(np.float32)
#: Inputs that are correlated and of unlike size, as activations are.
INPUTS = (
    RNG.normal(size=(300, ROWS)) @ RNG.normal(0, 0.3, (ROWS, ROWS)) * np.exp(RNG.normal(0, 1, ROWS))
).astype(np.float32)
MOMENTS = INPUTS.T @ INPUTS / len(INPUTS)


def output_error(made: Quantized) -> float:
    return float(np.linalg.norm(INPUTS @ (MATRIX - made.dequantize())))


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_gptq_errs_less_than_rounding_where_inputs_are_correlated(bits: int) -> None:
    made = compensated(MATRIX, MOMENTS, Format(bits, 32))
    assert made.codes.max() < 2**bits
    assert output_error(made) < 0.6 * output_error(nearest(MATRIX, Format(bits, 32)))


def test_gptq_takes_inputs_that_are_never_there_and_a_short_last_group() -> None:
    moments = np.zeros((75, 75), np.float32)
    moments[:30, :30] = MOMENTS[:30, :30]
    made = compensated(MATRIX[:75], moments, Format(4, 32))
    assert np.isfinite(made.dequantize()).all()
    assert made.scales.shape == (3, COLUMNS)


def test_gptq_of_unrelated_inputs_is_rounding() -> None:
    """Without correlation there is nothing to make up for."""
    made = compensated(MATRIX, np.eye(ROWS, dtype=np.float32), Format(4, 32))
    np.testing.assert_array_equal(made.codes, nearest(MATRIX, Format(4, 32)).codes)


@settings(max_examples=30)
@given(
    bits=st.sampled_from((8, 4, 3, 2)),
    group=st.sampled_from((16, 32, 64)),
    rows=st.integers(1, 100),
    seed=st.integers(0, 50),
)
def test_a_search_never_does_worse_than_the_whole_range(
    bits: int, group: int, rows: int, seed: int
) -> None:
    matrix = np.random.default_rng(seed).standard_t(3, (rows, 9)).astype(np.float32)

    def error(made: Quantized) -> Array:
        squares = (matrix - made.dequantize()) ** 2
        return np.add.reduceat(squares, np.arange(0, rows, group), axis=0)

    found = nearest(matrix, Format(bits, group))
    assert (error(found) <= error(round_to_nearest(matrix, bits, group)) * 1.0001 + 1e-9).all()
    assert (found.zeros == np.rint(found.zeros)).all()


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_half_quadratic_lowers_its_norm(bits: int) -> None:
    def norm(made: Quantized) -> float:
        return float((np.abs(MATRIX - made.dequantize()) ** 0.7).mean())

    assert norm(half_quadratic(MATRIX, Format(bits, 32))) < 0.99 * norm(
        nearest(MATRIX, Format(bits, 32))
    )
