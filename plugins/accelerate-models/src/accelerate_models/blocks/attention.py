# SPDX-License-Identifier: Apache-2.0
"""Attention: from one sequence to itself or another, with grouped heads, a bias and a cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import attrs

from ..graph import GraphBuilder, Value
from .layers import linear


@attrs.frozen
class AttentionNames:
    """Name the four matrices of an attention in a checkpoint."""

    query: str
    key: str
    value: str
    output: str
    #: Which of the four have a bias.
    biased: Collection[str] = ("query", "key", "value", "output")


@attrs.frozen(kw_only=True)
class AttentionSizes:
    """Hold the sizes of an attention. Each of `kv_heads` serves `heads / kv_heads` queries."""

    hidden: int  #: of the positions that ask, and of the result
    heads: int
    head_size: int
    kv_heads: int
    memory: int  #: hidden size of the positions that are asked
    divisor: float  #: of the scores; 1 for a model that does without

    @classmethod
    def plain(cls, hidden: int, heads: int, **others: float) -> AttentionSizes:
        """Return the sizes of an attention whose heads divide the hidden size."""
        head_size = hidden // heads
        return cls(
            **{
                "hidden": hidden,
                "heads": heads,
                "head_size": head_size,
                "kv_heads": heads,
                "memory": hidden,
                "divisor": math.sqrt(head_size),
                **others,
            }  # type: ignore[arg-type]
        )


@attrs.frozen
class KeyValue:
    """Hold what an attention asks: both [batch, kv_heads, positions, head_size]."""

    key: Value
    value: Value


def key_value(
    g: GraphBuilder,
    memory: Value,
    names: AttentionNames,
    sizes: AttentionSizes,
    *,
    key_memory: Value | None = None,
    rotate: Callable[[Value], Value] | None = None,
    past: KeyValue | None = None,
) -> KeyValue:
    """Project the positions that are asked, turn their keys, and put them behind the past.

    `key_memory` is what keys are made of where that is not `memory`: in DETR they alone know
    where they are.
    """
    sources = {"key": memory if key_memory is None else key_memory, "value": memory}
    key, value = (
        _heads(g, source, name, sizes.memory, sizes.kv_heads, sizes.head_size, part in names.biased)
        for (part, source), name in zip(sources.items(), (names.key, names.value), strict=True)
    )
    if rotate is not None:
        key = rotate(key)
    if past is None:
        return KeyValue(key, value)
    return KeyValue(
        g.op("Concat", past.key, key, axis=2), g.op("Concat", past.value, value, axis=2)
    )


def attend(
    g: GraphBuilder,
    x: Value,
    asked: KeyValue,
    names: AttentionNames,
    sizes: AttentionSizes,
    *,
    bias: Value | None = None,
    rotate: Callable[[Value], Value] | None = None,
) -> Value:
    """Let every position of `x` [batch, sequence, hidden] ask; return the same shape.

    `bias` is added to the scores [batch, heads, sequence, positions].
    """
    is_grouped = sizes.kv_heads != sizes.heads
    query = _heads(
        g, x, names.query, sizes.hidden, sizes.heads, sizes.head_size, "query" in names.biased
    )
    if rotate is not None:
        query = rotate(query)
    if is_grouped:
        # The heads that share a key lie side by side: together they are one longer sequence.
        query = g.op("Reshape", query, g.integers(0, sizes.kv_heads, -1, sizes.head_size))
    scores = g.op("MatMul", query, g.op("Transpose", asked.key, perm=(0, 1, 3, 2)))
    if is_grouped:
        scores = g.op("Reshape", scores, g.integers(0, sizes.heads, -1, 0))
    # This order of operators is the one ONNX Runtime fuses.
    if sizes.divisor != 1:
        scores = g.op("Div", scores, g.number(sizes.divisor))
    if bias is not None:
        scores = g.op("Add", scores, bias)
    weights = g.op("Softmax", scores, axis=-1)
    if is_grouped:
        weights = g.op("Reshape", weights, g.integers(0, sizes.kv_heads, -1, 0))
    mixed = g.op("MatMul", weights, asked.value)
    if is_grouped:
        mixed = g.op("Reshape", mixed, g.integers(0, sizes.heads, -1, sizes.head_size))
    width = sizes.heads * sizes.head_size
    joined = g.op("Reshape", g.op("Transpose", mixed, perm=(0, 2, 1, 3)), g.integers(0, 0, width))
    return linear(g, joined, names.output, width, sizes.hidden, bias="output" in names.biased)


def self_attention(
    g: GraphBuilder,
    x: Value,
    names: AttentionNames,
    sizes: AttentionSizes,
    *,
    bias: Value | None = None,
) -> Value:
    """Let every position of `x` ask all of them."""
    return attend(g, x, key_value(g, x, names, sizes), names, sizes, bias=bias)


def _heads(
    g: GraphBuilder, x: Value, name: str, size_in: int, heads: int, head_size: int, bias: bool
) -> Value:
    """Project [batch, sequence, size_in] to [batch, heads, sequence, head_size]."""
    projected = linear(g, x, name, size_in, heads * head_size, bias=bias)
    with g.scope(name.rsplit(".", 1)[-1]):
        parts = g.op("Reshape", projected, g.integers(0, 0, heads, head_size))
        return g.op("Transpose", parts, perm=(0, 2, 1, 3))
