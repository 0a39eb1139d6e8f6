# SPDX-License-Identifier: Apache-2.0
"""Masks of attention: made one that is added, or known to be causal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..graph import Node, Shape
from .matching import Rewriter
from .strided import Strided, trace

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: What is so low is 0 after softmax.
_HIDDEN = -1e4
_LOWEST = float(np.finfo(np.float32).min)


@attrs.frozen(kw_only=True)
class Mask:
    """What attention adds to its scores."""

    base: str = ""  #: "" for nothing
    strides: tuple[int, int, int, int] = (0, 0, 0, 0)  #: batch, head, row, 0
    is_causal: bool = False
    nodes: tuple[Node, ...] = ()  #: that make it


class Masks:
    """Turn what exporters do to scores into one mask; layers that share masks share the result."""

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter
        self._wheres: dict[tuple[str, float, bool], str] = {}
        self._sums: dict[tuple[str, str], str] = {}
        self._nodes: dict[str, Node] = {}  # not in the graph yet

    def of_where(self, node: Node) -> tuple[str, str] | None:
        """Return the scores that a Where hides a part of, and the same as a mask to be added."""
        condition, *branches = node.inputs
        for index, (source, hidden) in enumerate((branches, branches[::-1])):
            value = self._rewriter.scalar(hidden)
            if value is not None and value <= _HIDDEN and self._rewriter.scalar(source) is None:
                shown_if_true = index == 0
                return source, self._where(condition, max(value, _LOWEST), shown_if_true, node)
        return None

    def join(self, masks: Sequence[tuple[str, Shape]], scores: Shape) -> Mask | None:
        """Return masks as one for scores [batch, heads, rows, keys]; None where none can be."""
        is_causal = False
        left: list[tuple[str, Shape]] = []
        for name, shape in masks:
            if _is_causal(self._rewriter.constant(name), scores):
                is_causal = True
            else:
                left.append((name, shape))
        if not left:
            return Mask(is_causal=is_causal)
        name, shape = left[0]
        for other, to in left[1:]:
            if to != shape:
                return None
            name = self._sum(name, other)
        return self._mask(name, shape, scores, is_causal)

    def _mask(self, name: str, shape: Shape, scores: Shape, is_causal: bool) -> Mask | None:
        rewriter = self._rewriter
        found = trace(rewriter, name)
        if found.factor != 1:
            found = Strided.contiguous(name, rewriter.shape(name))
        walk = found.expanded(shape).reshaped(scores)
        if walk is None:  # batches of windows, each with a mask of its own
            name = self._make("Expand", (name,), shape, "mask")
            walk = Strided.contiguous(name, shape).reshaped(scores)
        if walk is None or (walk.strides[-1] != 1 and scores[-1] != 1):
            return None
        batch, head, row, _ = walk.strides
        nodes = self._pending(walk.base)
        return Mask(base=walk.base, strides=(batch, head, row, 0), is_causal=is_causal, nodes=nodes)

    def _where(self, condition: str, value: float, shown_if_true: bool, node: Node) -> str:
        key = (condition, value, shown_if_true)
        if key in self._wheres:
            return self._wheres[key]
        add = self._rewriter.add_constant
        branches = (0.0, value) if shown_if_true else (value, 0.0)
        known = self._rewriter.constant(condition)
        if known is not None:
            name = add("mask/constant", np.where(known, *branches).astype(np.float32))
        else:
            numbers = (add("mask/number", np.array(one, np.float32)) for one in branches)
            shape = self._rewriter.shape(condition)
            name = self._make("Where", (condition, *numbers), shape, node.label)
        self._wheres[key] = name
        return name

    def _sum(self, a: str, b: str) -> str:
        if (a, b) in self._sums:
            return self._sums[a, b]
        left, right = self._rewriter.constant(a), self._rewriter.constant(b)
        if left is not None and right is not None:
            with np.errstate(over="ignore"):  # of two of the lowest numbers
                total = np.maximum(left + right, np.float32(_LOWEST))
            self._sums[a, b] = self._rewriter.add_constant("mask/sum", total)
        else:
            shape = np.broadcast_shapes(self._rewriter.shape(a), self._rewriter.shape(b))
            self._sums[a, b] = self._make("Add", (a, b), shape, "mask")
        return self._sums[a, b]

    def _make(self, op: str, inputs: tuple[str, ...], shape: Shape, label: str) -> str:
        name = self._rewriter.add_value(f"mask/{op}", shape, "float32")
        self._nodes[name] = Node(op=op, inputs=inputs, outputs=(name,), label=label)
        return name

    def _pending(self, name: str) -> tuple[Node, ...]:
        """Return the nodes that make a tensor and are not in the graph, each once."""
        node = self._nodes.pop(name, None)
        if node is None:
            return ()
        before = (one for part in node.inputs for one in self._pending(part))
        return (*before, node)


def _is_causal(value: Array | None, scores: Shape) -> bool:
    """Whether a constant hides exactly what comes later, and nothing else."""
    *_, rows, keys = scores
    if value is None or value.size != rows * keys or value.shape[-2:] != (rows, keys):
        return False
    if rows > keys:
        return False  # a row that sees nothing is another thing to softmax than to the kernel
    seen = np.tri(rows, keys, keys - rows, dtype=bool)
    flat = value.reshape(rows, keys)
    return bool((flat[seen] == 0).all() and (flat[~seen] <= _HIDDEN).all())
