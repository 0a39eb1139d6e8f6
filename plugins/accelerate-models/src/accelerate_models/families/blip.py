# SPDX-License-Identifier: Apache-2.0
"""BLIP as it retrieves: does this text describe this image? (arXiv:2201.12086)

Of its heads these are the two of `BlipForImageTextRetrieval`: a text encoder that looks at the
image, and the cosine of two embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import attrs

from ..blocks.attention import AttentionNames, AttentionSizes, attend, key_value, self_attention
from ..blocks.convolution import PatchSizes, patches, put_class_first
from ..blocks.layers import activation, embedding, first_rows, layer_norm, linear
from ..blocks.masks import padding_bias
from ..blocks.post_norm import EncoderSizes, LayerNames
from ..blocks.pre_norm import pre_norm_layer
from ..config import ModelConfig
from ..graph import GraphBuilder, Value
from ..hookspecs.builder import Builder, Part
from .clip import normalise
from .vit import class_token, encoder_sizes, patch_sizes, pixel_values, tower, vision_facts

_TEXT = {
    "hidden_size": 768,
    "num_attention_heads": 8,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "max_position_embeddings": 512,
    "vocab_size": 30524,
}
_VISION = {
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "image_size": 384,
    "patch_size": 16,
}


def build(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build the matching head: `itm_score` [pairs, 2], no match and match.

    Texts and images are paired in their order; a single one is paired with all of the other side.
    """
    image, cut, facts = _image_encoder(g, config)
    text, sizes, text_facts = _text_encoder(g, config, image, cut.hidden)
    with g.block("itm_head"):
        score = linear(g, class_token(g, text), "itm_head", sizes.hidden, 2)
    g.output(score, "itm_score", ("pairs", 2))
    return {**facts, **text_facts}


