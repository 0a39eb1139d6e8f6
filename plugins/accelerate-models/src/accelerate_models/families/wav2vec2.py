# SPDX-License-Identifier: Apache-2.0
"""wav2vec 2.0 (arXiv:2006.11477): from samples to letters, or to hidden states without a head.

A model whose convolutions normalise by layer was trained with padding masked: its graph takes
`attention_mask` [batch, samples], 1 for sound and 0 for padding after it. One that normalises by
group was trained without, takes none, and hears zeros as sound. transformers does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from ..blocks.attention import AttentionNames
from ..blocks.convolution_1d import Convolution1dSizes, convolution_1d
from ..blocks.layers import ACTIVATIONS, activation, layer_norm, linear
from ..blocks.masks import padding_bias
from ..blocks.post_norm import EncoderSizes, LayerNames, post_norm_layer
from ..blocks.pre_norm import pre_norm_layer
from ..config import ModelConfig
from ..graph import GraphBuilder, Value
from ..hookspecs.builder import Builder, Part

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: Fixed in the architecture for the norms between convolutions.
_EPSILON = 1e-5


@attrs.frozen(kw_only=True)
class _Extractor:
    """Hold the convolutions that turn samples into frames."""

    layers: tuple[Convolution1dSizes, ...]
    norm: str  #: "group": the first layer only, per channel; "layer": each one, per frame
    activation: str
    has_bias: bool

    @property
    def stride(self) -> int:
        """Return the samples from one frame to the next."""
        return int(np.prod([layer.stride for layer in self.layers]))

    @property
    def receptive(self) -> int:
        """Return the samples that make one frame."""
        samples = 1
        for layer in reversed(self.layers):
            samples = (samples - 1) * layer.stride + layer.kernel
        return samples


def build(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build wav2vec 2.0, with its head for letters if the checkpoint has one."""
    for switch in ("add_adapter", "adapter_attn_dim"):
        config.refuse(switch)
    extractor = _extractor(config)
    sizes = EncoderSizes(
        hidden=config.size("hidden_size"),
        heads=config.size("num_attention_heads"),
        intermediate=config.size("intermediate_size"),
        activation=config.choice("hidden_act", ACTIVATIONS, "gelu"),
        epsilon=config.number("layer_norm_eps", 1e-5),
    )
    if sizes.hidden % sizes.heads:
        raise config.fault("num_attention_heads", f"a divisor of hidden_size {sizes.hidden}")
    layers, hidden = config.size("num_hidden_layers"), sizes.hidden

    x = _frames(g, g.input("input_values", ("batch", "samples"), "float32"), extractor)
    with g.block("feature_projection"):
        width = extractor.layers[-1].channels_out
        x = layer_norm(g, x, "feature_projection.layer_norm", width, sizes.epsilon)
        x = linear(g, x, "feature_projection.projection", width, hidden)
    bias = None
    if extractor.norm == "layer":
        mask = _frame_mask(g, g.input("attention_mask", ("batch", "samples")), extractor)
        x = g.op("Mul", x, g.op("Cast", g.op("Unsqueeze", mask, g.integers(2)), to=g.onnx_dtype))
        bias = padding_bias(g, mask)
    x = _add_positions(g, x, config, hidden)
    is_stable = config.flag("do_stable_layer_norm", False)
    if not is_stable:
        x = _encoder_norm(g, x, sizes)
    layer = pre_norm_layer if is_stable else post_norm_layer
    for index in range(layers):
        with g.block(f"encoder.layers.{index}"):
            x = layer(g, x, bias, _layer_names(f"encoder.layers.{index}"), sizes)
    if is_stable:
        x = _encoder_norm(g, x, sizes)
    if g.has_weight("lm_head.weight"):
        letters = config.size("vocab_size")
        with g.block("lm_head"):
            x = linear(g, x, "lm_head", hidden, letters)
        g.output(x, "logits", ("batch", "frames", letters))
    else:
        g.output(x, "last_hidden_state", ("batch", "frames", hidden))
    return {
        "hidden_size": hidden,
        "layers": layers,
        "heads": sizes.heads,
        "receptive_samples": extractor.receptive,
        "stride_samples": extractor.stride,
    }


def _extractor(config: ModelConfig) -> _Extractor:
    widths, kernels, strides = (config.sizes(f"conv_{key}") for key in ("dim", "kernel", "stride"))
    for key, values in (("conv_kernel", kernels), ("conv_stride", strides)):
        if len(values) != len(widths):
            raise config.fault(key, f"{len(widths)} numbers, as conv_dim has")
    layers = zip((1, *widths), widths, kernels, strides, strict=False)
    return _Extractor(
        layers=tuple(
            Convolution1dSizes(channels_in=before, channels_out=after, kernel=kernel, stride=stride)
            for before, after, kernel, stride in layers
        ),
        norm=config.choice("feat_extract_norm", ("group", "layer"), "group"),
        activation=config.choice("feat_extract_activation", ACTIVATIONS, "gelu"),
        has_bias=config.flag("conv_bias", False),
    )


