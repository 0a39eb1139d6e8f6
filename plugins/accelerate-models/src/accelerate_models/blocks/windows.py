# SPDX-License-Identifier: Apache-2.0
"""Attention within windows of a map, shifted from layer to layer: Swin (arXiv:2103.14030).

A map is a sequence of its positions, row by row. Its sizes are fixed, so that every reordering is
one lookup by a constant.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..graph import CONSTANT_PREFIX, GraphBuilder, Value
from .attention import AttentionNames
from .layers import linear

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: What Swin adds to scores between parts of a window that are no neighbours in the map.
_APART = -100.0


@attrs.frozen(kw_only=True)
class Windows:
    """Hold how a square map is cut: its side and a window's are multiples."""

    side: int
    window: int
    shift: int  #: positions by which the map is rolled up and left before it is cut; 0 for none

    @property
    def count(self) -> int:
        """Return the number of windows."""
        return (self.side // self.window) ** 2

    @property
    def area(self) -> int:
        """Return the positions of a window."""
        return self.window**2

    def order(self) -> Array:
        """Return the positions of the map, window by window: int64 [side * side]."""
        positions = np.arange(self.side**2, dtype=np.int64).reshape(self.side, self.side)
        return self._cut(np.roll(positions, (-self.shift, -self.shift), (0, 1))).reshape(-1)

    def apart(self) -> Array:
        """Return what is added to scores: float32 [windows, 1, area, area].

        Rolled, the map's edges lie in the middle of windows: they split them.
        """
        edges = (self.side - self.window, self.side - self.shift)
        region = np.digitize(np.arange(self.side), edges)
        regions = self._cut(region[:, None] * 3 + region)
        is_apart = regions[:, None, :, None] != regions[:, None, None, :]
        return np.where(is_apart, np.float32(_APART), np.float32(0.0))

    def distances(self) -> Array:
        """Return the row of the bias table for each pair of positions: int64 [area, area]."""
        line = np.arange(self.area)
        rows, columns = (part[:, None] - part for part in (line // self.window, line % self.window))
        pairs: Array = (rows + self.window - 1) * (2 * self.window - 1) + columns + self.window - 1
        return pairs

    def _cut(self, positions: Array) -> Array:
        across = self.side // self.window
        parts = positions.reshape(across, self.window, across, self.window)
        return parts.transpose(0, 2, 1, 3).reshape(self.count, self.area)


def window_attention(
    g: GraphBuilder,
    x: Value,
    names: AttentionNames,
    table: str,
    windows: Windows,
    hidden: int,
    heads: int,
) -> Value:
    """Let every position of [batch, side * side, hidden] ask those of its window.

    `table` is the checkpoint's bias by distance, [(2 * window - 1) ** 2, heads].
    """
    order, size = windows.order(), hidden // heads
    count, area = windows.count, windows.area
    cut = g.op("Reshape", reorder(g, x, order), g.integers(0, count, area, hidden))
    query, key, value = (
        _heads(g, cut, name, hidden, heads, part in names.biased)
        for part, name in (("query", names.query), ("key", names.key), ("value", names.value))
    )
    scores = g.op("MatMul", query, g.op("Transpose", key, perm=(0, 1, 2, 4, 3)))
    scores = g.op("Div", scores, g.number(math.sqrt(size)))
    scores = g.op("Add", scores, _distance_bias(g, table, windows, heads))
    if windows.shift:
        name = f"{CONSTANT_PREFIX}apart_{windows.side}_{windows.window}_{windows.shift}"
        scores = g.op("Add", scores, g.computed(name, {}, windows.apart, (count, 1, area, area)))
    mixed = g.op("MatMul", g.op("Softmax", scores, axis=-1), value)
    joined = g.op("Transpose", mixed, perm=(0, 1, 3, 2, 4))
    joined = g.op("Reshape", joined, g.integers(0, windows.side**2, hidden))
    asked = linear(g, joined, names.output, hidden, hidden, bias="output" in names.biased)
    return reorder(g, asked, np.argsort(order))


def reorder(g: GraphBuilder, x: Value, order: Array) -> Value:
    """Put the positions of [batch, positions, hidden] in another order."""
    return g.op("Gather", x, g.constant(order), axis=1)


def _distance_bias(g: GraphBuilder, table: str, windows: Windows, heads: int) -> Value:
    """Return what each position adds when it asks each other: [heads, area, area]."""
    return g.computed(
        f"{table}.by_pair",
        {table: ((2 * windows.window - 1) ** 2, heads)},
        lambda values: values[windows.distances()].transpose(2, 0, 1),
        (heads, windows.area, windows.area),
    )


def _heads(g: GraphBuilder, x: Value, name: str, hidden: int, heads: int, bias: bool) -> Value:
    """Project [batch, windows, area, hidden] to [batch, windows, heads, area, head_size]."""
    projected = linear(g, x, name, hidden, hidden, bias=bias)
    parts = g.op("Reshape", projected, g.integers(0, 0, 0, heads, hidden // heads))
    return g.op("Transpose", parts, perm=(0, 1, 3, 2, 4))
