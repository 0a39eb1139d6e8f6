# SPDX-License-Identifier: Apache-2.0
"""T5 and its 1.1 and Flan variants: relative positions, RMS norm, scores that are not scaled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ..blocks.attention import AttentionNames, AttentionSizes, attend, key_value
from ..blocks.layers import ACTIVATIONS, activation, embedding, linear, rms_norm
from ..blocks.masks import causal_bias
from ..blocks.relative import Buckets, relative_bias
from ..config import ModelConfig
from ..graph import GraphBuilder, Value
from ..hookspecs.builder import Builder
from .seq2seq import Family, shared_embedding

_GATED = "gated-"


@attrs.frozen(kw_only=True)
class Sizes:
    """Hold what the layers of both halves have in common."""

    attention: AttentionSizes
    intermediate: int
    activation: str
    is_gated: bool
    epsilon: float
    vocabulary: int

    @classmethod
    def read(cls, config: ModelConfig) -> Sizes:
        """Read T5's keys; ModelError names one that does not fit."""
        hidden, heads = config.size("d_model"), config.size("num_heads")
        kinds = (*ACTIVATIONS, *(_GATED + kind for kind in ACTIVATIONS))
        kind = config.choice("feed_forward_proj", kinds, "relu")
        return cls(
            # The initialisation makes up for the missing division of the scores.
            attention=AttentionSizes(
                hidden=hidden,
                heads=heads,
                head_size=config.size("d_kv"),
                kv_heads=heads,
                memory=hidden,
                divisor=1.0,
            ),
            intermediate=config.size("d_ff"),
            # "gated-gelu" has always meant the approximation by tanh.
            activation="gelu_new" if kind == "gated-gelu" else kind.removeprefix(_GATED),
            is_gated=kind.startswith(_GATED),
            epsilon=config.number("layer_norm_epsilon", 1e-6),
            vocabulary=config.size("vocab_size"),
        )


def encode(g: GraphBuilder, config: ModelConfig, ids: Value, bias: Value) -> Value:
    """Build the encoder."""
    sizes = Sizes.read(config)
    with g.block("shared"):
        x = embedding(g, ids, shared_embedding(g), sizes.vocabulary, sizes.attention.hidden)
    bias = g.op("Add", _relative(g, config, ids, "encoder", sizes), bias)
    for index in range(config.size("num_layers")):
        layer = f"encoder.block.{index}"
        with g.block(layer):
            x = _attention(g, x, f"{layer}.layer.0", "SelfAttention", sizes, bias)
            x = _perceptron(g, x, f"{layer}.layer.1", sizes)
    with g.block("encoder.final_layer_norm"):
        return rms_norm(g, x, "encoder.final_layer_norm", sizes.attention.hidden, sizes.epsilon)


def decode(
    g: GraphBuilder, config: ModelConfig, ids: Value, memory: Value, memory_bias: Value
) -> Value:
    """Build the decoder and its head."""
    sizes = Sizes.read(config)
    hidden, table = sizes.attention.hidden, shared_embedding(g)
    with g.block("shared"):
        x = embedding(g, ids, table, sizes.vocabulary, hidden)
    bias = g.op("Add", _relative(g, config, ids, "decoder", sizes), causal_bias(g, ids))
    for index in range(config.size("num_decoder_layers", config.size("num_layers"))):
        layer = f"decoder.block.{index}"
        with g.block(layer):
            x = _attention(g, x, f"{layer}.layer.0", "SelfAttention", sizes, bias)
            x = _attention(g, x, f"{layer}.layer.1", "EncDecAttention", sizes, memory_bias, memory)
            x = _perceptron(g, x, f"{layer}.layer.2", sizes)
    with g.block("decoder.final_layer_norm"):
        x = rms_norm(g, x, "decoder.final_layer_norm", hidden, sizes.epsilon)
    with g.block("lm_head"):
        # Newer files say it outright; in older ones it follows from the tie, as in 1.1.
        if config.flag("scale_decoder_outputs", config.flag("tie_word_embeddings", True)):
            x = g.op("Mul", x, g.number(hidden**-0.5))
        name = "lm_head" if g.has_weight("lm_head.weight") else table
        return linear(g, x, name, hidden, sizes.vocabulary, bias=False)


def facts(config: ModelConfig) -> Mapping[str, Any]:
    """Return what the metadata says of a model."""
    layers = config.size("num_layers")
    return {
        "hidden_size": config.size("d_model"),
        "vocab_size": config.size("vocab_size"),
        "layers": layers,
        "decoder_layers": config.size("num_decoder_layers", layers),
        "heads": config.size("num_heads"),
        # No limit of the architecture: the length T5 was trained with.
        "max_positions": config.size("n_positions", 512),
    }


def _relative(g: GraphBuilder, config: ModelConfig, ids: Value, half: str, sizes: Sizes) -> Value:
    """Return the bias that the first layer learned for all layers."""
    name = f"{half}.block.0.layer.0.SelfAttention.relative_attention_bias"
    buckets = Buckets.read(config, is_bidirectional=half == "encoder")
    with g.block(f"{half}.block.0"):
        return relative_bias(g, ids, name, sizes.attention.heads, buckets)


def _attention(
    g: GraphBuilder,
    x: Value,
    layer: str,
    kind: str,
    sizes: Sizes,
    bias: Value,
    memory: Value | None = None,
) -> Value:
    """Add attention to `x`: of itself, or of `memory`."""
    query, key, value, output = (f"{layer}.{kind}.{part}" for part in "qkvo")
    names = AttentionNames(query, key, value, output, biased=())
    with g.scope("attention" if memory is None else "cross_attention"):
        normal = rms_norm(g, x, f"{layer}.layer_norm", sizes.attention.hidden, sizes.epsilon)
        source = normal if memory is None else memory
        asked = key_value(g, source, names, sizes.attention)
        return g.op("Add", x, attend(g, normal, asked, names, sizes.attention, bias=bias))


def _perceptron(g: GraphBuilder, x: Value, layer: str, sizes: Sizes) -> Value:
    hidden, inner = sizes.attention.hidden, sizes.intermediate
    dense = f"{layer}.DenseReluDense"

    def widen(name: str) -> Value:
        return linear(g, normal, f"{dense}.{name}", hidden, inner, bias=False)

    with g.scope("mlp"):
        normal = rms_norm(g, x, f"{layer}.layer_norm", hidden, sizes.epsilon)
        wide = activation(g, widen("wi_0" if sizes.is_gated else "wi"), sizes.activation)
        if sizes.is_gated:
            wide = g.op("Mul", wide, widen("wi_1"))
        return g.op("Add", x, linear(g, wide, f"{dense}.wo", inner, hidden, bias=False))


_FAMILY = Family(
    facts=facts,
    encode=encode,
    decode=decode,
    decoder_tensor="decoder.final_layer_norm.weight",
)
BUILDERS = [Builder(model_type="t5", parts=_FAMILY.parts())]
