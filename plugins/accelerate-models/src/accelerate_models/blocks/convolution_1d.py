# SPDX-License-Identifier: Apache-2.0
"""Convolutions over time."""

from __future__ import annotations

import attrs

from ..graph import GraphBuilder, Value


@attrs.frozen(kw_only=True)
class Convolution1dSizes:
    """Hold the sizes of a convolution over [batch, channels, time]."""

    channels_in: int
    channels_out: int
    kernel: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)  #: before and after
    groups: int = 1

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        """Return the shape of the weight in a checkpoint."""
        return (self.channels_out, self.channels_in // self.groups, self.kernel)


def convolution_1d(
    g: GraphBuilder,
    x: Value,
    name: str,
    sizes: Convolution1dSizes,
    *,
    bias: bool = True,
    weight: Value | None = None,
) -> Value:
    """Convolve [batch, channels, time] with a checkpoint's weight, or with `weight`."""
    weights = [weight or g.weight(f"{name}.weight", sizes.weight_shape)]
    if bias:
        weights.append(g.weight(f"{name}.bias", (sizes.channels_out,)))
    with g.scope(name.rsplit(".", 1)[-1]):
        return g.op(
            "Conv",
            x,
            *weights,
            kernel_shape=[sizes.kernel],
            strides=[sizes.stride],
            pads=sizes.padding,
            group=sizes.groups,
        )
