# SPDX-License-Identifier: Apache-2.0
"""ResNet as a backbone (arXiv:1512.03385): the last map of an image, batch norms folded in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ..blocks.convolution import ConvolutionSizes, normalised_convolution
from ..blocks.layers import ACTIVATIONS, activation
from ..config import ModelConfig
from ..graph import GraphBuilder, Value
from .vit import tower

_ROOT = "model.backbone.conv_encoder.model"
_REDUCTION = 4
_DEFAULTS: Mapping[str, Any] = {
    "embedding_size": 64,
    "hidden_sizes": [256, 512, 1024, 2048],
    "depths": [3, 4, 6, 3],
    "layer_type": "bottleneck",
    "hidden_act": "relu",
}
#: Backbones whose tensors have timm's names, and their depths.
_TIMM_DEPTHS = {"resnet50": [3, 4, 6, 3], "resnet101": [3, 4, 23, 3]}


@attrs.frozen(kw_only=True)
class _Sizes:
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem: int
    channels: int
    is_bottleneck: bool
    activation: str
    downsamples_first: bool  #: in its first stage
    downsamples_early: bool  #: in the first convolution of a bottleneck
    is_timm: bool


def build_backbone(g: GraphBuilder, config: ModelConfig, pixels: Value) -> tuple[Value, int]:
    """Build a ResNet and return its last map [batch, channels, height, width] and its channels."""
    # The weights say it better than `use_timm_backbone`, whose meaning changed over the years.
    sizes = _sizes(config, is_timm=g.has_weight(f"{_ROOT}.conv1.weight"))
    with g.block(f"{_ROOT}.embedder"):
        stem = ("conv1", "bn1") if sizes.is_timm else _pair("embedder.embedder")
        shape = _square(sizes.channels, sizes.stem, 7, 2)
        x = _layer(g, pixels, stem, shape, sizes.activation)
        x = g.op("MaxPool", x, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    width = sizes.stem
    for stage, (depth, wanted) in enumerate(zip(sizes.depths, sizes.widths, strict=True)):
        for index in range(depth):
            is_first = index == 0 and (stage > 0 or sizes.downsamples_first)
            block = (
                f"layer{stage + 1}.{index}"
                if sizes.is_timm
                else f"encoder.stages.{stage}.layers.{index}"
            )
            with g.block(f"{_ROOT}.{block}"):
                x = _residual(g, x, block, width, wanted, 2 if is_first else 1, sizes)
            width = wanted
    return x, width


def _residual(
    g: GraphBuilder, x: Value, block: str, width: int, wanted: int, stride: int, sizes: _Sizes
) -> Value:
    """Add two or three convolutions to what goes past them."""
    if sizes.is_bottleneck:
        inner = wanted // _REDUCTION
        early, late = (stride, 1) if sizes.downsamples_early else (1, stride)
        shapes = [
            _square(width, inner, 1, early),
            _square(inner, inner, 3, late),
            _square(inner, wanted, 1, 1),
        ]
    else:
        shapes = [_square(width, wanted, 3, stride), _square(wanted, wanted, 3, 1)]
    past = x
    if width != wanted or stride != 1:
        names = (
            (f"{block}.downsample.0", f"{block}.downsample.1")
            if sizes.is_timm
            else _pair(f"{block}.shortcut")
        )
        past = _layer(g, x, names, _square(width, wanted, 1, stride), None)
    for index, shape in enumerate(shapes):
        names = (
            (f"{block}.conv{index + 1}", f"{block}.bn{index + 1}")
            if sizes.is_timm
            else _pair(f"{block}.layer.{index}")
        )
        # transformers hands `hidden_act` to the end of a block only.
        x = _layer(g, x, names, shape, None if index == len(shapes) - 1 else "relu")
    return activation(g, g.op("Add", x, past), sizes.activation)


def _layer(
    g: GraphBuilder,
    x: Value,
    names: tuple[str, str],
    shape: ConvolutionSizes,
    kind: str | None,
) -> Value:
    convolution, norm = (f"{_ROOT}.{name}" for name in names)
    x = normalised_convolution(g, x, convolution, norm, shape)
    return x if kind is None else activation(g, x, kind)


def _pair(layer: str) -> tuple[str, str]:
    return (f"{layer}.convolution", f"{layer}.normalization")


def _square(channels_in: int, channels_out: int, kernel: int, stride: int) -> ConvolutionSizes:
    return ConvolutionSizes(
        channels_in=channels_in,
        channels_out=channels_out,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        padding=(kernel // 2, kernel // 2),
    )


def _sizes(config: ModelConfig, is_timm: bool) -> _Sizes:
    channels = config.size("num_channels", 3)
    config.refuse("dilation")
    if is_timm:
        backbone = config.choice("backbone", tuple(_TIMM_DEPTHS), "resnet50")
        config = attrs.evolve(config, values={**_DEFAULTS, "depths": _TIMM_DEPTHS[backbone]})
    else:
        config = tower(config, "backbone_config", _DEFAULTS)
        config.choice("model_type", ("resnet",), "resnet")
    depths, widths = _list(config, "depths"), _list(config, "hidden_sizes")
    if len(depths) != len(widths):
        raise config.fault("depths", f"{len(widths)} whole numbers, one for each of hidden_sizes")
    is_bottleneck = config.choice("layer_type", ("bottleneck", "basic"), "bottleneck") != "basic"
    stages = _last_stage(config, len(depths))
    return _Sizes(
        depths=depths[:stages],
        widths=widths[:stages],
        stem=config.size("embedding_size"),
        channels=channels,
        is_bottleneck=is_bottleneck,
        activation=config.choice("hidden_act", ACTIVATIONS, "relu"),
        downsamples_first=config.flag("downsample_in_first_stage", False),
        downsamples_early=config.flag("downsample_in_bottleneck", False),
        is_timm=is_timm,
    )


def _list(config: ModelConfig, key: str) -> tuple[int, ...]:
    value = config.values[key]
    if not isinstance(value, list) or not all(type(n) is int and n > 0 for n in value):
        raise config.fault(key, "a list of whole numbers of at least 1")
    return tuple(value)


def _last_stage(config: ModelConfig, stages: int) -> int:
    """Return after how many stages the map is taken: `out_features` names them."""
    names = [f"stage{stage + 1}" for stage in range(stages)]
    wanted = config.values.get("out_features") or names[-1:]
    if not isinstance(wanted, list) or not wanted or wanted[-1] not in names:
        raise config.fault("out_features", *names)
    return names.index(wanted[-1]) + 1
