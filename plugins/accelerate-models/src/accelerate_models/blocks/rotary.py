# SPDX-License-Identifier: Apache-2.0
"""Rotary positions (arXiv:2104.09864): pairs of numbers turned by an angle their position gives.

Angles are looked up, not computed in the graph: sine and cosine of large numbers are inexact on
many GPUs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..config import ModelConfig
from ..graph import GraphBuilder, Value

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: Twice the longest context in use; a table of more rows would be a mistake of the file.
_MOST_ROWS = 1 << 21
_KINDS = ("default", "linear", "llama3")


@attrs.frozen
class Rotation:
    """Hold what turns a head: both [batch, 1, sequence, head_size], the sine with its signs."""

    cos: Value
    sin: Value
    head_size: int


def frequencies(config: ModelConfig, head_size: int) -> Array:
    """Return the angle per position of each pair: float32 [head_size / 2].

    Reads `rope_theta` and `rope_parameters`, or `rope_scaling` as it was called before; the
    arithmetic is that of transformers, in float32. ModelError for any other kind of scaling.
    """
    if head_size % 2:
        raise config.fault("head_dim", "an even number")
    key = "rope_scaling" if config.values.get("rope_scaling") else "rope_parameters"
    rope = config.section(key) if config.values.get(key) else ModelConfig(config.path, {})
    kind_key = "rope_type" if "rope_type" in rope.values else "type"
    kind = rope.choice(kind_key, _KINDS, "default")
    if rope.values.get("partial_rotary_factor", config.values.get("partial_rotary_factor")) not in (
        None,
        1,
    ):
        place = rope if "partial_rotary_factor" in rope.values else config
        raise place.fault("partial_rotary_factor", "1.0")
    theta = (rope if "rope_theta" in rope.values else config).positive("rope_theta", 10_000.0)
    steps = np.arange(0, head_size, 2, dtype=np.float32) / np.float32(head_size)
    angles: Array = (1.0 / np.float32(theta) ** steps).astype(np.float32)
    if kind == "linear":
        return angles / np.float32(rope.positive("factor"))
    return _llama3(rope, config, angles) if kind == "llama3" else angles


def _llama3(rope: ModelConfig, config: ModelConfig, angles: Array) -> Array:
    """Slow long waves down by a factor, leave short ones, and pass smoothly between them."""
    factor, low, high = (
        rope.positive(key) for key in ("factor", "low_freq_factor", "high_freq_factor")
    )
    if high <= low:
        raise rope.fault("high_freq_factor", f"a number above low_freq_factor {low}")
    before = "original_max_position_embeddings"
    context = rope.size(before) if before in rope.values else config.size("max_position_embeddings")
    waves = 2 * math.pi / angles
    smooth = (context / waves - low) / (high - low)
    between = (1 - smooth) * angles / factor + smooth * angles
    slowed = np.where(waves > context / low, angles / factor, between)
    return np.where(waves < context / high, angles, slowed).astype(np.float32)


def rotation(g: GraphBuilder, positions: Value, angles: Array, rows: int) -> Rotation:
    """Look up the rotation of each of `positions` [batch, sequence], which are below `rows`."""
    half = len(angles)
    with g.scope("rotary"):

        def table(name: str, function: np.ufunc) -> Value:
            def compute() -> Array:
                turned: Array = np.arange(rows, dtype=np.float32)[:, None] * angles
                values: Array = function(turned, out=turned)
                return values

            weight = g.computed(f"constant/rotary.{name}", {}, compute, (rows, half))
            return g.op("Unsqueeze", g.op("Gather", weight, positions), g.integers(1))

        cos, sin = table("cos", np.cos), table("sin", np.sin)
        return Rotation(
            g.op("Concat", cos, cos, axis=-1),
            g.op("Concat", g.op("Neg", sin), sin, axis=-1),
            2 * half,
        )


def check_rows(config: ModelConfig, key: str) -> int:
    """Return how many positions a model has; ModelError for more than any table may have."""
    rows = config.size(key)
    if rows > _MOST_ROWS:
        raise config.fault(key, f"at most {_MOST_ROWS}")
    return rows


def rotate(g: GraphBuilder, x: Value, by: Rotation) -> Value:
    """Turn `x` [batch, heads, sequence, head_size]; number i is paired with i + head_size / 2."""
    with g.scope("rotate"):
        half, end, last = g.integers(by.head_size // 2), g.integers(by.head_size), g.integers(-1)
        first, second = (
            g.op("Slice", x, start, stop, last)
            for start, stop in ((g.integers(0), half), (half, end))
        )
        swapped = g.op("Concat", second, first, axis=-1)
        return g.op("Add", g.op("Mul", x, by.cos), g.op("Mul", swapped, by.sin))
