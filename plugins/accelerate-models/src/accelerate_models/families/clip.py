# SPDX-License-Identifier: Apache-2.0
"""CLIP: a text tower and an image tower that meet in one space (arXiv:2103.00020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from ..blocks.attention import AttentionNames
from ..blocks.convolution import patches, put_class_first
from ..blocks.layers import embedding, first_rows, layer_norm, linear
from ..blocks.masks import causal_bias
from ..blocks.post_norm import LayerNames
from ..blocks.pre_norm import pre_norm_layer
from ..config import ModelConfig
from ..graph import GraphBuilder, Value
from ..hookspecs.builder import Builder, Part
from .vit import class_token, encoder_sizes, patch_sizes, pixel_values, tower, vision_facts

_TEXT = {
    "hidden_size": 512,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "max_position_embeddings": 77,
    "vocab_size": 49408,
    "eos_token_id": 49407,
}
_VISION = {
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "image_size": 224,
    "patch_size": 32,
}
#: As it was written before it was right: what is meant is the largest id of a text.
_LEGACY_EOS = 2


def build(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build both towers and the scores of every text for every image.

    The embeddings are normalised, as transformers gives them from the whole model.
    """
    text, _, text_facts = _text_tower(g, config, batch="text_batch")
    image, _, image_facts = _image_tower(g, config)
    size = config.size("projection_dim", 512)
    with g.block("similarity"):
        text, image = normalise(g, text), normalise(g, image)
        scale = g.computed("logit_scale.exponential", {"logit_scale": ()}, np.exp, ())
        per_text = g.op("Mul", g.op("MatMul", text, g.op("Transpose", image)), scale)
        per_image = g.op("Transpose", per_text)
    g.output(per_image, "logits_per_image", ("batch", "text_batch"))
    g.output(per_text, "logits_per_text", ("text_batch", "batch"))
    g.output(text, "text_embeds", ("text_batch", size))
    g.output(image, "image_embeds", ("batch", size))
    return {**text_facts, **image_facts, "hidden_size": size}


