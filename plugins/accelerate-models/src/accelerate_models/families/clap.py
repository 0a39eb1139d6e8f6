# SPDX-License-Identifier: Apache-2.0
"""CLAP's audio tower (arXiv:2211.06687): HTS-AT, a Swin transformer over a folded spectrogram.

The spectrogram comes in at the width the tower works in. transformers stretches it inside the
model, by bicubic interpolation over time; that is linear in each band, as the normalisation in
front of it is, so the processor can do it and no graph needs an interpolation that WebNN lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from ..blocks.attention import AttentionNames
from ..blocks.convolution import ConvolutionSizes, convolution, flatten_map
from ..blocks.layers import ACTIVATIONS, activation, layer_norm, linear
from ..blocks.post_norm import EncoderSizes, LayerNames
from ..blocks.pre_norm import pre_norm_perceptron
from ..blocks.windows import Windows, reorder, window_attention
from ..config import ModelConfig
from ..graph import GraphBuilder, Value
from ..hookspecs.builder import Builder, Part

_ENCODER = "audio_model.audio_encoder"
#: Fixed in the architecture for all norms but those of the layers.
_EPSILON = 1e-5


@attrs.frozen(kw_only=True)
class _Stage:
    """Hold the layers that see the map at one size."""

    side: int
    sizes: EncoderSizes
    depth: int
    is_merged: bool  #: halve the map afterwards


@attrs.frozen(kw_only=True)
class _Tower:
    """Hold the sizes of the tower."""

    bands: int
    folds: int  #: pieces of the time axis that are stacked to make a square
    square: int  #: side of the folded spectrogram
    patch: ConvolutionSizes
    window: int
    stages: tuple[_Stage, ...]
    has_patch_norm: bool
    has_bias: bool

    @property
    def frames(self) -> int:
        """Return the frames of the spectrogram."""
        return self.square * self.folds


def build(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build the tower: `audio_embeds`, projected and not normalised, and `pooler_output`."""
    tower = _tower(config.section("audio_config"))
    size = config.size("projection_dim", 512)
    kind = config.choice("projection_hidden_act", ACTIVATIONS, "relu")
    hidden = tower.stages[-1].sizes.hidden

    x = g.input("input_features", ("batch", 1, tower.frames, tower.bands), "float32")
    x = _patches(g, _folded(g, x, tower), tower)
    for number, stage in enumerate(tower.stages):
        for index in range(stage.depth):
            block = f"{_ENCODER}.layers.{number}.blocks.{index}"
            with g.block(block):
                x = _layer(g, x, block, stage, tower, is_shifted=index % 2 == 1)
        if stage.is_merged:
            block = f"{_ENCODER}.layers.{number}.downsample"
            with g.block(block):
                x = _merge(g, x, block, stage)
    with g.block(f"{_ENCODER}.norm"):
        x = layer_norm(g, x, f"{_ENCODER}.norm", hidden, _EPSILON)
        pooled = g.op("ReduceMean", x, axes=[1], keepdims=0)
    with g.block("audio_projection"):
        x = linear(g, pooled, "audio_projection.linear1", hidden, size)
        x = linear(g, activation(g, x, kind), "audio_projection.linear2", size, size)
    g.output(x, "audio_embeds", ("batch", size))
    g.output(pooled, "pooler_output", ("batch", hidden))
    return {
        "hidden_size": hidden,
        "layers": sum(stage.depth for stage in tower.stages),
        "heads": tower.stages[-1].sizes.heads,
        "feature_bands": tower.bands,
        "feature_frames": tower.frames,
    }


