# SPDX-License-Identifier: Apache-2.0
"""Windows that slide over images, as convolutions and pooling have them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from .graph import Node, Shape


@attrs.frozen(kw_only=True)
class Window:
    """Describe a window; a signal is an image one pixel high."""

    size: tuple[int, int]  #: of the image: height, width, as in all that follows
    kernel: tuple[int, int]
    places: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int]  #: above and left; below and right follows from the rest

    @property
    def pixels(self) -> int:
        """Number of places."""
        return math.prod(self.places)

    @property
    def is_pixel(self) -> bool:
        """Whether the places are the pixels of the image, in order."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.places == self.size


def window_of(node: Node, shape: Shape, result: Shape, kernel: Sequence[int]) -> Window | None:
    """Return the window of a node over `[batch, channels, ...]`; None for three axes or more."""
    rank = len(shape) - 2
    if rank not in (1, 2):
        return None
    strides = node.attribute("strides") or [1] * rank
    dilations = node.attribute("dilations") or [1] * rank
    pads = list((node.attribute("pads") or [0] * 2 * rank)[:rank])
    how = node.attribute("auto_pad", "NOTSET")
    if how.startswith("SAME"):
        for axis in range(rank):
            span = (kernel[axis] - 1) * dilations[axis] + 1
            total = max((result[axis + 2] - 1) * strides[axis] + span - shape[axis + 2], 0)
            pads[axis] = total // 2 if how == "SAME_UPPER" else total - total // 2

    def pair(values: Sequence[int], flat: int) -> tuple[int, int]:
        return (flat, int(values[0])) if rank == 1 else (int(values[0]), int(values[1]))

    return Window(
        size=pair(shape[2:], 1),
        kernel=pair(kernel, 1),
        places=pair(result[2:], 1),
        stride=pair(strides, 1),
        dilation=pair(dilations, 1),
        pad=pair(pads, 0),
    )
