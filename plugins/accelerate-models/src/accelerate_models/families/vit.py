# SPDX-License-Identifier: Apache-2.0
"""ViT: an image as a sequence of patches (arXiv:2010.11929), with its classifier where it has one.

What it shares with the vision towers of CLIP and BLIP is here, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from ..blocks.attention import AttentionNames
from ..blocks.convolution import PatchSizes, patches, put_class_first
from ..blocks.layers import ACTIVATIONS, layer_norm, linear
from ..blocks.post_norm import EncoderSizes, LayerNames
from ..blocks.pre_norm import pre_norm_layer
from ..config import ModelConfig
from ..graph import GraphBuilder, Value
from ..hookspecs.builder import Builder, Part


def build(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build ViT: `logits` where the checkpoint has a classifier, else `last_hidden_state`."""
    sizes = encoder_sizes(config, activation="gelu", epsilon=1e-12)
    cut = patch_sizes(config, sizes.hidden)
    layers = config.size("num_hidden_layers")
    has_bias = config.flag("qkv_bias", True)
    pixels = pixel_values(g, cut)

    with g.block("embeddings"):
        x = patches(g, pixels, "embeddings.patch_embeddings.projection", cut)
        x = put_class_first(
            g,
            x,
            {"embeddings.cls_token": (1, 1, cut.hidden)},
            {"embeddings.position_embeddings": (1, cut.count + 1, cut.hidden)},
            cut,
        )
    for index in range(layers):
        with g.block(f"encoder.layer.{index}"):
            names = _layer_names(f"encoder.layer.{index}", has_bias)
            x = pre_norm_layer(g, x, None, names, sizes)
    facts = {**vision_facts(cut, layers), "heads": sizes.heads}
    if not g.has_weight("classifier.weight"):
        with g.block("layernorm"):
            x = layer_norm(g, x, "layernorm", cut.hidden, sizes.epsilon)
        g.output(x, "last_hidden_state", ("batch", cut.count + 1, cut.hidden))
        return facts
    labels = label_count(config)
    with g.block("classifier"):
        x = layer_norm(g, class_token(g, x), "layernorm", cut.hidden, sizes.epsilon)
        x = linear(g, x, "classifier", cut.hidden, labels)
    g.output(x, "logits", ("batch", labels))
    return {**facts, "labels": labels}


def tower(config: ModelConfig, key: str, defaults: Mapping[str, Any]) -> ModelConfig:
    """Return a tower's section; transformers may leave out what is the tower's default."""
    section = config.section(key)
    return attrs.evolve(section, values={**defaults, **section.values})


def encoder_sizes(config: ModelConfig, *, activation: str, epsilon: float) -> EncoderSizes:
    """Read what the layers of a tower have in common; the rest are its defaults."""
    sizes = EncoderSizes(
        hidden=config.size("hidden_size"),
        heads=config.size("num_attention_heads"),
        intermediate=config.size("intermediate_size"),
        activation=config.choice("hidden_act", ACTIVATIONS, activation),
        epsilon=config.number("layer_norm_eps", epsilon),
    )
    if sizes.hidden % sizes.heads:
        raise config.fault("num_attention_heads", f"a divisor of hidden_size {sizes.hidden}")
    return sizes


def patch_sizes(config: ModelConfig, hidden: int) -> PatchSizes:
    """Read how images are cut; ModelError for a patch that is larger than the image."""
    image, patch = _pair(config, "image_size"), _pair(config, "patch_size")
    if patch[0] > image[0] or patch[1] > image[1]:
        raise config.fault("patch_size", f"at most image_size {list(image)}")
    return PatchSizes(
        channels=config.size("num_channels", 3), image=image, patch=patch, hidden=hidden
    )


def pixel_values(g: GraphBuilder, cut: PatchSizes) -> Value:
    """Add the input for images, of the one size the position embeddings are made for."""
    return g.input("pixel_values", ("batch", cut.channels, *cut.image), "float32")


def class_token(g: GraphBuilder, x: Value) -> Value:
    """Return the first position of each sequence: [batch, hidden]."""
    return g.op("Gather", x, g.constant(np.array(0, np.int64)), axis=1)


def label_count(config: ModelConfig) -> int:
    """Return how many labels a classifier has: `id2label` is left out when there are two."""
    labels = config.values.get("id2label", {"0": "", "1": ""})
    if not isinstance(labels, dict) or not labels:
        raise config.fault("id2label", "an object of number to label")
    return len(labels)


def vision_facts(cut: PatchSizes, layers: int) -> dict[str, Any]:
    """Return what is said of a vision tower."""
    return {"hidden_size": cut.hidden, "layers": layers, "image_size": list(cut.image)}


def _pair(config: ModelConfig, key: str) -> tuple[int, int]:
    value = config.values.get(key)
    if not isinstance(value, list):
        return (config.size(key), config.size(key))
    is_pair = len(value) == 2 and all(type(size) is int and size > 0 for size in value)
    if not is_pair:
        raise config.fault(key, "a whole number", "[height, width]")
    return (value[0], value[1])


def _layer_names(layer: str, has_bias: bool) -> LayerNames:
    return LayerNames(
        attention=AttentionNames(
            query=f"{layer}.attention.attention.query",
            key=f"{layer}.attention.attention.key",
            value=f"{layer}.attention.attention.value",
            output=f"{layer}.attention.output.dense",
            biased=("query", "key", "value", "output") if has_bias else ("output",),
        ),
        attention_norm=f"{layer}.layernorm_before",
        widen=f"{layer}.intermediate.dense",
        narrow=f"{layer}.output.dense",
        output_norm=f"{layer}.layernorm_after",
    )


_PARTS = {"model": Part(task="vision", processor="image_classification", build=build)}
BUILDERS = [Builder(model_type="vit", prefix="vit.", parts=_PARTS)]