def _frames(g: GraphBuilder, samples: Value, extractor: _Extractor) -> Value:
    """Turn [batch, samples] into [batch, frames, channels]."""
    x = g.op("Unsqueeze", samples, g.integers(1))
    for index, sizes in enumerate(extractor.layers):
        name = f"feature_extractor.conv_layers.{index}"
        norm, width = f"{name}.layer_norm", sizes.channels_out
        with g.block(name):
            x = convolution_1d(g, x, f"{name}.conv", sizes, bias=extractor.has_bias)
            if extractor.norm == "layer":
                x = g.op("Transpose", x, perm=(0, 2, 1))
                x = layer_norm(g, x, norm, width, _EPSILON)
                x = g.op("Transpose", x, perm=(0, 2, 1))
            elif index == 0:
                scale, shift = (g.weight(f"{norm}.{part}", (width,)) for part in ("weight", "bias"))
                x = g.op("InstanceNormalization", x, scale, shift, epsilon=_EPSILON)
            x = activation(g, x, extractor.activation)
    return g.op("Transpose", x, perm=(0, 2, 1))


def _frame_mask(g: GraphBuilder, mask: Value, extractor: _Extractor) -> Value:
    """Return the mask of frames: one counts if the last sample it is made of does."""
    last, end = extractor.receptive - 1, np.iinfo(np.int64).max
    numbers = (g.integers(n) for n in (last, end, 1, extractor.stride))
    with g.scope("frame_mask"):
        return g.op("Slice", mask, *numbers)


def _add_positions(g: GraphBuilder, x: Value, config: ModelConfig, hidden: int) -> Value:
    """Add what a wide grouped convolution says of the neighbourhood."""
    kernel, name = config.size("num_conv_pos_embeddings"), "encoder.pos_conv_embed.conv"
    groups = config.size("num_conv_pos_embedding_groups")
    if hidden % groups:
        raise config.fault("num_conv_pos_embedding_groups", f"a divisor of hidden_size {hidden}")
    sizes = Convolution1dSizes(
        channels_in=hidden,
        channels_out=hidden,
        kernel=kernel,
        # As many positions come out as go in, of an even kernel, too.
        padding=(kernel // 2, (kernel - 1) // 2),
        groups=groups,
    )
    with g.block("encoder.pos_conv_embed"):
        weight = _weight_normed(g, name, sizes)
        y = g.op("Transpose", x, perm=(0, 2, 1))
        y = convolution_1d(g, y, name, sizes, weight=weight)
        y = activation(g, y, config.choice("feat_extract_activation", ACTIVATIONS, "gelu"))
        return g.op("Add", x, g.op("Transpose", y, perm=(0, 2, 1)))


def _encoder_norm(g: GraphBuilder, x: Value, sizes: EncoderSizes) -> Value:
    with g.block("encoder.layer_norm"):
        return layer_norm(g, x, "encoder.layer_norm", sizes.hidden, sizes.epsilon)


def _weight_normed(g: GraphBuilder, name: str, sizes: Convolution1dSizes) -> Value:
    """Return the weight that a length per tap and a direction make (arXiv:1602.07868)."""
    length, direction = f"{name}.weight_g", f"{name}.weight_v"
    if not g.has_weight(length):  # as torch names them since 2.0
        length, direction = (f"{name}.parametrizations.weight.original{n}" for n in (0, 1))

    def normed(length: Array, direction: Array) -> Array:
        norms = np.sqrt(np.square(direction).sum((0, 1), keepdims=True))
        scaled: Array = direction * (length / norms)
        return scaled

    parts = {length: (1, 1, sizes.kernel), direction: sizes.weight_shape}
    return g.computed(f"{name}.weight", parts, normed, sizes.weight_shape)


def _layer_names(layer: str) -> LayerNames:
    return LayerNames(
        attention=AttentionNames(
            query=f"{layer}.attention.q_proj",
            key=f"{layer}.attention.k_proj",
            value=f"{layer}.attention.v_proj",
            output=f"{layer}.attention.out_proj",
        ),
        attention_norm=f"{layer}.layer_norm",
        widen=f"{layer}.feed_forward.intermediate_dense",
        narrow=f"{layer}.feed_forward.output_dense",
        output_norm=f"{layer}.final_layer_norm",
    )


_PARTS = {"model": Part(task="audio", processor="speech_ctc", build=build)}
BUILDERS = [Builder(model_type="wav2vec2", prefix="wav2vec2.", parts=_PARTS)]
