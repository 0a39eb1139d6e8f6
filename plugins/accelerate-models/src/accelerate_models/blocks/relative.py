# SPDX-License-Identifier: Apache-2.0
"""Relative positions in buckets, learned per head: what T5 adds to scores (arXiv:1910.10683)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..config import ModelConfig
from ..graph import GraphBuilder, Value

if TYPE_CHECKING:
    from accelerate_core.types import Array

_LONGEST_DISTANCE = 1 << 16


@attrs.frozen
class Buckets:
    """Say how distances are sorted: half of the buckets exactly, the others by logarithm."""

    count: int
    max_distance: int  #: from here on all distances share a bucket
    is_bidirectional: bool  #: an encoder's; a decoder only looks back

    @classmethod
    def read(cls, config: ModelConfig, *, is_bidirectional: bool) -> Buckets:
        """Read T5's keys; ModelError where no bucket would be left for a logarithm."""
        count_key, distance_key = (
            f"relative_attention_{part}" for part in ("num_buckets", "max_distance")
        )
        count, distance = config.size(count_key, 32), config.size(distance_key, 128)
        if count < 4:
            raise config.fault(count_key, "a whole number of at least 4")
        if not count // 2 < distance <= _LONGEST_DISTANCE:
            raise config.fault(distance_key, f"{count // 2 + 1} to {_LONGEST_DISTANCE}")
        return cls(count, distance, is_bidirectional)

    def table(self) -> Array:
        """Return the bucket of each distance from -max_distance to max_distance: int64.

        In float32, as transformers computes it: other roundings put distances elsewhere.
        """
        side = self.count // 2 if self.is_bidirectional else self.count
        exact = side // 2
        far = np.arange(1, self.max_distance + 1, dtype=np.float32) / np.float32(exact)
        steps = np.log(far) / np.float32(math.log(self.max_distance / exact))
        large = exact + (steps * np.float32(side - exact)).astype(np.int64)
        distances = np.arange(1, self.max_distance + 1)
        back = np.where(distances < exact, distances, np.minimum(large, side - 1))
        ahead = back + side if self.is_bidirectional else np.zeros_like(back)
        return np.concatenate([back[::-1], [0], ahead])


def relative_bias(g: GraphBuilder, ids: Value, name: str, heads: int, buckets: Buckets) -> Value:
    """Return what each position adds when it asks each other: [1, heads, sequence, sequence].

    `ids` [batch, sequence] says how many positions there are.
    """
    with g.scope("relative_bias"):
        zero, one, most, least = (
            g.constant(np.array(n, np.int64))
            for n in (0, 1, buckets.max_distance, -buckets.max_distance)
        )
        length = g.op("Squeeze", g.op("Shape", ids, start=1, end=2))
        positions = g.op("Range", zero, length, one)
        asked, asking = (g.op("Unsqueeze", positions, g.integers(axis)) for axis in (0, 1))
        distance = g.op("Clip", g.op("Sub", asked, asking), least, most)
        bucket = g.op("Gather", g.constant(buckets.table()), g.op("Add", distance, most))
        table = g.weight(f"{name}.weight", (buckets.count, heads))
        bias = g.op("Transpose", g.op("Gather", table, bucket), perm=(2, 0, 1))
        return g.op("Unsqueeze", bias, g.integers(0))
