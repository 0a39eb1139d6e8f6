# SPDX-License-Identifier: Apache-2.0
"""Operators that move elements and compute nothing: views where memory allows, copies elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..graph import Node, Shape
from .arguments import axes_of, axis_of, integers, number
from .base import Lowering, lowers
from .steps import VIEW_ELEMENTS, broadcast_strides, copy, fill, kind_of, shape_of, strides_of


@lowers("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout")
def reshape(low: Lowering, node: Node) -> None:
    """Give a tensor another shape: nothing is done on the device."""
    rename(low, node, low.operand(node.inputs[0]))


def rename(low: Lowering, node: Node, operand: str, offset: int = 0) -> None:
    """Say that a node's result is an operand's memory, from an offset, in the result's shape."""
    shape = low.shape(node.outputs[0])
    if operand in low.out.constants:
        flat = low.out.constants[operand].reshape(-1)[offset : offset + math.prod(shape)]
        low.bind(node.outputs[0], low.out.constant(flat.reshape(shape), name=node.outputs[0]))
    elif offset or low.out.tensors[operand].shape != shape:
        low.bind(node.outputs[0], low.out.view(operand, shape, offset, name=node.outputs[0]))
    else:
        low.bind(node.outputs[0], operand)


def walk(
    low: Lowering, node: Node, x: str, shape: Shape, strides: Sequence[int], offset: int = 0
) -> None:
    """Make a node's result of what a walk over x finds: a view where it is contiguous there."""
    elements = math.prod(shape)
    is_contiguous = all(
        size == 1 or one == other
        for size, one, other in zip(shape, strides, strides_of(shape), strict=True)
    )
    if is_contiguous and offset % VIEW_ELEMENTS == 0 and elements:
        rename(low, node, x, offset)
        return
    y = low.result(node)
    copy(low.out, x, y, shape, strides, strides_of(shape), x_offset=offset, label=node.label)


@lowers("Transpose")
def transpose(low: Lowering, node: Node) -> None:
    """Permute axes; where only axes of size 1 move it is a view."""
    x = low.operand(node.inputs[0])
    shape = low.shape(node.inputs[0])
    order = node.attribute("perm") or range(len(shape))[::-1]
    strides = strides_of(shape)
    walk(low, node, x, tuple(shape[i] for i in order), [strides[i] for i in order])


@lowers("Slice")
def slice_(low: Lowering, node: Node) -> None:
    """Take ranges of axes, with steps; the ranges are constants."""
    shape = low.shape(node.inputs[0])
    starts = integers(low, node, 1, "starts")
    ends = integers(low, node, 2, "ends")
    steps = integers(low, node, 4, "steps", [1] * len(starts))
    axes = axes_of(len(shape), integers(low, node, 3, "axes", range(len(starts))))
    ranges = [range(size) for size in shape]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        ranges[axis] = range(*slice(start, end, step).indices(shape[axis]))
    strides = strides_of(shape)
    walk(
        low,
        node,
        low.operand(node.inputs[0]),
        tuple(len(one) for one in ranges),
        [one.step * stride for one, stride in zip(ranges, strides, strict=True)],
        sum(one.start * stride for one, stride in zip(ranges, strides, strict=True)),
    )


@lowers("Split")
def split(low: Lowering, node: Node) -> None:
    """Cut a tensor along an axis."""
    shape = low.shape(node.inputs[0])
    axis = axis_of(len(shape), node.attribute("axis", 0))
    strides = strides_of(shape)
    x = low.operand(node.inputs[0])
    start = 0
    for name in node.outputs:
        if not name:
            continue
        part = Node(op="Split", inputs=node.inputs, outputs=(name,), label=node.label)
        walk(low, part, x, low.shape(name), strides, start * strides[axis])
        start += low.shape(name)[axis]


@lowers("Concat")
def concat(low: Lowering, node: Node) -> None:
    """Put tensors one after another along an axis: one copy each."""
    y = low.result(node)
    shape = low.shape(node.outputs[0])
    axis = axis_of(len(shape), node.attribute("axis", 0))
    strides = strides_of(shape)
    start = 0
    for name in node.inputs:
        part = low.shape(name)
        copy(
            low.out,
            low.operand(name),
            y,
            part,
            strides_of(part),
            strides,
            y_offset=start * strides[axis],
            label=node.label,
        )
        start += part[axis]


@lowers("Expand")
def expand(low: Lowering, node: Node) -> None:
    """Repeat along axes of size 1."""
    shape = low.shape(node.outputs[0])
    strides = broadcast_strides(low.shape(node.inputs[0]), shape)
    walk(low, node, low.operand(node.inputs[0]), shape, strides)


