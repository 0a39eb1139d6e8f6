# SPDX-License-Identifier: Apache-2.0
"""Find layer norms and RMS norms, as operators of any origin or written out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..graph import Graph, Node, Shape
from .matching import Rewriter

if TYPE_CHECKING:
    from accelerate_core.types import Array

_SKIPPING = "com.microsoft.SkipLayerNormalization"
_SKIPPING_RMS = "com.microsoft.SkipSimplifiedLayerNormalization"
_RMS = ("RMSNormalization", "SimplifiedLayerNormalization")


def fuse_norms(graph: Graph) -> None:
    """Make `plan.LayerNorm` (x, weight, bias or "") and `plan.RmsNorm` (x, weight) of all norms.

    Both normalise over the last axis, or the last few as one; attribute `epsilon`.
    """
    rewriter = Rewriter(graph)
    for node in rewriter.nodes(_SKIPPING, _SKIPPING_RMS):
        _unskip(rewriter, node)
    for node in rewriter.nodes("LayerNormalization", *_RMS):
        _whole(rewriter, node)
    for node in rewriter.nodes("Div", "Mul"):
        if rewriter.is_current(node):
            _written_out(rewriter, node)


def _unskip(rewriter: Rewriter, node: Node) -> None:
    """Split a norm that first adds: a linear layer can add for it."""
    if len(node.outputs) > 1 and any(node.outputs[1:3]):
        return  # it puts out mean and deviation
    is_rms = node.op == _SKIPPING_RMS
    x, skip, weight, *rest = node.inputs
    rest += [""] * (2 - len(rest))
    (beta, bias) = ("", rest[0]) if is_rms else (rest[0], rest[1])
    shape, dtype = rewriter.shape(x), rewriter.graph.value(x).dtype
    new = []
    for other in (bias, skip):
        if other:
            is_last = other == skip
            given = node.outputs[3] if is_last and len(node.outputs) > 3 else ""
            total = given or rewriter.add_value(f"{node.outputs[0]}/sum", shape, dtype)
            new.append(Node(op="Add", inputs=(x, other), outputs=(total,), label=node.label))
            x = total
    new.append(_norm(node, is_rms, x, weight, beta, node.attribute("epsilon", 1e-12)))
    rewriter.replace([node], new)


def _whole(rewriter: Rewriter, node: Node) -> None:
    if len([name for name in node.outputs if name]) > 1:
        return
    is_rms = node.op in _RMS
    x, weight, *bias = node.inputs
    shape = rewriter.shape(x)
    axis = node.attribute("axis", -1) % len(shape)
    parts = [name for name in (weight, *bias) if name]
    if any(rewriter.constant(name) is None for name in parts):
        return
    weight, *bias = (_as_row(rewriter, name, shape[axis:]) for name in parts)
    new = _norm(node, is_rms, x, weight, (*bias, "")[0], node.attribute("epsilon", 1e-5))
    rewriter.replace([node], [new])


def _norm(node: Node, is_rms: bool, x: str, weight: str, bias: str, epsilon: float) -> Node:
    return Node(
        op="plan.RmsNorm" if is_rms else "plan.LayerNorm",
        inputs=(x, weight) if is_rms else (x, weight, bias),
        outputs=node.outputs[:1],
        attributes={"epsilon": epsilon},
        label=node.label,
    )


def _written_out(rewriter: Rewriter, node: Node) -> None:
    """Replace `d / sqrt(mean(d * d) + epsilon)`, with what scales and shifts it behind."""
    found = _normalised(rewriter, node)
    if found is None:
        return
    deviation, epsilon = found
    shape = rewriter.shape(deviation)
    last, x, is_rms = node, deviation, True
    minus = rewriter.maker(deviation, "Sub")
    if minus and _mean_of(rewriter, minus.inputs[1]) == minus.inputs[0]:
        x, is_rms = minus.inputs[0], False
    weight, bias = "", ""
    if scale := rewriter.only_user(last.outputs[0], "Mul"):
        name = rewriter.other(scale, last.outputs[0])
        if name and _is_row(rewriter.constant(name), shape[-1]):
            weight, last = name, scale
    if not is_rms and (shift := rewriter.only_user(last.outputs[0], "Add")):
        name = rewriter.other(shift, last.outputs[0])
        if name and _is_row(rewriter.constant(name), shape[-1]):
            bias, last = name, shift
    if not weight:
        ones = np.ones(shape[-1:], np.float32)
        weight = rewriter.add_constant(f"{last.outputs[0]}/ones", ones)
    # What made the deviation is left: nothing reads it any more, unless something else does.
    nodes = [node]
    while nodes[-1] is not last:
        user = rewriter.only_user(nodes[-1].outputs[0])
        assert user is not None
        nodes.append(user)
    rewriter.replace(nodes, [_norm(last, is_rms, x, weight, bias, epsilon)])


def _normalised(rewriter: Rewriter, node: Node) -> tuple[str, float] | None:
    """Return d and epsilon where a node computes `d / sqrt(mean(d * d) + epsilon)`."""
    pairs = [node.inputs] if node.op == "Div" else [node.inputs, node.inputs[::-1]]
    for deviation, divisor in pairs:
        if node.op == "Mul":
            inverse = rewriter.maker(divisor, "Reciprocal", "Div")
            if inverse is None or (inverse.op == "Div" and rewriter.scalar(inverse.inputs[0]) != 1):
                continue
            divisor = inverse.inputs[-1]
        root = rewriter.maker(divisor, "Sqrt", "Pow")
        if root is None or (root.op == "Pow" and rewriter.scalar(root.inputs[1]) != 0.5):
            continue
        total = rewriter.maker(root.inputs[0], "Add")
        if total is None:
            continue
        for square, constant in (total.inputs, total.inputs[::-1]):
            epsilon = rewriter.scalar(constant)
            mean = _mean_of(rewriter, square)
            if epsilon is not None and mean and _square_of(rewriter, mean) == deviation:
                return deviation, epsilon
    return None


def _mean_of(rewriter: Rewriter, name: str) -> str | None:
    """Return what a tensor is the mean of, over the last axis, which is kept."""
    node = rewriter.maker(name, "ReduceMean")
    if node is None or not node.attribute("keepdims", 1):
        return None
    axes = node.attribute("axes")
    if axes is None and len(node.inputs) > 1:
        constant = rewriter.constant(node.inputs[1])
        axes = None if constant is None else constant.tolist()
    rank = len(rewriter.shape(node.inputs[0]))
    return node.inputs[0] if axes is not None and list(axes) in ([-1], [rank - 1]) else None


def _square_of(rewriter: Rewriter, name: str) -> str | None:
    node = rewriter.maker(name, "Mul", "Pow")
    if node is None:
        return None
    if node.op == "Mul":
        return node.inputs[0] if node.inputs[0] == node.inputs[1] else None
    return node.inputs[0] if rewriter.scalar(node.inputs[1]) == 2 else None


def _as_row(rewriter: Rewriter, name: str, shape: Shape) -> str:
    """Return a constant as one row of what is normalised."""
    value = rewriter.graph.constants[name]
    if value.shape == shape and len(shape) == 1:
        return name
    row = np.ascontiguousarray(np.broadcast_to(value, shape)).reshape(-1)
    return rewriter.add_constant(f"{name}/row", row)


def _is_row(value: Array | None, columns: int) -> bool:
    """Whether a constant has one number a column, and nothing else to broadcast."""
    return value is not None and value.shape[-1:] == (columns,) and value.size == columns
