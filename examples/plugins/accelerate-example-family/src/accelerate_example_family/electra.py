# SPDX-License-Identifier: Apache-2.0
"""ELECTRA (arXiv:2003.10555): BERT's encoder behind embeddings of a size of their own."""

from accelerate_models.blocks.attention import AttentionNames
from accelerate_models.blocks.layers import ACTIVATIONS, embedding, first_rows, layer_norm, linear
from accelerate_models.blocks.masks import padding_bias
from accelerate_models.blocks.post_norm import EncoderSizes, LayerNames, post_norm_layer
from accelerate_models.hookspecs.builder import Builder, Part


def build(g, config):
    """Add the inputs, blocks and outputs of an ELECTRA encoder."""
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
    width = config.size("embedding_size")
    rows = config.size("max_position_embeddings")
    ids, mask, types = (g.input(n) for n in ("input_ids", "attention_mask", "token_type_ids"))

    with g.block("embeddings"):
        x = embedding(g, ids, "embeddings.word_embeddings", config.size("vocab_size"), width)
        kinds = config.size("type_vocab_size")
        x = g.op("Add", x, embedding(g, types, "embeddings.token_type_embeddings", kinds, width))
        x = g.op("Add", x, first_rows(g, ids, "embeddings.position_embeddings", rows, width))
        x = layer_norm(g, x, "embeddings.LayerNorm", width, sizes.epsilon)
        if width != sizes.hidden:
            x = linear(g, x, "embeddings_project", width, sizes.hidden)
    bias = padding_bias(g, mask)
    for index in range(layers := config.size("num_hidden_layers")):
        with g.block(f"encoder.layer.{index}"):
            x = post_norm_layer(g, x, bias, names(f"encoder.layer.{index}"), sizes)
    g.output(x, "last_hidden_state", ("batch", "sequence", sizes.hidden))
    return {"hidden_size": sizes.hidden, "layers": layers, "max_positions": rows}


def names(layer):
    """Return what the tensors of a layer are called in a checkpoint."""
    parts = (f"{layer}.attention.self.{part}" for part in ("query", "key", "value"))
    return LayerNames(
        attention=AttentionNames(*parts, f"{layer}.attention.output.dense"),
        attention_norm=f"{layer}.attention.output.LayerNorm",
        widen=f"{layer}.intermediate.dense",
        narrow=f"{layer}.output.dense",
        output_norm=f"{layer}.output.LayerNorm",
    )


BUILDER = Builder(
    model_type="electra",
    prefix="electra.",
    parts={"model": Part(task="text_embedding", processor="text_embedding", build=build)},
)
