# SPDX-License-Identifier: Apache-2.0
"""Find sums of embeddings: rows of tables looked up by ids, and positions that are constant."""

from __future__ import annotations

import math

import attrs

from ..graph import Graph, Node
from .matching import Rewriter


def fuse_embeddings(graph: Graph) -> None:
    """Make `plan.Embedding` (table, ids, table2, ids2, addend; "" for none) of sums of look-ups.

    Rows of a constant table [rows, columns]; the addend is repeated over what is looked up.
    """
    rewriter = Rewriter(graph)
    for node in rewriter.nodes("Gather"):
        table = rewriter.constant(node.inputs[0])
        if table is None or table.ndim != 2 or table.dtype.kind != "f":
            continue
        if node.attribute("axis", 0) in (0, -2) and rewriter.constant(node.inputs[1]) is None:
            inputs = (*node.inputs, "", "", "")
            rewriter.replace([node], [attrs.evolve(node, op="plan.Embedding", inputs=inputs)])
    for node in rewriter.nodes("Add"):
        _join(rewriter, node)


def _join(rewriter: Rewriter, add: Node) -> None:
    shape = rewriter.shape(add.outputs[0])
    for name, other in (add.inputs, add.inputs[::-1]):
        one = rewriter.maker(name, "plan.Embedding")
        if one is None or rewriter.only_user(name) is not add or rewriter.shape(name) != shape:
            continue
        table, ids, table2, ids2, addend = one.inputs
        second = rewriter.maker(other, "plan.Embedding")
        is_alone = rewriter.only_user(other) is add and rewriter.shape(other) == shape
        if second and is_alone and not table2 and not second.inputs[2]:
            addend2 = second.inputs[4]
            if not (addend and addend2):
                inputs = (table, ids, *second.inputs[:2], addend or addend2)
                _put(rewriter, [second, one, add], inputs)
                return
        if not addend and _repeats(rewriter.shape(other), shape):
            _put(rewriter, [one, add], (table, ids, table2, ids2, other))
            return


def _put(rewriter: Rewriter, old: list[Node], inputs: tuple[str, ...]) -> None:
    last = old[-1]
    new = Node(op="plan.Embedding", inputs=inputs, outputs=last.outputs, label=old[-2].label)
    rewriter.replace(old, [new])


def _repeats(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether broadcasting is the same as repeating all elements in their order."""
    size = math.prod(shape)
    inner = 1
    for axis in range(1, len(shape) + 1):
        if inner == size:
            return True  # only axes of size 1 are left
        if shape[-axis] != to[-axis]:
            return False
        inner *= shape[-axis]
    return inner == size