def _tower(config: ModelConfig) -> _Tower:
    config.refuse("enable_fusion")
    if not config.flag("flatten_patch_embeds", True):
        raise config.fault("flatten_patch_embeds", "true")
    if config.size("patch_embed_input_channels", 1) != 1:
        raise config.fault("patch_embed_input_channels", "1")
    square, bands = config.size("spec_size", 256), config.size("num_mel_bins", 64)
    if square % bands or square % (square // bands):
        raise config.fault("spec_size", f"a multiple of num_mel_bins {bands}")
    patch, stride = _square(config, "patch_size"), _square(config, "patch_stride")
    width = config.size("patch_embeds_hidden_size", 96)
    window = config.size("window_size", 8)
    return _Tower(
        bands=bands,
        folds=square // bands,
        square=square,
        patch=ConvolutionSizes(
            channels_in=1,
            channels_out=width,
            kernel=(patch, patch),
            stride=(stride, stride),
            padding=((patch - stride) // 2,) * 2,
        ),
        window=window,
        stages=_stages(config, square // stride, window, width),
        has_patch_norm=config.flag("enable_patch_layer_norm", True),
        has_bias=config.flag("qkv_bias", True),
    )


def _stages(config: ModelConfig, side: int, window: int, width: int) -> tuple[_Stage, ...]:
    depths = config.sizes("depths", (2, 2, 6, 2))
    heads = config.sizes("num_attention_heads", (4, 8, 16, 32))
    if len(heads) != len(depths):
        raise config.fault("num_attention_heads", f"{len(depths)} numbers, as depths has")
    stages = []
    for number, (depth, count) in enumerate(zip(depths, heads, strict=True)):
        is_last = number == len(depths) - 1
        if side < window or side % window or (side % 2 and not is_last):
            raise config.fault("window_size", f"a divisor of the map's side {side}, which halves")
        if width % count:
            raise config.fault("num_attention_heads", f"divisors of {width} in stage {number}")
        sizes = EncoderSizes(
            hidden=width,
            heads=count,
            intermediate=int(width * config.positive("mlp_ratio", 4.0)),
            activation=config.choice("hidden_act", ACTIVATIONS, "gelu"),
            epsilon=config.number("layer_norm_eps", 1e-5),
        )
        stages.append(_Stage(side=side, sizes=sizes, depth=depth, is_merged=not is_last))
        side, width = side // 2, width * 2
    return tuple(stages)


def _square(config: ModelConfig, key: str) -> int:
    """Return the side of what the configuration gives as a number or as two equal ones."""
    if not isinstance(config.values.get(key), list):
        return config.size(key, 4)
    sides = set(config.sizes(key))
    if len(sides) != 1:
        raise config.fault(key, "one number, or two equal ones")
    return sides.pop()


def _folded(g: GraphBuilder, x: Value, tower: _Tower) -> Value:
    """Normalise each band, cut time into pieces and stack them: [batch, 1, square, square]."""
    norm, shape = f"{_ENCODER}.batch_norm", (tower.bands,)
    spread = {f"{norm}.weight": shape, f"{norm}.running_var": shape}
    centre = {f"{norm}.bias": shape, f"{norm}.running_mean": shape}
    with g.block(norm):
        scale = g.computed(f"{norm}.scale", spread, _scale, shape)
        shift = g.computed(
            f"{norm}.shift",
            {**centre, **spread},
            lambda bias, mean, gain, variance: bias - mean * _scale(gain, variance),
            shape,
        )
        x = g.op("Add", g.op("Mul", x, scale), shift)
        pieces = g.integers(0, tower.folds, tower.square, tower.bands)
        x = g.op("Transpose", g.op("Reshape", x, pieces), perm=(0, 1, 3, 2))
        return g.op("Reshape", x, g.integers(0, 1, tower.square, tower.square))


def _patches(g: GraphBuilder, x: Value, tower: _Tower) -> Value:
    """Project overlapping or adjoining patches: [batch, positions, hidden]."""
    name, hidden = f"{_ENCODER}.patch_embed", tower.patch.channels_out
    with g.block(name):
        x = flatten_map(g, convolution(g, x, f"{name}.proj", tower.patch), hidden)
        return layer_norm(g, x, f"{name}.norm", hidden, _EPSILON) if tower.has_patch_norm else x


def _layer(
    g: GraphBuilder, x: Value, layer: str, stage: _Stage, tower: _Tower, *, is_shifted: bool
) -> Value:
    sizes = stage.sizes
    # One window that covers the map has nothing to be shifted against.
    shift = tower.window // 2 if is_shifted and stage.side > tower.window else 0
    attention = AttentionNames(
        query=f"{layer}.attention.self.query",
        key=f"{layer}.attention.self.key",
        value=f"{layer}.attention.self.value",
        output=f"{layer}.attention.output.dense",
        biased=("query", "key", "value", "output") if tower.has_bias else ("output",),
    )
    names = LayerNames(
        attention=attention,
        attention_norm=f"{layer}.layernorm_before",
        widen=f"{layer}.intermediate.dense",
        narrow=f"{layer}.output.dense",
        output_norm=f"{layer}.layernorm_after",
    )
    with g.scope("attention"):
        normal = layer_norm(g, x, names.attention_norm, sizes.hidden, sizes.epsilon)
        attended = window_attention(
            g,
            normal,
            attention,
            f"{layer}.attention.self.relative_position_bias_table",
            Windows(side=stage.side, window=tower.window, shift=shift),
            sizes.hidden,
            sizes.heads,
        )
        x = g.op("Add", attended, x)
    return pre_norm_perceptron(g, x, names, sizes)


def _merge(g: GraphBuilder, x: Value, name: str, stage: _Stage) -> Value:
    """Join each four neighbours, down before right, and halve their channels."""
    half, wide = stage.side // 2, 4 * stage.sizes.hidden
    positions = np.arange(stage.side**2, dtype=np.int64).reshape(half, 2, half, 2)
    x = reorder(g, x, positions.transpose(0, 2, 3, 1).reshape(-1))
    x = g.op("Reshape", x, g.integers(0, half**2, wide))
    x = layer_norm(g, x, f"{name}.norm", wide, _EPSILON)
    return linear(g, x, f"{name}.reduction", wide, wide // 2, bias=False)


def _scale(gain: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return gain / np.sqrt(variance + np.float32(_EPSILON))


_PARTS = {"audio": Part(task="audio", processor="audio_embedding", build=build)}
BUILDERS = [Builder(model_type="clap", parts=_PARTS)]
