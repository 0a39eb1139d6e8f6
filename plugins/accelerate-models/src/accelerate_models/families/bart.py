# SPDX-License-Identifier: Apache-2.0
"""BART: an encoder like BERT's, and a decoder that also asks what was encoded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..blocks.attention import AttentionNames
from ..blocks.layers import ACTIVATIONS, embedding, first_rows, layer_norm, linear
from ..blocks.masks import causal_bias
from ..blocks.post_norm import (
    EncoderSizes,
    LayerNames,
    post_norm_attention,
    post_norm_layer,
    post_norm_perceptron,
)
from ..config import ModelConfig
from ..graph import GraphBuilder, Value
from ..hookspecs.builder import Builder
from .seq2seq import Family, shared_embedding

#: The first two rows of the table of positions were for padding once, and nothing reads them.
_POSITION_OFFSET = 2
_EPSILON = 1e-5  # fixed in the architecture


def encode(g: GraphBuilder, config: ModelConfig, ids: Value, bias: Value) -> Value:
    """Build the encoder."""
    sizes = _sizes(config, "encoder")
    x = _embed(g, config, ids, "encoder")
    for index in range(config.size("encoder_layers")):
        layer = f"encoder.layers.{index}"
        with g.block(layer):
            x = post_norm_layer(g, x, bias, _layer_names(layer), sizes)
    return x


def decode(
    g: GraphBuilder, config: ModelConfig, ids: Value, memory: Value, memory_bias: Value
) -> Value:
    """Build the decoder and its head."""
    sizes = _sizes(config, "decoder")
    x = _embed(g, config, ids, "decoder")
    bias = causal_bias(g, ids)
    for index in range(config.size("decoder_layers")):
        layer = f"decoder.layers.{index}"
        with g.block(layer):
            names = _layer_names(layer)
            with g.scope("attention"):
                x = post_norm_attention(g, x, names.attention, names.attention_norm, sizes, bias)
            with g.scope("cross_attention"):
                cross, norm = f"{layer}.encoder_attn", f"{layer}.encoder_attn_layer_norm"
                x = post_norm_attention(
                    g, x, _attention_names(cross), norm, sizes, memory_bias, memory
                )
            x = post_norm_perceptron(g, x, names, sizes)
    with g.block("lm_head"):
        vocabulary = config.size("vocab_size")
        name = "lm_head" if g.has_weight("lm_head.weight") else shared_embedding(g)
        logits = linear(g, x, name, sizes.hidden, vocabulary, bias=False)
        if g.has_weight("final_logits_bias"):
            logits = g.op("Add", logits, g.weight("final_logits_bias", (1, vocabulary)))
        return logits


def facts(config: ModelConfig) -> Mapping[str, Any]:
    """Return what the metadata says of a model."""
    return {
        "hidden_size": config.size("d_model"),
        "vocab_size": config.size("vocab_size"),
        "layers": config.size("encoder_layers"),
        "decoder_layers": config.size("decoder_layers"),
        "heads": config.size("encoder_attention_heads"),
        "max_positions": config.size("max_position_embeddings"),
    }


def _embed(g: GraphBuilder, config: ModelConfig, ids: Value, half: str) -> Value:
    hidden, rows = config.size("d_model"), config.size("max_position_embeddings")
    with g.block(f"{half}.embeddings"):
        words = embedding(g, ids, shared_embedding(g), config.size("vocab_size"), hidden)
        if config.flag("scale_embedding", False):
            words = g.op("Mul", words, g.number(math.sqrt(hidden)))
        name = f"{half}.embed_positions"
        positions = first_rows(g, ids, name, rows, hidden, skipped=_POSITION_OFFSET)
        x = g.op("Add", words, positions)
        return layer_norm(g, x, f"{half}.layernorm_embedding", hidden, _EPSILON)


def _sizes(config: ModelConfig, half: str) -> EncoderSizes:
    hidden, heads = config.size("d_model"), config.size(f"{half}_attention_heads")
    if hidden % heads:
        raise config.fault(f"{half}_attention_heads", f"a divisor of d_model {hidden}")
    return EncoderSizes(
        hidden=hidden,
        heads=heads,
        intermediate=config.size(f"{half}_ffn_dim"),
        activation=config.choice("activation_function", ACTIVATIONS, "gelu"),
        epsilon=_EPSILON,
    )


def _layer_names(layer: str) -> LayerNames:
    return LayerNames(
        attention=_attention_names(f"{layer}.self_attn"),
        attention_norm=f"{layer}.self_attn_layer_norm",
        widen=f"{layer}.fc1",
        narrow=f"{layer}.fc2",
        output_norm=f"{layer}.final_layer_norm",
    )


def _attention_names(place: str) -> AttentionNames:
    return AttentionNames(*(f"{place}.{part}_proj" for part in ("q", "k", "v", "out")))


_FAMILY = Family(
    facts=facts,
    encode=encode,
    decode=decode,
    decoder_tensor="decoder.layernorm_embedding.weight",
)
BUILDERS = [Builder(model_type="bart", prefix="model.", parts=_FAMILY.parts())]