def build_contrastive(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build both embeddings, normalised, and their cosines: `similarity` [batch, text_batch]."""
    size = config.size("image_text_hidden_size", 256)
    image, cut, facts = _image_encoder(g, config)
    text, sizes, text_facts = _text_encoder(g, config)
    with g.block("vision_proj"):
        image = normalise(g, linear(g, class_token(g, image), "vision_proj", cut.hidden, size))
    with g.block("text_proj"):
        text = normalise(g, linear(g, class_token(g, text), "text_proj", sizes.hidden, size))
    with g.block("similarity"):
        similarity = g.op("MatMul", image, g.op("Transpose", text))
    g.output(similarity, "similarity", ("batch", "text_batch"))
    g.output(image, "image_embeds", ("batch", size))
    g.output(text, "text_embeds", ("text_batch", size))
    return {**facts, **text_facts, "hidden_size": size}


def _image_encoder(
    g: GraphBuilder, config: ModelConfig
) -> tuple[Value, PatchSizes, dict[str, Any]]:
    """Return the states of all patches [batch, 1 + patches, hidden], their sizes, and facts."""
    config = tower(config, "vision_config", _VISION)
    sizes = encoder_sizes(config, activation="gelu", epsilon=1e-5)
    cut = patch_sizes(config, sizes.hidden)
    layers = config.size("num_hidden_layers")
    pixels = pixel_values(g, cut)
    with g.block("vision_model.embeddings"):
        table = "vision_model.embeddings"
        x = patches(g, pixels, f"{table}.patch_embedding", cut)
        x = put_class_first(
            g,
            x,
            {f"{table}.class_embedding": (1, 1, cut.hidden)},
            {f"{table}.position_embedding": (1, cut.count + 1, cut.hidden)},
            cut,
        )
    for index in range(layers):
        layer = f"vision_model.encoder.layers.{index}"
        with g.block(layer):
            x = pre_norm_layer(g, x, None, _image_layer_names(g, layer, cut.hidden), sizes)
    with g.block("vision_model.post_layernorm"):
        x = layer_norm(g, x, "vision_model.post_layernorm", cut.hidden, sizes.epsilon)
    return x, cut, vision_facts(cut, layers)


def _text_encoder(
    g: GraphBuilder, config: ModelConfig, image: Value | None = None, image_size: int = 0
) -> tuple[Value, EncoderSizes, dict[str, Any]]:
    """Return the states of all tokens, which have seen the image where there is one."""
    config = tower(config, "text_config", _TEXT)
    sizes = encoder_sizes(config, activation="gelu", epsilon=1e-12)
    layers, rows = config.size("num_hidden_layers"), config.size("max_position_embeddings")
    names = ("input_ids", "attention_mask")
    ids, mask = (g.input(name, ("text_batch", "sequence")) for name in names)
    with g.block("text_encoder.embeddings"):
        table = "text_encoder.embeddings"
        vocabulary = config.size("vocab_size")
        words = embedding(g, ids, f"{table}.word_embeddings", vocabulary, sizes.hidden)
        positions = first_rows(g, ids, f"{table}.position_embeddings", rows, sizes.hidden)
        x = g.op("Add", words, positions)
        x = layer_norm(g, x, f"{table}.LayerNorm", sizes.hidden, sizes.epsilon)
    bias = padding_bias(g, mask)
    for index in range(layers):
        layer = f"text_encoder.encoder.layer.{index}"
        with g.block(layer):
            x = _text_layer(g, x, bias, layer, sizes, image, image_size)
    return x, sizes, {"text_layers": layers, "max_positions": rows}


def _text_layer(
    g: GraphBuilder,
    x: Value,
    bias: Value,
    layer: str,
    sizes: EncoderSizes,
    image: Value | None,
    image_size: int,
) -> Value:
    """Ask the text, then the image where there is one, then a perceptron: norms come last."""
    hidden, epsilon = sizes.hidden, sizes.epsilon
    shape = AttentionSizes.plain(hidden, sizes.heads)
    with g.scope("attention"):
        attended = self_attention(g, x, _text_names(f"{layer}.attention"), shape, bias=bias)
        x = layer_norm(
            g, g.op("Add", attended, x), f"{layer}.attention.output.LayerNorm", hidden, epsilon
        )
    if image is not None:
        with g.scope("crossattention"):
            names = _text_names(f"{layer}.crossattention")
            shape = attrs.evolve(shape, memory=image_size)
            attended = attend(g, x, key_value(g, image, names, shape), names, shape)
            x = layer_norm(
                g,
                g.op("Add", attended, x),
                f"{layer}.crossattention.output.LayerNorm",
                hidden,
                epsilon,
            )
    with g.scope("mlp"):
        wide = linear(g, x, f"{layer}.intermediate.dense", hidden, sizes.intermediate)
        wide = activation(g, wide, sizes.activation)
        narrow = linear(g, wide, f"{layer}.output.dense", sizes.intermediate, hidden)
        return layer_norm(g, g.op("Add", narrow, x), f"{layer}.output.LayerNorm", hidden, epsilon)


def _text_names(attention: str) -> AttentionNames:
    return AttentionNames(
        query=f"{attention}.self.query",
        key=f"{attention}.self.key",
        value=f"{attention}.self.value",
        output=f"{attention}.output.dense",
    )


def _image_layer_names(g: GraphBuilder, layer: str, hidden: int) -> LayerNames:
    """Name a layer's parts; queries, keys and values are cut from the one matrix they share."""
    fused = f"{layer}.self_attn.qkv"
    for index, part in enumerate(("query", "key", "value")):
        rows = slice(index * hidden, (index + 1) * hidden)
        for kind, shape in (("weight", (hidden, hidden)), ("bias", (hidden,))):
            whole = {f"{fused}.{kind}": (3 * hidden, *shape[1:])}
            g.computed(f"{fused}.{part}.{kind}", whole, itemgetter(rows), shape)
    return LayerNames(
        attention=AttentionNames(
            query=f"{fused}.query",
            key=f"{fused}.key",
            value=f"{fused}.value",
            output=f"{layer}.self_attn.projection",
        ),
        attention_norm=f"{layer}.layer_norm1",
        widen=f"{layer}.mlp.fc1",
        narrow=f"{layer}.mlp.fc2",
        output_norm=f"{layer}.layer_norm2",
    )


_PARTS = {
    "model": Part(task="multimodal", processor="image_text_matching", build=build),
    "contrastive": Part(
        task="multimodal", processor="image_text_matching", build=build_contrastive
    ),
}
BUILDERS = [Builder(model_type="blip", parts=_PARTS)]
