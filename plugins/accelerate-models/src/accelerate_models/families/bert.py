# SPDX-License-Identifier: Apache-2.0
"""BERT and what shares its encoder: MiniLM, RoBERTa, XLM-RoBERTa."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ..blocks.attention import AttentionNames
from ..blocks.layers import ACTIVATIONS, embedding, first_rows, layer_norm
from ..blocks.masks import padding_bias
from ..blocks.post_norm import EncoderSizes, LayerNames, post_norm_layer
from ..config import ModelConfig
from ..graph import GraphBuilder, Value
from ..hookspecs.builder import Builder, Part

#: Return position embeddings for input_ids: [sequence, hidden] or [batch, sequence, hidden].
Positions: TypeAlias = Callable[[GraphBuilder, ModelConfig, Value, int], Value]


def build(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build BERT."""
    facts = build_encoder(g, config, _positions)
    return {**facts, "max_positions": config.size("max_position_embeddings")}


def build_encoder(g: GraphBuilder, config: ModelConfig, positions: Positions) -> dict[str, Any]:
    """Build everything but the positions, which are what tells the relatives apart."""
    config.choice("position_embedding_type", ("absolute",), "absolute")
    config.refuse("is_decoder")
    sizes = EncoderSizes(
        hidden=config.size("hidden_size"),
        heads=config.size("num_attention_heads"),
        intermediate=config.size("intermediate_size"),
        activation=config.choice("hidden_act", ACTIVATIONS, "gelu"),
        epsilon=config.number("layer_norm_eps", 1e-12),
    )
    if sizes.hidden % sizes.heads:
        raise config.fault("num_attention_heads", f"a divisor of hidden_size {sizes.hidden}")
    layers = config.size("num_hidden_layers")
    ids, mask, types = (g.input(n) for n in ("input_ids", "attention_mask", "token_type_ids"))

    with g.block("embeddings"):
        hidden = sizes.hidden
        words = embedding(g, ids, "embeddings.word_embeddings", config.size("vocab_size"), hidden)
        kinds = embedding(
            g, types, "embeddings.token_type_embeddings", config.size("type_vocab_size"), hidden
        )
        x = g.op("Add", g.op("Add", words, kinds), positions(g, config, ids, hidden))
        x = layer_norm(g, x, "embeddings.LayerNorm", hidden, sizes.epsilon)
    bias = padding_bias(g, mask)
    for index in range(layers):
        with g.block(f"encoder.layer.{index}"):
            x = post_norm_layer(g, x, bias, _layer_names(f"encoder.layer.{index}"), sizes)
    g.output(x, "last_hidden_state", ("batch", "sequence", hidden))
    return {"hidden_size": hidden, "layers": layers, "heads": sizes.heads}


def _positions(g: GraphBuilder, config: ModelConfig, ids: Value, hidden: int) -> Value:
    rows = config.size("max_position_embeddings")
    return first_rows(g, ids, "embeddings.position_embeddings", rows, hidden)


def _layer_names(layer: str) -> LayerNames:
    return LayerNames(
        attention=AttentionNames(
            query=f"{layer}.attention.self.query",
            key=f"{layer}.attention.self.key",
            value=f"{layer}.attention.self.value",
            output=f"{layer}.attention.output.dense",
        ),
        attention_norm=f"{layer}.attention.output.LayerNorm",
        widen=f"{layer}.intermediate.dense",
        narrow=f"{layer}.output.dense",
        output_norm=f"{layer}.output.LayerNorm",
    )


_PARTS = {"model": Part(task="text_embedding", processor="text_embedding", build=build)}
BUILDERS = [Builder(model_type="bert", prefix="bert.", parts=_PARTS)]
