# SPDX-License-Identifier: Apache-2.0
"""DETR: a ResNet, an encoder over its map, and object queries (arXiv:2005.12872).

The graph takes images without padding: all of `pixel_values` is image, as a `pixel_mask` of ones
would say. Height and width are free.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from onnx import TensorProto, numpy_helper

from ..blocks.attention import AttentionNames, AttentionSizes, attend, key_value
from ..blocks.convolution import ConvolutionSizes, convolution, flatten_map
from ..blocks.layers import ACTIVATIONS, activation, layer_norm, linear
from ..config import ModelConfig
from ..graph import GraphBuilder, Value
from ..hookspecs.builder import Builder, Part
from .resnet import build_backbone
from .vit import label_count

_EPSILON = 1e-5  # fixed in the architecture
_TEMPERATURE = 10000
_BOX_LAYERS = 3


def build(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build DETR: `logits` [batch, queries, labels + 1] and `pred_boxes` [batch, queries, 4].

    Boxes are centre, width and height as shares of the image.
    """
    config.choice("position_embedding_type", ("sine",), "sine")
    hidden, queries = config.size("d_model", 256), config.size("num_queries", 100)
    if hidden % 4:
        raise config.fault("d_model", "a multiple of 4")
    encoder, decoder = (_layer_sizes(config, side) for side in ("encoder", "decoder"))
    labels = label_count(config)
    channels = config.size("num_channels", 3)
    pixels = g.input("pixel_values", ("batch", channels, "height", "width"), "float32")

    features, width = build_backbone(g, config, pixels)
    with g.block("input_projection"):
        places = _sine_positions(g, features, hidden)
        one = ConvolutionSizes(channels_in=width, channels_out=hidden, kernel=(1, 1))
        x = flatten_map(g, convolution(g, features, "model.input_projection", one), hidden)
    for index in range(encoder.count):
        name = f"model.encoder.layers.{index}"
        with g.block(name):
            x = _encoder_layer(g, x, places, name, encoder)

    memory = x
    asked_from = g.weight("model.query_position_embeddings.weight", (queries, hidden))
    # What queries start from is the same for every image: the batch comes in with the memory.
    zero = numpy_helper.from_array(np.zeros(1, g.dtype))
    x = g.op("ConstantOfShape", g.integers(1, queries, hidden), value=zero)
    for index in range(decoder.count):
        name = f"model.decoder.layers.{index}"
        with g.block(name):
            x = _decoder_layer(g, x, asked_from, memory, places, name, decoder)
    with g.block("class_labels_classifier"):
        x = layer_norm(g, x, "model.decoder.layernorm", hidden, _EPSILON)
        logits = linear(g, x, "class_labels_classifier", hidden, labels + 1)
    with g.block("bbox_predictor"):
        boxes = _boxes(g, x, hidden)
    g.output(logits, "logits", ("batch", queries, labels + 1))
    g.output(boxes, "pred_boxes", ("batch", queries, 4))
    return {
        "hidden_size": hidden,
        "layers": encoder.count + decoder.count,
        "queries": queries,
        "labels": labels,
        "pixel_mask": "none: images fill pixel_values",
    }


@attrs.frozen(kw_only=True)
class _LayerSizes:
    count: int
    hidden: int
    intermediate: int
    activation: str
    attention: AttentionSizes


def _layer_sizes(config: ModelConfig, side: str) -> _LayerSizes:
    hidden, heads = config.size("d_model", 256), config.size(f"{side}_attention_heads", 8)
    if hidden % heads:
        raise config.fault(f"{side}_attention_heads", f"a divisor of d_model {hidden}")
    return _LayerSizes(
        count=config.size(f"{side}_layers", 6),
        hidden=hidden,
        intermediate=config.size(f"{side}_ffn_dim", 2048),
        activation=config.choice("activation_function", ACTIVATIONS, "relu"),
        attention=AttentionSizes.plain(hidden, heads),
    )