@lowers("Tile")
def tile(low: Lowering, node: Node) -> None:
    """Repeat whole axes."""
    shape, result = low.shape(node.inputs[0]), low.shape(node.outputs[0])
    strides = strides_of(shape)
    repeats = [new // old if old else 0 for new, old in zip(result, shape, strict=True)]
    x, y = low.operand(node.inputs[0]), low.result(node)
    # Each axis as two: the repetition, which stays in place in x, and the axis itself.
    sizes = [one for pair in zip(repeats, shape, strict=True) for one in pair]
    steps = [one for stride in strides for one in (0, stride)]
    copy(low.out, x, y, sizes, steps, strides_of(tuple(sizes)), label=node.label)


@lowers("Pad")
def pad(low: Lowering, node: Node) -> None:
    """Add a border, by a constant, the edge, a reflection or the other side; negative pads crop."""
    shape, result = low.shape(node.inputs[0]), low.shape(node.outputs[0])
    amounts = integers(low, node, 1, "pads")
    axes = axes_of(len(shape), integers(low, node, 3, "axes", range(len(shape))))
    before = [0] * len(shape)
    for axis, amount in zip(axes, amounts, strict=False):
        before[axis] = amount
    mode = node.attribute("mode", "constant")
    segments = [
        _segments(mode, size, start, new)
        for size, start, new in zip(shape, before, result, strict=True)
    ]
    if not all(segments):
        raise low.refuse(node, f"a border of mode {mode} that is wider than the tensor")
    x, y = low.operand(node.inputs[0]), low.result(node)
    if mode == "constant":
        fill(low.out, y, number(low, node, 2, "value") or 0.0, label=node.label)
    strides, y_strides = strides_of(shape), strides_of(result)
    for cell in np.ndindex(*(len(one) for one in segments)):
        parts = [one[i] for one, i in zip(segments, cell, strict=True)]
        copy(
            low.out,
            x,
            y,
            [length for _, length, _, _ in parts],
            [step * stride for (*_, step), stride in zip(parts, strides, strict=True)],
            y_strides,
            x_offset=sum(one[2] * stride for one, stride in zip(parts, strides, strict=True)),
            y_offset=sum(one[0] * stride for one, stride in zip(parts, y_strides, strict=True)),
            label=node.label,
        )


def _segments(mode: str, size: int, before: int, new: int) -> list[tuple[int, int, int, int]]:
    """Return runs of a padded axis: start in the result, length, start in x, step in x.

    Empty when the mode cannot make an axis so long.
    """
    first = max(before, 0)
    last = min(before + size, new)  # of the result; what lies between comes from x as it is
    inside = [(first, last - first, first - before, 1)]
    left, right = first, new - last
    if mode == "constant" or (left == 0 and right <= 0):
        return inside
    if mode == "edge":
        border = [(0, left, 0, 0), (last, right, size - 1, 0)]
    elif mode == "reflect" and max(left, right) < size:
        border = [(0, left, left, -1), (last, right, size - 2, -1)]
    elif mode == "wrap" and max(left, right) <= size:
        border = [(0, left, size - left, 1), (last, right, 0, 1)]
    else:
        return []
    return [one for one in (border[0], *inside, border[1]) if one[1] > 0]


@lowers("DepthToSpace")
def depth_to_space(low: Lowering, node: Node) -> None:
    """Make blocks of pixels of channels."""
    batch, channels, height, width = low.shape(node.inputs[0])
    block = node.attribute("blocksize")
    depth = channels // block**2
    if node.attribute("mode", "DCR") == "DCR":
        shape, order = (batch, block, block, depth, height, width), (0, 3, 4, 1, 5, 2)
    else:
        shape, order = (batch, depth, block, block, height, width), (0, 1, 4, 2, 5, 3)
    _through(low, node, shape, order)


@lowers("SpaceToDepth")
def space_to_depth(low: Lowering, node: Node) -> None:
    """Make channels of blocks of pixels."""
    batch, channels, height, width = low.shape(node.inputs[0])
    block = node.attribute("blocksize")
    shape = (batch, channels, height // block, block, width // block, block)
    _through(low, node, shape, (0, 3, 5, 1, 2, 4))


def _through(low: Lowering, node: Node, shape: Shape, order: Sequence[int]) -> None:
    strides = strides_of(shape)
    new = tuple(shape[i] for i in order)
    copy(
        low.out,
        low.operand(node.inputs[0]),
        low.result(node),
        new,
        [strides[i] for i in order],
        strides_of(new),
        label=node.label,
    )


def permuted(low: Lowering, operand: str, order: Sequence[int], *, label: str = "") -> str:
    """Return a tensor with an operand's axes in another order, copied unless nothing moves."""
    shape = shape_of(low.out, operand)
    if tuple(order) == tuple(range(len(shape))):
        return operand
    strides = strides_of(shape)
    new = tuple(shape[i] for i in order)
    made = low.out.tensor(new, kind_of(low.out, operand))
    copy(low.out, operand, made, new, [strides[i] for i in order], strides_of(new), label=label)
    return made
