# SPDX-License-Identifier: Apache-2.0
"""Ways to choose codes for a matrix: with and without knowledge of its inputs. Pure.

A matrix is float32 [K, N] and is multiplied from the right; `moments` [K, K] is the mean of
x^T x over rows x of its inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from accelerate_models.quantized import Quantized, in_groups

from .grids import Format, Grid, fit_grid, round_to

if TYPE_CHECKING:
    from accelerate_core.types import Array

_DAMPING = 0.01
_BLOCK = 64  # rows whose errors are passed on at once
_HQQ_TURNS = 20
_HQQ_NORM = 0.7
_HQQ_BETA = 10.0
_HQQ_KAPPA = 1.01


def nearest(matrix: Array, format: Format) -> Quantized:
    """Return a matrix rounded to the nearest code, on the best grid of a search."""
    return round_to(matrix, fit_grid(matrix, format), format)


def half_quadratic(matrix: Array, format: Format) -> Quantized:
    """Return a matrix on grids whose zeros minimise an lp norm, p < 1, of the error.

    Half-quadratic quantization (HQQ; Badri and Shaji 2023): the error is split off by a shrinkage
    that spares few large ones, and zeros are set to the mean of what is left. They are no whole
    numbers.
    """
    made = nearest(matrix, format)
    grid = Grid(made.scales, made.zeros)
    beta = _HQQ_BETA
    rows = len(matrix)
    groups = in_groups(matrix, format.group)
    counts = in_groups(np.ones((rows, 1), np.float32), format.group)
    best, best_error = made, np.inf
    for _ in range(_HQQ_TURNS):
        made = round_to(matrix, grid, format)
        error = float((np.abs(matrix - made.dequantize()) ** _HQQ_NORM).mean())
        if error >= best_error:
            break
        best, best_error = made, error
        codes = in_groups(made.codes.astype(np.float32), format.group)
        rest = groups - grid.scales[:, None] * (codes - grid.zeros[:, None])
        large = np.abs(rest)
        shrunk = np.maximum(large - np.maximum(large, 1e-12) ** (_HQQ_NORM - 1) / beta, 0)
        split = np.sign(rest) * shrunk
        zeros = codes - (groups - split) / grid.scales[:, None]
        grid = Grid(grid.scales, (zeros * counts).sum(1) / counts.sum(1))
        beta *= _HQQ_KAPPA
    return best


def compensated(matrix: Array, moments: Array, format: Format) -> Quantized:
    """Return a matrix whose rows are rounded one by one, later ones making up for earlier errors.

    GPTQ (Frantar et al. 2022, arXiv:2210.17323), with static groups: grids are chosen first, so
    that rows can be taken in the order of how much their inputs vary. On MiniLM in 4 bits that
    order made a mean cosine of 0.9897, the rows' own 0.9888.
    """
    diagonal = np.diagonal(moments)
    grid = fit_grid(matrix, format, diagonal.astype(np.float32))
    order = np.argsort(-diagonal, kind="stable")
    factor = _inverse_factor(moments[np.ix_(order, order)])
    scales, zeros = (np.repeat(one, format.group, 0)[order] for one in (grid.scales, grid.zeros))
    rest = matrix[order].astype(np.float64)
    codes = np.zeros(matrix.shape, np.uint8)
    for start in range(0, len(rest), _BLOCK):
        end = min(start + _BLOCK, len(rest))
        errors = np.zeros((end - start, matrix.shape[1]))
        for row in range(start, end):
            code = np.clip(np.rint(rest[row] / scales[row] + zeros[row]), 0, format.top)
            codes[order[row]] = code
            rounded = scales[row] * (code - zeros[row])
            errors[row - start] = (rest[row] - rounded) / factor[row, row]
            rest[row + 1 : end] -= np.outer(factor[row, row + 1 : end], errors[row - start])
        rest[end:] -= factor[start:end, end:].T @ errors
    return Quantized(codes, grid.scales, grid.zeros, format.bits, format.group)


def _inverse_factor(moments: Array) -> Array:
    """Return the upper Cholesky factor of the inverse of damped moments."""
    damped = moments.astype(np.float64)
    damped[np.diag_indices_from(damped)] += _DAMPING * max(float(np.diagonal(damped).mean()), 1e-12)
    inverse = np.linalg.inv(damped)
    factor: Array = np.linalg.cholesky((inverse + inverse.T) / 2).T
    return factor
