# SPDX-License-Identifier: Apache-2.0
"""Cut weights that are larger than what any device must be able to bind."""

from __future__ import annotations

import math

import attrs
import numpy as np

from ..graph import Graph, Node
from .matching import Rewriter

#: What every WebGPU device binds (specification, 3.6.2), and what Firefox binds at most.
_MOST_BYTES = 128 << 20
_WIDTH = 64  #: parts are multiples of it: whole panels of packed columns


def cut_large(graph: Graph) -> None:
    """Cut large tables and weights by columns: each part is a step, and their results are joined.

    Weights of few bits are left: none is so large.
    """
    rewriter = Rewriter(graph)
    for node in rewriter.nodes("plan.Embedding"):
        if cuts := _cuts(rewriter, node.inputs[0], 4):
            _cut_embedding(rewriter, node, cuts)
    for node in rewriter.nodes("plan.Linear"):
        if "bits" in node.attributes or node.attributes["blocks"] > 1:
            continue
        is_half = rewriter.graph.constants[node.inputs[1]].dtype == np.float16
        if cuts := _cuts(rewriter, node.inputs[1], 2 if is_half else 4):
            _cut_linear(rewriter, node, cuts)


def _cuts(rewriter: Rewriter, name: str, item_bytes: int) -> list[slice]:
    """Return ranges of columns; nothing where a weight may stay whole."""
    rows, columns = rewriter.shape(name)
    if rows * columns * item_bytes <= _MOST_BYTES:
        return []
    width = max(1, _MOST_BYTES // (rows * item_bytes * _WIDTH)) * _WIDTH
    return [slice(start, min(start + width, columns)) for start in range(0, columns, width)]


def _cut_embedding(rewriter: Rewriter, node: Node, cuts: list[slice]) -> None:
    table, ids, table2, ids2, addend = node.inputs
    values = rewriter.graph.constants[table]
    nodes = []
    for cut in cuts:
        part = rewriter.add_constant(f"{table}/part", values[:, cut])
        nodes.append(_part(rewriter, node, cut, (part, ids, "", "", "")))
    joined = nodes
    if table2:
        second = rewriter.add_value(f"{node.outputs[0]}/second", *_of(rewriter, node))
        inputs = (table2, ids2, "", "", addend)
        nodes = [*nodes, attrs.evolve(node, inputs=inputs, outputs=(second,))]
        addend = second
    rewriter.replace([node], [*nodes, *_join(rewriter, node, joined, addend)])


def _cut_linear(rewriter: Rewriter, node: Node, cuts: list[slice]) -> None:
    x, weight, bias, residual = node.inputs
    values = rewriter.graph.constants[weight]
    nodes = []
    for cut in cuts:
        part = rewriter.add_constant(f"{weight}/part", values[:, cut])
        some = bias and rewriter.add_constant(f"{bias}/part", rewriter.graph.constants[bias][cut])
        nodes.append(_part(rewriter, node, cut, (x, part, some, "")))
    rewriter.replace([node], [*nodes, *_join(rewriter, node, nodes, residual)])


def _part(rewriter: Rewriter, node: Node, cut: slice, inputs: tuple[str, ...]) -> Node:
    """Return a node that makes some columns of what another makes."""
    shape, dtype = _of(rewriter, node)
    width = cut.stop - cut.start
    columns = rewriter.shape(node.inputs[node.op == "plan.Linear"])[1]
    rows = math.prod(shape) // columns
    name = rewriter.add_value(f"{node.outputs[0]}/part", (rows, width), dtype)
    return attrs.evolve(node, inputs=inputs, outputs=(name,))


def _join(rewriter: Rewriter, node: Node, parts: list[Node], addend: str) -> list[Node]:
    """Return nodes that put parts side by side, and add what is to be added."""
    shape, dtype = _of(rewriter, node)
    rows = rewriter.shape(parts[0].outputs[0])[0]
    flat = rewriter.add_value(f"{node.outputs[0]}/flat", (rows, math.prod(shape) // rows), dtype)
    whole = rewriter.add_value(f"{node.outputs[0]}/whole", shape, dtype) if addend else ""
    inputs = tuple(one.outputs[0] for one in parts)
    label = node.label
    nodes = [
        Node(op="Concat", inputs=inputs, outputs=(flat,), attributes={"axis": 1}, label=label),
        Node(op="Reshape", inputs=(flat,), outputs=(whole or node.outputs[0],), label=label),
    ]
    if addend:
        nodes.append(Node(op="Add", inputs=(whole, addend), outputs=node.outputs, label=label))
    return nodes


def _of(rewriter: Rewriter, node: Node) -> tuple[tuple[int, ...], str]:
    value = rewriter.graph.value(node.outputs[0])
    return value.shape, value.dtype
