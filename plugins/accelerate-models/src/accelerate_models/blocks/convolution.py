# SPDX-License-Identifier: Apache-2.0
"""Convolutions over images, and what turns an image into a sequence of patches."""

from __future__ import annotations

import attrs
import numpy as np

from ..graph import GraphBuilder, Value

_BATCH_NORM_EPSILON = 1e-5


@attrs.frozen(kw_only=True)
class ConvolutionSizes:
    """Hold the sizes of a two-dimensional convolution: height before width."""

    channels_in: int
    channels_out: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)  #: on either side

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Return the shape of the weight in a checkpoint."""
        return (self.channels_out, self.channels_in, *self.kernel)


@attrs.frozen(kw_only=True)
class PatchSizes:
    """Hold how an image [channels, height, width] is cut."""

    channels: int
    image: tuple[int, int]
    patch: tuple[int, int]
    hidden: int

    @property
    def count(self) -> int:
        """Return the number of patches; what does not fill one at the edge is dropped."""
        return (self.image[0] // self.patch[0]) * (self.image[1] // self.patch[1])


def convolution(
    g: GraphBuilder, x: Value, name: str, sizes: ConvolutionSizes, *, bias: bool = True
) -> Value:
    """Convolve [batch, channels, height, width] with a checkpoint's weight."""
    weights = [g.weight(f"{name}.weight", sizes.weight_shape)]
    if bias:
        weights.append(g.weight(f"{name}.bias", (sizes.channels_out,)))
    return _convolve(g, x, name, sizes, weights)


def normalised_convolution(
    g: GraphBuilder, x: Value, name: str, norm: str, sizes: ConvolutionSizes
) -> Value:
    """Convolve, then normalise by statistics frozen in the checkpoint: one convolution."""
    channels = (sizes.channels_out,)
    scale = {f"{norm}.weight": channels, f"{norm}.running_var": channels}
    shift = {f"{norm}.bias": channels, f"{norm}.running_mean": channels}
    weights = [
        g.computed(
            f"{name}.weight.normalised",
            {f"{name}.weight": sizes.weight_shape, **scale},
            lambda weight, gain, variance: weight * _scale(gain, variance)[:, None, None, None],
            sizes.weight_shape,
        ),
        g.computed(
            f"{name}.bias.normalised",
            {**shift, **scale},
            lambda bias, mean, gain, variance: bias - mean * _scale(gain, variance),
            channels,
        ),
    ]
    return _convolve(g, x, name, sizes, weights)


def patches(
    g: GraphBuilder, pixels: Value, name: str, sizes: PatchSizes, *, bias: bool = True
) -> Value:
    """Project each patch of an image, row by row: [batch, patches, hidden]."""
    cut = ConvolutionSizes(
        channels_in=sizes.channels,
        channels_out=sizes.hidden,
        kernel=sizes.patch,
        stride=sizes.patch,
    )
    return flatten_map(g, convolution(g, pixels, name, cut, bias=bias), sizes.hidden)


def flatten_map(g: GraphBuilder, x: Value, channels: int) -> Value:
    """Turn a map [batch, channels, height, width] into a sequence [batch, positions, channels]."""
    rows = g.op("Reshape", x, g.integers(0, channels, -1))
    return g.op("Transpose", rows, perm=(0, 2, 1))


def put_class_first(
    g: GraphBuilder,
    x: Value,
    token: dict[str, tuple[int, ...]],
    positions: dict[str, tuple[int, ...]],
    sizes: PatchSizes,
) -> Value:
    """Put a class token in front of the patches and add position embeddings.

    Both are named with their shape in the checkpoint and stored as one table, so that no token
    has to be copied for each image of a batch: [batch, 1 + patches, hidden].
    """
    rows = sizes.count + 1
    (position_name,) = positions

    def table(token: np.ndarray, positions: np.ndarray) -> np.ndarray:
        added = positions.reshape(rows, sizes.hidden).copy()
        added[0] += token.reshape(sizes.hidden)
        return added

    both = g.computed(
        f"{position_name}.with_class", {**token, **positions}, table, (rows, sizes.hidden)
    )
    return g.op("Add", g.op("Pad", x, g.integers(0, 1, 0, 0, 0, 0)), both)


def _convolve(
    g: GraphBuilder, x: Value, name: str, sizes: ConvolutionSizes, weights: list[Value]
) -> Value:
    with g.scope(name.rsplit(".", 1)[-1]):
        return g.op(
            "Conv",
            x,
            *weights,
            kernel_shape=sizes.kernel,
            strides=sizes.stride,
            pads=(*sizes.padding, *sizes.padding),
        )


def _scale(gain: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return gain / np.sqrt(variance + np.float32(_BATCH_NORM_EPSILON))