def build_text(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build the text tower: `text_embeds`, projected and not normalised."""
    embeds, states, facts = _text_tower(g, config)
    g.output(embeds, "text_embeds", ("batch", config.size("projection_dim", 512)))
    g.output(states, "last_hidden_state", ("batch", "sequence", facts["hidden_size"]))
    return facts


def build_vision(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build the image tower: `image_embeds`, projected and not normalised."""
    embeds, states, facts = _image_tower(g, config)
    cut = patch_sizes(tower(config, "vision_config", _VISION), facts["hidden_size"])
    g.output(embeds, "image_embeds", ("batch", config.size("projection_dim", 512)))
    g.output(states, "last_hidden_state", ("batch", cut.count + 1, cut.hidden))
    return facts


def normalise(g: GraphBuilder, x: Value) -> Value:
    """Divide each row of [batch, size] by its length."""
    # In float32: squares overflow float16.
    wide = g.cast(x, "float32")
    squares = g.op("ReduceSum", g.op("Mul", wide, wide), g.integers(-1), keepdims=1)
    return g.cast(g.op("Div", wide, g.op("Sqrt", squares)), g.dtype)


def _text_tower(
    g: GraphBuilder, config: ModelConfig, batch: str = "batch"
) -> tuple[Value, Value, dict[str, Any]]:
    """Return embeddings [batch, projection], the states of all tokens, and facts."""
    projection = config.size("projection_dim", 512)
    config = tower(config, "text_config", _TEXT)
    sizes = encoder_sizes(config, activation="quick_gelu", epsilon=1e-5)
    layers, rows = config.size("num_hidden_layers"), config.size("max_position_embeddings")
    eos = config.integer("eos_token_id")
    ids, mask = (g.input(name, (batch, "sequence")) for name in ("input_ids", "attention_mask"))

    with g.block("text_model.embeddings"):
        table = "text_model.embeddings"
        vocabulary = config.size("vocab_size")
        words = embedding(g, ids, f"{table}.token_embedding", vocabulary, sizes.hidden)
        positions = first_rows(g, ids, f"{table}.position_embedding", rows, sizes.hidden)
        x = g.op("Add", words, positions)
    bias = causal_bias(g, ids, mask)
    for index in range(layers):
        layer = f"text_model.encoder.layers.{index}"
        with g.block(layer):
            x = pre_norm_layer(g, x, bias, _layer_names(layer), sizes)
    with g.block("text_projection"):
        x = layer_norm(g, x, "text_model.final_layer_norm", sizes.hidden, sizes.epsilon)
        pooled = _at_end(g, x, ids, eos)
        embeds = linear(g, pooled, "text_projection", sizes.hidden, projection, bias=False)
    facts = {"hidden_size": sizes.hidden, "layers": layers, "max_positions": rows}
    return embeds, x, facts


def _at_end(g: GraphBuilder, x: Value, ids: Value, eos: int) -> Value:
    """Return the state of each text's end token: [batch, hidden]."""
    with g.scope("end"):
        # int32: ArgMax over int64 is known to fewer providers.
        if eos == _LEGACY_EOS:
            marks = g.op("Cast", ids, to=TensorProto.INT32)
        else:
            is_end = g.op("Equal", ids, g.constant(np.array(eos, np.int64)))
            marks = g.op("Cast", is_end, to=TensorProto.INT32)
        place = g.op("ArgMax", marks, axis=1, keepdims=1)
        # A product with one 1 in each row: providers of WebNN gather per batch in no other way.
        length = g.op("Squeeze", g.op("Shape", ids, start=1, end=2))
        zero, one = (g.constant(np.array(n, np.int64)) for n in (0, 1))
        is_there = g.op("Equal", g.op("Range", zero, length, one), place)
        picks = g.op("Unsqueeze", g.op("Cast", is_there, to=g.onnx_dtype), g.integers(1))
        return g.op("Squeeze", g.op("MatMul", picks, x), g.integers(1))


def _image_tower(g: GraphBuilder, config: ModelConfig) -> tuple[Value, Value, dict[str, Any]]:
    """Return embeddings [batch, projection], the states of all patches, and facts."""
    projection = config.size("projection_dim", 512)
    config = tower(config, "vision_config", _VISION)
    sizes = encoder_sizes(config, activation="quick_gelu", epsilon=1e-5)
    cut = patch_sizes(config, sizes.hidden)
    layers = config.size("num_hidden_layers")
    pixels = pixel_values(g, cut)

    with g.block("vision_model.embeddings"):
        table = "vision_model.embeddings"
        x = patches(g, pixels, f"{table}.patch_embedding", cut, bias=False)
        x = put_class_first(
            g,
            x,
            {f"{table}.class_embedding": (cut.hidden,)},
            {f"{table}.position_embedding.weight": (cut.count + 1, cut.hidden)},
            cut,
        )
        # The name is misspelt in every checkpoint.
        x = layer_norm(g, x, "vision_model.pre_layrnorm", cut.hidden, sizes.epsilon)
    for index in range(layers):
        layer = f"vision_model.encoder.layers.{index}"
        with g.block(layer):
            x = pre_norm_layer(g, x, None, _layer_names(layer), sizes)
    with g.block("visual_projection"):
        pooled = class_token(g, x)
        pooled = layer_norm(g, pooled, "vision_model.post_layernorm", cut.hidden, sizes.epsilon)
        embeds = linear(g, pooled, "visual_projection", cut.hidden, projection, bias=False)
    return embeds, x, vision_facts(cut, layers)


def _layer_names(layer: str) -> LayerNames:
    return LayerNames(
        attention=AttentionNames(
            query=f"{layer}.self_attn.q_proj",
            key=f"{layer}.self_attn.k_proj",
            value=f"{layer}.self_attn.v_proj",
            output=f"{layer}.self_attn.out_proj",
        ),
        attention_norm=f"{layer}.layer_norm1",
        widen=f"{layer}.mlp.fc1",
        narrow=f"{layer}.mlp.fc2",
        output_norm=f"{layer}.layer_norm2",
    )


_PARTS = {
    "model": Part(task="multimodal", processor="image_text", build=build),
    "text": Part(task="text_embedding", processor="image_text", build=build_text),
    "vision": Part(task="vision", processor="image_text", build=build_vision),
}
BUILDERS = [Builder(model_type="clip", parts=_PARTS)]
