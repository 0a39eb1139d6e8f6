# SPDX-License-Identifier: Apache-2.0
"""Encoder layers that normalise after each residual: BERT and its relatives."""

from __future__ import annotations

import attrs

from ..graph import GraphBuilder, Value
from .attention import AttentionNames, AttentionSizes, attend, key_value
from .layers import activation, layer_norm, linear


@attrs.frozen(kw_only=True)
class LayerNames:
    """Name the parts of an encoder layer in a checkpoint."""

    attention: AttentionNames
    attention_norm: str
    widen: str
    narrow: str
    output_norm: str


@attrs.frozen(kw_only=True)
class EncoderSizes:
    """Hold what the layers of an encoder have in common."""

    hidden: int
    heads: int
    intermediate: int
    activation: str
    epsilon: float


def post_norm_layer(
    g: GraphBuilder, x: Value, bias: Value | None, names: LayerNames, sizes: EncoderSizes
) -> Value:
    """Add attention, then a two-layer perceptron, each normalised after its residual.

    `bias` is added to the scores.
    """
    with g.scope("attention"):
        x = post_norm_attention(g, x, names.attention, names.attention_norm, sizes, bias)
    return post_norm_perceptron(g, x, names, sizes)


def post_norm_attention(
    g: GraphBuilder,
    x: Value,
    names: AttentionNames,
    norm: str,
    sizes: EncoderSizes,
    bias: Value | None,
    memory: Value | None = None,
    memory_size: int | None = None,
) -> Value:
    """Add attention to `x`, or to `memory` of another hidden size, and normalise."""
    shape = AttentionSizes.plain(sizes.hidden, sizes.heads, memory=memory_size or sizes.hidden)
    asked = key_value(g, x if memory is None else memory, names, shape)
    residual = g.op("Add", attend(g, x, asked, names, shape, bias=bias), x)
    return layer_norm(g, residual, norm, sizes.hidden, sizes.epsilon)


def post_norm_perceptron(
    g: GraphBuilder, x: Value, names: LayerNames, sizes: EncoderSizes
) -> Value:
    """Add a two-layer perceptron and normalise."""
    with g.scope("mlp"):
        wide = linear(g, x, names.widen, sizes.hidden, sizes.intermediate)
        wide = activation(g, wide, sizes.activation)
        narrow = linear(g, wide, names.narrow, sizes.intermediate, sizes.hidden)
        residual = g.op("Add", narrow, x)
        return layer_norm(g, residual, names.output_norm, sizes.hidden, sizes.epsilon)
