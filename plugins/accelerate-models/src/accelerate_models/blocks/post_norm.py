# SPDX-License-Identifier: Apache-2.0
"""Encoder layers that normalise after each residual: BERT and its relatives."""

from __future__ import annotations

import attrs

from ..graph import GraphBuilder, Value
from .attention import AttentionNames, AttentionSizes, self_attention
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
    g: GraphBuilder, x: Value, bias: Value, names: LayerNames, sizes: EncoderSizes
) -> Value:
    """Add attention, then a two-layer perceptron, each normalised after its residual."""
    with g.scope("attention"):
        shape = AttentionSizes.plain(sizes.hidden, sizes.heads)
        attended = self_attention(g, x, names.attention, shape, bias=bias)
        residual = g.op("Add", attended, x)
        x = layer_norm(g, residual, names.attention_norm, sizes.hidden, sizes.epsilon)
    with g.scope("mlp"):
        wide = linear(g, x, names.widen, sizes.hidden, sizes.intermediate)
        wide = activation(g, wide, sizes.activation)
        narrow = linear(g, wide, names.narrow, sizes.intermediate, sizes.hidden)
        residual = g.op("Add", narrow, x)
        return layer_norm(g, residual, names.output_norm, sizes.hidden, sizes.epsilon)
