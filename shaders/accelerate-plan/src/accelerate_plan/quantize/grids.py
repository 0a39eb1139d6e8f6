# SPDX-License-Identifier: Apache-2.0
"""The grids that weights are rounded to: a scale and a zero per group of rows and column. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from accelerate_models.quantized import Quantized, in_groups, keep_11_bits

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: Shares of a group's range that are tried. What lies outside is cut off: the rest gets finer.
_SHARES = np.linspace(1.0, 0.6, 17)


@attrs.frozen
class Format:
    """Say how weights are stored."""

    bits: int
    group: int

    @property
    def top(self) -> int:
        """The largest code."""
        return (1 << self.bits) - 1


@attrs.frozen(eq=False)
class Grid:
    """Hold scales and zeros, float32 [ceil(K / group), N]."""

    scales: Array
    zeros: Array


def fit_grid(matrix: Array, format: Format, importance: Array | None = None) -> Grid:
    """Return the grid with the least squared error of rounding, over shares of the range.

    `importance` [K] weighs the rows. Zeros are whole numbers, and zero is on every grid.
    """
    groups = in_groups(matrix, format.group)
    weights = np.ones((len(groups), format.group, 1), np.float32)
    if importance is not None:
        weights = in_groups(importance[:, None], format.group)
    low, high = np.minimum(groups.min(1), 0), np.maximum(groups.max(1), 0)
    best = np.full(low.shape, np.inf, np.float32)
    scales, zeros = np.ones_like(low), np.zeros_like(low)
    for share in _SHARES:
        tried = _grid(low * np.float32(share), high * np.float32(share), format)
        codes = _codes(groups, tried, format)
        rounded = tried.scales[:, None] * (codes - tried.zeros[:, None])
        errors = (weights * (groups - rounded) ** 2).sum(1)
        is_better = errors < best
        best = np.where(is_better, errors, best)
        scales = np.where(is_better, tried.scales, scales)
        zeros = np.where(is_better, tried.zeros, zeros)
    return Grid(scales, zeros)


def round_to(matrix: Array, grid: Grid, format: Format) -> Quantized:
    """Return a matrix rounded to a grid."""
    codes = _codes(in_groups(matrix, format.group), grid, format)
    flat = codes.reshape(-1, matrix.shape[1])[: len(matrix)].astype(np.uint8)
    return Quantized(flat, grid.scales, grid.zeros, format.bits, format.group)


def _grid(low: Array, high: Array, format: Format) -> Grid:
    scales = keep_11_bits((high - low) / np.float32(format.top))
    scales[scales == 0] = 1
    zeros = np.clip(np.rint(-low / scales), 0, format.top)
    return Grid(scales, zeros.astype(np.float32))


def _codes(groups: Array, grid: Grid, format: Format) -> Array:
    codes = np.rint(groups / grid.scales[:, None] + grid.zeros[:, None])
    clipped: Array = np.clip(codes, 0, format.top)
    return clipped
