# SPDX-License-Identifier: Apache-2.0
"""DistilBERT: BERT without token types, with names and configuration keys of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..blocks.attention import AttentionNames
from ..blocks.layers import ACTIVATIONS, embedding, first_rows, layer_norm
from ..blocks.masks import padding_bias
from ..blocks.post_norm import EncoderSizes, LayerNames, post_norm_layer
from ..config import ModelConfig
from ..graph import GraphBuilder
from ..hookspecs.builder import Builder, Part


def build(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build DistilBERT."""
    sizes = EncoderSizes(
        hidden=config.size("dim"),
        heads=config.size("n_heads"),
        intermediate=config.size("hidden_dim"),
        activation=config.choice("activation", ACTIVATIONS, "gelu"),
        epsilon=1e-12,  # fixed in the architecture
    )
    if sizes.hidden % sizes.heads:
        raise config.fault("n_heads", f"a divisor of dim {sizes.hidden}")
    layers, rows = config.size("n_layers"), config.size("max_position_embeddings")
    ids, mask = (g.input(name) for name in ("input_ids", "attention_mask"))

    with g.block("embeddings"):
        hidden = sizes.hidden
        words = embedding(g, ids, "embeddings.word_embeddings", config.size("vocab_size"), hidden)
        positions = first_rows(g, ids, "embeddings.position_embeddings", rows, hidden)
        x = layer_norm(
            g, g.op("Add", words, positions), "embeddings.LayerNorm", hidden, sizes.epsilon
        )
    bias = padding_bias(g, mask)
    for index in range(layers):
        with g.block(f"transformer.layer.{index}"):
            x = post_norm_layer(g, x, bias, _layer_names(f"transformer.layer.{index}"), sizes)
    g.output(x, "last_hidden_state", ("batch", "sequence", hidden))
    return {
        "hidden_size": hidden,
        "layers": layers,
        "heads": sizes.heads,
        "max_positions": rows,
    }


def _layer_names(layer: str) -> LayerNames:
    return LayerNames(
        attention=AttentionNames(
            query=f"{layer}.attention.q_lin",
            key=f"{layer}.attention.k_lin",
            value=f"{layer}.attention.v_lin",
            output=f"{layer}.attention.out_lin",
        ),
        attention_norm=f"{layer}.sa_layer_norm",
        widen=f"{layer}.ffn.lin1",
        narrow=f"{layer}.ffn.lin2",
        output_norm=f"{layer}.output_layer_norm",
    )


_PARTS = {"model": Part(task="text_embedding", processor="text_embedding", build=build)}
BUILDERS = [Builder(model_type="distilbert", prefix="distilbert.", parts=_PARTS)]
