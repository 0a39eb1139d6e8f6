# SPDX-License-Identifier: Apache-2.0
"""Operators that make one number of many along axes, and running sums."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..codes import Binary, Reduce, ReduceIndex, Unary
from ..graph import Node
from .arguments import axes_of, axis_of, integers
from .base import Lowering, lowers
from .movement import permuted, rename
from .steps import broadcast, cast, kind_of, shape_of, unary

_REDUCTIONS: Mapping[str, Reduce] = {
    "ReduceL1": Reduce.L1,
    "ReduceL2": Reduce.L2,
    "ReduceLogSum": Reduce.SUM,
    "ReduceLogSumExp": Reduce.LOG_SUM_EXP,
    "ReduceMax": Reduce.MAX,
    "ReduceMean": Reduce.MEAN,
    "ReduceMin": Reduce.MIN,
    "ReduceProd": Reduce.PROD,
    "ReduceSum": Reduce.SUM,
    "ReduceSumSquare": Reduce.SUM_SQUARE,
}


@lowers(*_REDUCTIONS)
def reduce(low: Lowering, node: Node) -> None:
    """Reduce along axes; whole numbers are computed in f32, exact up to 2^24."""
    x = low.operand(node.inputs[0])
    rank = len(low.shape(node.inputs[0]))
    axes = axes_of(rank, integers(low, node, 1, "axes", ()))
    if not axes:
        if node.attribute("noop_with_empty_axes", 0):
            rename(low, node, x)
            return
        axes = list(range(rank))
    is_whole = kind_of(low.out, x) == "i32"
    if is_whole:
        x = as_f32(low, x, label=node.label)
    y = low.out.tensor(low.shape(node.outputs[0])) if is_whole else low.result(node)
    reduce_axes(low, x, y, axes, _REDUCTIONS[node.op], label=node.label)
    if node.op == "ReduceLogSum":
        summed, y = y, low.result(node)
        unary(low.out, Unary.LOG, summed, y, label=node.label)
    elif is_whole:
        cast(low.out, "cast_i32", y, low.result(node), label=node.label)


@lowers("GlobalAveragePool", "GlobalMaxPool")
def global_pool(low: Lowering, node: Node) -> None:
    """Reduce all axes of space."""
    operation = Reduce.MEAN if node.op == "GlobalAveragePool" else Reduce.MAX
    x, rank = low.operand(node.inputs[0]), len(low.shape(node.inputs[0]))
    reduce_axes(low, x, low.result(node), range(2, rank), operation, label=node.label)


@lowers("ArgMax", "ArgMin")
def arg_extreme(low: Lowering, node: Node) -> None:
    """Find the first index of the largest or smallest number along an axis."""
    if node.attribute("select_last_index", 0):
        raise low.refuse(node, "select_last_index is not supported")
    shape = low.shape(node.inputs[0])
    axis = axis_of(len(shape), node.attribute("axis", 0))
    x = low.operand(node.inputs[0])
    if kind_of(low.out, x) == "i32":
        x = as_f32(low, x, label=node.label)
    operation = ReduceIndex.ARG_MAX if node.op == "ArgMax" else ReduceIndex.ARG_MIN
    given = _cut(shape, axis, axis + 1) | {"operation": operation}
    low.out.step("reduce_index", {"x": x, "y": low.result(node)}, given, label=node.label)


@lowers("LogSoftmax")
def log_softmax(low: Lowering, node: Node) -> None:
    """Compute x - log(sum(exp(x))) along an axis."""
    x, shape = low.operand(node.inputs[0]), low.shape(node.inputs[0])
    axis = axis_of(len(shape), node.attribute("axis", -1))
    total = low.out.tensor(tuple(1 if i == axis else size for i, size in enumerate(shape)))
    reduce_axes(low, x, total, [axis], Reduce.LOG_SUM_EXP, label=node.label)
    given, y = {"a": x, "b": total}, low.result(node)
    broadcast(low.out, "binary", given, y, code=Binary.SUB, label=node.label)


@lowers("CumSum")
def cumsum(low: Lowering, node: Node) -> None:
    """Add up along an axis; whole numbers are computed in f32, exact up to 2^24."""
    shape = low.shape(node.inputs[0])
    axis = axis_of(len(shape), integers(low, node, 1, "axis")[0])
    x, y = low.operand(node.inputs[0]), low.result(node)
    is_whole = kind_of(low.out, x) == "i32"
    if is_whole:
        x = as_f32(low, x, label=node.label)
    summed = low.out.tensor(shape) if is_whole else y
    given = _cut(shape, axis, axis + 1) | {
        "is_exclusive": int(node.attribute("exclusive", 0)),
        "is_reverse": int(node.attribute("reverse", 0)),
    }
    low.out.step("cumsum", {"x": x, "y": summed}, given, label=node.label)
    if is_whole:
        cast(low.out, "cast_i32", summed, y, label=node.label)


def reduce_axes(
    low: Lowering, x: str, y: str, axes: Sequence[int], operation: Reduce, *, label: str = ""
) -> None:
    """Add a reduction of f32 along axes, moved to the end first where they do not lie together."""
    shape = shape_of(low.out, x)
    # An axis of one element reduces nothing, wherever it is.
    inner = sorted(axis for axis in axes if shape[axis] != 1)
    first, last = (inner[0], inner[-1] + 1) if inner else (len(shape), len(shape))
    if any(i not in inner and shape[i] != 1 for i in range(first, last)):
        order = [i for i in range(len(shape)) if i not in inner] + inner
        x = permuted(low, x, order, label=label)
        shape = shape_of(low.out, x)
        first, last = len(shape) - len(inner), len(shape)
    given = _cut(shape, first, last) | {"operation": operation}
    low.out.step("reduce", {"x": x, "y": y}, given, label=label)


def _cut(shape: Sequence[int], first: int, last: int) -> dict[str, int]:
    return {
        "outer": math.prod(shape[:first]),
        "size": math.prod(shape[first:last]),
        "inner": math.prod(shape[last:]),
    }


def as_f32(low: Lowering, x: str, *, label: str = "") -> str:
    """Return whole numbers as f32."""
    made = low.out.tensor(shape_of(low.out, x))
    cast(low.out, "cast_f32", x, made, label=label)
    return made
