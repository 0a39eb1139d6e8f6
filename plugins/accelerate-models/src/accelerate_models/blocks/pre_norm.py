# SPDX-License-Identifier: Apache-2.0
"""Encoder layers that normalise before each residual: vision transformers, CLIP, Whisper."""

from __future__ import annotations

from ..graph import GraphBuilder, Value
from .attention import AttentionSizes, self_attention
from .layers import activation, layer_norm, linear
from .post_norm import EncoderSizes, LayerNames


def pre_norm_layer(
    g: GraphBuilder, x: Value, bias: Value | None, names: LayerNames, sizes: EncoderSizes
) -> Value:
    """Add attention, then a two-layer perceptron, each to what it was normalised from.

    `names.output_norm` is the norm in front of the perceptron. `bias` is added to the scores.
    """
    with g.scope("attention"):
        shape = AttentionSizes.plain(sizes.hidden, sizes.heads)
        normal = layer_norm(g, x, names.attention_norm, sizes.hidden, sizes.epsilon)
        x = g.op("Add", self_attention(g, normal, names.attention, shape, bias=bias), x)
    return pre_norm_perceptron(g, x, names, sizes)


def pre_norm_perceptron(g: GraphBuilder, x: Value, names: LayerNames, sizes: EncoderSizes) -> Value:
    """Add a two-layer perceptron to what it was normalised from."""
    with g.scope("mlp"):
        normal = layer_norm(g, x, names.output_norm, sizes.hidden, sizes.epsilon)
        wide = linear(g, normal, names.widen, sizes.hidden, sizes.intermediate)
        wide = activation(g, wide, sizes.activation)
        return g.op("Add", linear(g, wide, names.narrow, sizes.intermediate, sizes.hidden), x)