def _sine_positions(g: GraphBuilder, features: Value, hidden: int) -> Value:
    """Return where each place of the map is: [places, hidden]; first rows, then columns.

    Folded to a constant as soon as the image size is fixed. Computed in float32.
    """
    half = hidden // 2
    step = np.arange(half) // 2 * 2 / half
    frequency = g.constant(np.tile(2 * math.pi / _TEMPERATURE**step, 2).astype(np.float32))
    # A cosine is a sine a quarter of a turn later.
    phase = g.constant(np.tile([0.0, math.pi / 2], half).astype(np.float32))
    first = np.repeat([1, 0], half).astype(np.float32)
    with g.scope("positions"):
        rows = g.op("Unsqueeze", _shares(g, features, 2), g.integers(1, 2))
        columns = g.op("Unsqueeze", _shares(g, features, 3), g.integers(0, 2))
        parts = []
        for share, channels in ((rows, first), (columns, 1 - first)):
            waves = g.op("Sin", g.op("Add", g.op("Mul", share, frequency), phase))
            parts.append(g.op("Mul", waves, g.constant(channels)))
        places = g.op("Reshape", g.op("Add", *parts), g.integers(-1, hidden))
        return g.cast(places, g.dtype)


def _shares(g: GraphBuilder, features: Value, axis: int) -> Value:
    """Count the places along an axis of the map, from above 0 to 1: [length]."""
    zero, one = (g.constant(np.array(n, np.int64)) for n in (0, 1))
    length = g.op("Squeeze", g.op("Shape", features, start=axis, end=axis + 1))
    before = g.op("Cast", g.op("Range", zero, length, one), to=TensorProto.FLOAT)
    epsilon = g.constant(np.array(1e-6, np.float32))
    whole = g.op("Add", g.op("Cast", length, to=TensorProto.FLOAT), epsilon)
    return g.op("Div", g.op("Add", before, g.constant(np.array(1, np.float32))), whole)


def _encoder_layer(
    g: GraphBuilder, x: Value, places: Value, layer: str, sizes: _LayerSizes
) -> Value:
    """Let each place ask all of them: queries and keys know where they are, values do not."""
    with g.scope("self_attn"):
        placed = g.op("Add", x, places)
        x = _ask(g, x, placed, x, placed, f"{layer}.self_attn", sizes)
    return _perceptron(g, x, layer, sizes)


def _decoder_layer(
    g: GraphBuilder,
    x: Value,
    asked_from: Value,
    memory: Value,
    places: Value,
    layer: str,
    sizes: _LayerSizes,
) -> Value:
    """Let each query ask the other queries, then the image."""
    with g.scope("self_attn"):
        placed = g.op("Add", x, asked_from)
        x = _ask(g, x, placed, x, placed, f"{layer}.self_attn", sizes)
    with g.scope("encoder_attn"):
        key_memory = g.op("Add", memory, places)
        placed = g.op("Add", x, asked_from)
        x = _ask(g, x, placed, memory, key_memory, f"{layer}.encoder_attn", sizes)
    return _perceptron(g, x, layer, sizes)


def _ask(
    g: GraphBuilder,
    x: Value,
    placed: Value,
    memory: Value,
    key_memory: Value,
    name: str,
    sizes: _LayerSizes,
) -> Value:
    """Add attention to `x` and normalise: the layers of DETR are post-norm."""
    names = AttentionNames(*(f"{name}.{part}_proj" for part in ("q", "k", "v", "out")))
    asked = key_value(g, memory, names, sizes.attention, key_memory=key_memory)
    attended = attend(g, placed, asked, names, sizes.attention)
    return layer_norm(g, g.op("Add", attended, x), f"{name}_layer_norm", sizes.hidden, _EPSILON)


def _perceptron(g: GraphBuilder, x: Value, layer: str, sizes: _LayerSizes) -> Value:
    with g.scope("mlp"):
        wide = linear(g, x, f"{layer}.fc1", sizes.hidden, sizes.intermediate)
        wide = activation(g, wide, sizes.activation)
        narrow = linear(g, wide, f"{layer}.fc2", sizes.intermediate, sizes.hidden)
        residual = g.op("Add", narrow, x)
        return layer_norm(g, residual, f"{layer}.final_layer_norm", sizes.hidden, _EPSILON)


def _boxes(g: GraphBuilder, x: Value, hidden: int) -> Value:
    """Turn each query's state into centre, width and height, each between 0 and 1."""
    for index in range(_BOX_LAYERS):
        is_last = index == _BOX_LAYERS - 1
        x = linear(g, x, f"bbox_predictor.layers.{index}", hidden, 4 if is_last else hidden)
        x = g.op("Sigmoid" if is_last else "Relu", x)
    return x


_PARTS = {"model": Part(task="vision", processor="object_detection", build=build)}
BUILDERS = [Builder(model_type="detr", parts=_PARTS)]
