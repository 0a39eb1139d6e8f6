# SPDX-License-Identifier: Apache-2.0
"""Comparisons, logic and choice; true is 1 and false 0, as i32."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..codes import BinaryI32
from ..graph import Node
from .base import Lowering, lowers
from .steps import broadcast, kind_of

#: On f32 they are `Compare`'s, by the same numbers.
_COMPARISONS: Mapping[str, BinaryI32] = {
    "Equal": BinaryI32.EQUAL,
    "Greater": BinaryI32.GREATER,
    "GreaterOrEqual": BinaryI32.GREATER_OR_EQUAL,
    "Less": BinaryI32.LESS,
    "LessOrEqual": BinaryI32.LESS_OR_EQUAL,
}
_LOGIC: Mapping[str, BinaryI32] = {
    "And": BinaryI32.AND,
    "Or": BinaryI32.OR,
    "Xor": BinaryI32.XOR,
}


@lowers(*_COMPARISONS)
def compare(low: Lowering, node: Node) -> None:
    """Compare two tensors, broadcast."""
    a, b = (low.operand(name) for name in node.inputs)
    operation = "compare" if kind_of(low.out, a) == "f32" else "binary_i32"
    code, y = _COMPARISONS[node.op], low.result(node)
    broadcast(low.out, operation, {"a": a, "b": b}, y, code=code, label=node.label)


@lowers(*_LOGIC)
def logic(low: Lowering, node: Node) -> None:
    """Combine two tensors of truth values, broadcast."""
    a, b = (low.operand(name) for name in node.inputs)
    code, y = _LOGIC[node.op], low.result(node)
    broadcast(low.out, "binary_i32", {"a": a, "b": b}, y, code=code, label=node.label)


@lowers("Not")
def not_(low: Lowering, node: Node) -> None:
    """Negate truth values."""
    zero = low.out.constant(np.zeros((), np.int32))
    given, y = {"a": low.operand(node.inputs[0]), "b": zero}, low.result(node)
    broadcast(low.out, "binary_i32", given, y, code=BinaryI32.EQUAL, label=node.label)


@lowers("Where")
def where(low: Lowering, node: Node) -> None:
    """Take elements of one tensor or another, all three broadcast."""
    condition, a, b = (low.operand(name) for name in node.inputs)
    given, y = {"condition": condition, "a": a, "b": b}, low.result(node)
    broadcast(low.out, "select", given, y, label=node.label)


@lowers("Trilu")
def trilu(low: Lowering, node: Node) -> None:
    """Keep a triangle of every matrix; the rest becomes 0."""
    k = low.constant(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] else np.array(0)
    if k is None:
        raise low.refuse(node, "its diagonal is computed")
    x = low.operand(node.inputs[0])
    rows, columns = low.shape(node.inputs[0])[-2:]
    ones = np.ones((rows, columns), np.int32)
    keep = (np.triu if node.attribute("upper", 1) else np.tril)(ones, int(k.reshape(())))
    zero = np.zeros((), np.float32 if kind_of(low.out, x) == "f32" else np.int32)
    given = {"condition": low.out.constant(keep), "a": x, "b": low.out.constant(zero)}
    broadcast(low.out, "select", given, low.result(node), label=node.label)
