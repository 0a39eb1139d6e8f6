# SPDX-License-Identifier: Apache-2.0
"""What normalises rows: layer norm, RMS norm, softmax."""

from __future__ import annotations

import math

from ..graph import Node
from .arguments import axis_of
from .base import Lowering, lowers
from .steps import copy, strides_of


@lowers("plan.LayerNorm", "plan.RmsNorm")
def norm(low: Lowering, node: Node) -> None:
    """Normalise the last axis, or the last few as one."""
    x, weight, *rest = node.inputs
    bias = rest[0] if rest else ""
    columns = math.prod(low.shape(weight))
    rows = math.prod(low.shape(x)) // columns
    operands = {"x": low.operand(x), "weight": low.operand(weight), "y": low.result(node)}
    if low.shape(x)[-1] != columns:
        for name in ("x", "y"):
            operands[name] = low.out.view(operands[name], (rows, columns))
    params = {"rows": rows, "columns": columns, "epsilon": node.attributes["epsilon"]}
    if node.op == "plan.RmsNorm":
        low.out.step("rms_norm", operands, params, label=node.label)
        return
    if bias:
        operands["bias"] = low.operand(bias)
    params["has_bias"] = bool(bias)
    low.out.step("layer_norm", operands, params, label=node.label)


@lowers("Softmax")
def softmax(low: Lowering, node: Node) -> None:
    """Normalise along an axis; one that is not the last is turned to the end and back."""
    x = low.operand(node.inputs[0])
    shape = low.shape(node.inputs[0])
    axis = axis_of(len(shape), node.attribute("axis", -1))
    y = low.result(node)
    if axis == len(shape) - 1:
        _rows(low, x, y, shape[-1], node.label)
        return
    order = [*(i for i in range(len(shape)) if i != axis), axis]
    turned = tuple(shape[i] for i in order)
    steps = [strides_of(shape)[i] for i in order]
    before, after = low.out.tensor(turned), low.out.tensor(turned)
    copy(low.out, x, before, turned, steps, strides_of(turned), label=node.label)
    _rows(low, before, after, shape[axis], node.label)
    copy(low.out, after, y, turned, strides_of(turned), steps, label=node.label)


def _rows(low: Lowering, x: str, y: str, columns: int, label: str) -> None:
    rows = low.out.tensors[y].elements // columns
    low.out.step("softmax", {"x": x, "y": y}, {"rows": rows, "columns": columns}, label=label)
