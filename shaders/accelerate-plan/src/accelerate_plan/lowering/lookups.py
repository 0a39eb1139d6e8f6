# SPDX-License-Identifier: Apache-2.0
"""Operators that look elements up by index."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..codes import BinaryI32
from ..graph import Node
from .arguments import axis_of
from .base import Lowering, lowers
from .movement import walk
from .steps import broadcast, copy, strides_of

if TYPE_CHECKING:
    from accelerate_core.types import Array


@lowers("Gather")
def gather(low: Lowering, node: Node) -> None:
    """Take slices along an axis; one whose indices are known may be a view or a copy."""
    shape = low.shape(node.inputs[0])
    axis = axis_of(len(shape), node.attribute("axis", 0))
    indices = low.constant(node.inputs[1])
    if indices is not None and (run := _run(indices, shape[axis])) is not None:
        start, step = run
        strides = strides_of(shape)
        place = shape[:axis], indices.shape, shape[axis + 1 :]
        along = (step * one * strides[axis] for one in strides_of(indices.shape))
        walk(
            low,
            node,
            low.operand(node.inputs[0]),
            sum(place, ()),
            (*strides[:axis], *along, *strides[axis + 1 :]),
            start * strides[axis],
        )
        return
    ids = low.operand(node.inputs[1])
    if axis == 0 and _is_table(low, node.inputs[0]):
        operands = {"table": low.operand(node.inputs[0]), "ids": ids, "y": low.result(node)}
        params = {
            "count": math.prod(low.shape(node.inputs[1])),
            "columns": math.prod(shape[1:]),
            "rows": shape[0],
            "rows2": 0,
            "addend_count": 0,
            "has_second": 0,
            "has_addend": 0,
        }
        low.out.step("embedding", operands, params, label=node.label)
        return
    take(
        low,
        low.operand(node.inputs[0]),
        ids,
        low.result(node),
        outer=math.prod(shape[:axis]),
        size=shape[axis],
        inner=math.prod(shape[axis + 1 :]),
        label=node.label,
    )


def _is_table(low: Lowering, name: str) -> bool:
    value = low.constant(name)
    return value is not None and value.dtype.kind == "f"


def _run(indices: Array, size: int) -> tuple[int, int] | None:
    """Return start and step of indices that are an arithmetic progression."""
    flat = indices.reshape(-1).astype(np.int64)
    flat = np.where(flat < 0, flat + size, flat)
    if not flat.size:
        return None
    steps = np.diff(flat)
    if steps.size and (steps != steps[0]).any():
        return None
    return int(flat[0]), int(steps[0]) if steps.size else 1


def take(
    low: Lowering,
    x: str,
    ids: str,
    y: str,
    *,
    outer: int,
    size: int,
    inner: int,
    label: str = "",
) -> None:
    """Add y[outer, count, inner] = x[outer, ids[count], inner]."""
    tensor = low.out.tensors[y]
    if not tensor.elements:
        return
    params = {
        "outer": outer,
        "axis_size": size,
        "inner": inner,
        "count": tensor.elements // (outer * inner),
    }
    low.out.step("gather", {"x": x, "ids": ids, "y": y}, params, label=label)


@lowers("GatherElements")
def gather_elements(low: Lowering, node: Node) -> None:
    """Take one element for each index along an axis."""
    shape, wanted = low.shape(node.inputs[0]), low.shape(node.inputs[1])
    axis = axis_of(len(shape), node.attribute("axis", 0))
    strides = strides_of(shape)
    base = np.zeros(wanted, np.int32)
    for other, places in enumerate(np.indices(wanted, np.int32)):
        if other != axis:
            base += places * strides[other]
    index = low.operand(node.inputs[1])
    ids = _places(low, [(index, shape[axis], strides[axis])], base, label=node.label)
    x, y, size = low.operand(node.inputs[0]), low.result(node), math.prod(shape)
    take(low, x, ids, y, outer=1, size=size, inner=1, label=node.label)


@lowers("GatherND")
def gather_nd(low: Lowering, node: Node) -> None:
    """Take a slice for each tuple of indices, the last axis of the indices."""
    shape, indices = low.shape(node.inputs[0]), low.shape(node.inputs[1])
    batch_axes, length = node.attribute("batch_dims", 0), indices[-1]
    used = batch_axes + length
    strides = strides_of((*shape[:used], 1))[:used]  # of slices
    base = np.zeros(indices[:-1], np.int32)
    for axis in range(batch_axes):
        base += np.indices(base.shape, np.int32)[axis] * strides[axis]
    columns = []
    for i in range(length):
        column = _column(low, node, i)
        columns.append((column, shape[batch_axes + i], strides[batch_axes + i]))
    ids = _places(low, columns, base, label=node.label)
    x, y = low.operand(node.inputs[0]), low.result(node)
    sizes = {"size": math.prod(shape[:used]), "inner": math.prod(shape[used:])}
    take(low, x, ids, y, outer=1, **sizes, label=node.label)


def _column(low: Lowering, node: Node, index: int) -> str:
    """Return one index of every tuple."""
    name = node.inputs[1]
    if (known := low.constant(name)) is not None:
        return low.out.constant(known[..., index])
    shape = low.shape(name)
    made = low.out.tensor(shape[:-1], "i32")
    x, steps = low.operand(name), strides_of(shape)[:-1]
    to = strides_of(shape[:-1])
    copy(low.out, x, made, shape[:-1], steps, to, x_offset=index, label=node.label)
    return made


def _places(
    low: Lowering, indices: Sequence[tuple[str, int, int]], base: Array, *, label: str
) -> str:
    """Return base + the sum of index * stride, for indices of axes with a size and a stride.

    Negative indices count from the end.
    """
    computed: list[tuple[str, int, int]] = []
    for index, size, stride in indices:
        known = low.out.constants.get(index)
        if known is None:
            computed.append((index, size, stride))
        else:
            base = base + (known.astype(np.int64) % size) * stride
    place = low.out.constant(base.astype(np.int32))
    for index, size, stride in computed:
        for code, other in (
            (BinaryI32.MOD, low.out.constant(np.array(size, np.int32))),
            (BinaryI32.MUL, low.out.constant(np.array(stride, np.int32))),
            (BinaryI32.ADD, place),
        ):
            made = low.out.tensor(base.shape, "i32")
            given = {"a": index, "b": other}
            broadcast(low.out, "binary_i32", given, made, code=code, label=label)
            index = made
        place = index
    return place
