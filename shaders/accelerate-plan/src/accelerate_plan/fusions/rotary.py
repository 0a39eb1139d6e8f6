# SPDX-License-Identifier: Apache-2.0
"""Find rotary position embeddings: x * cos + halves of x swapped * sin (arXiv:2104.09864)."""

from __future__ import annotations

import attrs
import numpy as np

from ..graph import Graph, Node, Shape
from .matching import Rewriter
from .strided import Strided, flat, trace


@attrs.frozen(kw_only=True)
class _Axes:
    """Which axes of x, of four, are the length and the heads; and whether cos has batches."""

    length: int
    heads: int
    has_batches: bool


def fuse_rotary(graph: Graph) -> None:
    """Make `plan.Rotary` (x, cos, sin) of x * cos + rotated x * sin.

    x is read by the strides in its attributes; cos and sin are `[batch or 1, length, size]`. The
    result is contiguous, in the order of the sum it stands for.
    """
    rewriter = Rewriter(graph)
    signed: dict[str, str] = {}  # layers share one table, and what is made of it
    for node in rewriter.nodes("Add"):
        for plain, turned in (node.inputs, node.inputs[::-1]):
            if _fuse(rewriter, node, plain, turned, signed):
                break


def _fuse(rewriter: Rewriter, add: Node, plain: str, turned: str, signed: dict[str, str]) -> bool:
    shape = rewriter.shape(add.outputs[0])
    straight, swapped = rewriter.maker(plain, "Mul"), rewriter.maker(turned, "Mul")
    if straight is None or swapped is None or len(shape) != 4:
        return False
    for rotated, sin in (swapped.inputs, swapped.inputs[::-1]):
        halves = rewriter.maker(rotated, "Concat")
        if halves is None or (found := _swapped(rewriter, halves)) is None:
            continue
        source, is_negated = found
        x = next((one for one in straight.inputs if _is_same(rewriter, one, source)), None)
        if x is None or (cos := rewriter.other(straight, x)) is None:
            continue
        axes = _axes(shape, rewriter.shape(x), rewriter.shape(cos), rewriter.shape(sin))
        if axes is not None:
            _replace(rewriter, add, (x, cos, sin), axes, signed=None if is_negated else signed)
            return True
    return False


def _swapped(rewriter: Rewriter, concat: Node) -> tuple[str, bool] | None:
    """Return what a node swaps the halves of, and whether it negates the one that comes first."""
    if len(concat.inputs) != 2:
        return None
    size = rewriter.shape(concat.outputs[0])[-1]
    rank = len(rewriter.shape(concat.outputs[0]))
    if concat.attribute("axis") not in (-1, rank - 1) or size % 2:
        return None
    first, second = concat.inputs
    negation = rewriter.maker(first, "Neg")
    upper = _range(rewriter, negation.inputs[0] if negation else first)
    lower = _range(rewriter, second)
    if upper is None or lower is None or upper[0] != lower[0]:
        return None
    if rewriter.shape(upper[0])[-1] != size:
        return None
    if upper[1:] != (size // 2, size) or lower[1:] != (0, size // 2):
        return None
    return upper[0], negation is not None


def _range(rewriter: Rewriter, name: str) -> tuple[str, int, int] | None:
    """Return the tensor whose last axis a tensor is a range of, and the range."""
    node = rewriter.maker(name, "Slice", "Split")
    if node is None:
        return None
    shape = rewriter.shape(node.inputs[0])
    part = rewriter.shape(name)
    if part[:-1] != shape[:-1]:
        return None
    if node.op == "Split":
        sizes = [rewriter.shape(one)[-1] for one in node.outputs]
        start = sum(sizes[: node.outputs.index(name)])
    else:
        starts, axes, steps = (_integers(rewriter, node, i) for i in (1, 3, 4))
        if starts is None or len(starts) != 1 or steps not in (None, [1]):
            return None
        if (axes or [0])[0] not in (-1, len(shape) - 1):
            return None
        start = starts[0] + shape[-1] if starts[0] < 0 else starts[0]
    return node.inputs[0], start, start + part[-1]


def _integers(rewriter: Rewriter, node: Node, index: int) -> list[int] | None:
    value = rewriter.constant(node.inputs[index]) if index < len(node.inputs) else None
    return None if value is None else [int(one) for one in value.reshape(-1)]


def _is_same(rewriter: Rewriter, one: str, other: str) -> bool:
    return one == other or (
        rewriter.shape(one) == rewriter.shape(other)
        and trace(rewriter, one) == trace(rewriter, other)
    )


def _axes(shape: Shape, x: Shape, cos: Shape, sin: Shape) -> _Axes | None:
    """Return what the axes are; None where cos and sin do not lie as the kernel reads them."""
    if x != shape or cos != sin:
        return None
    cos = (1,) * (4 - len(cos)) + cos
    if cos[-1] != shape[-1] or cos[0] not in (1, shape[0]):
        return None
    for length, heads in ((2, 1), (1, 2)):
        if cos[length] == shape[length] and cos[heads] == 1:
            has_batches = cos[0] == shape[0] and shape[0] > 1
            return _Axes(length=length, heads=heads, has_batches=has_batches)
    return None


def _replace(
    rewriter: Rewriter,
    add: Node,
    inputs: tuple[str, str, str],
    axes: _Axes,
    *,
    signed: dict[str, str] | None,
) -> None:
    x, cos, sin = inputs
    shape = rewriter.shape(add.outputs[0])
    own = Strided.contiguous(x, shape)
    walk = trace(rewriter, x)
    if walk.factor != 1 or walk.strides[-1] != 1:
        walk = own
    cos, sin = flat(rewriter, cos), flat(rewriter, sin)
    nodes: list[Node] = []
    if signed is not None:
        if sin not in signed:
            nodes.append(_negation(rewriter, sin))
            signed[sin] = nodes[0].outputs[0]
        sin = signed[sin]
    length, heads = shape[axes.length], shape[axes.heads]
    order = (0, axes.length, axes.heads)
    new = Node(
        op="plan.Rotary",
        inputs=(walk.base, cos, sin),
        outputs=add.outputs,
        attributes={
            "batch": shape[0],
            "length": length,
            "heads": heads,
            "size": shape[-1],
            "x_strides": (*(walk.strides[i] for i in order), 0),
            "y_strides": (*(own.strides[i] for i in order), 0),
            "cos_stride": length * shape[-1] if axes.has_batches else 0,
        },
        label=add.label,
    )
    rewriter.replace([add], [*nodes, new])


def _negation(rewriter: Rewriter, sin: str) -> Node:
    """Return what negates the first half of sin, for halves that are swapped and not negated."""
    shape = rewriter.shape(sin)
    signs = np.ones(shape[-1], np.float32)
    signs[: shape[-1] // 2] = -1
    constant = rewriter.add_constant(f"{sin}/signs", signs)
    made = rewriter.add_value(f"{sin}/signed", shape, "float32")
    return Node(op="Mul", inputs=(sin, constant), outputs=(made,), label=sin)
