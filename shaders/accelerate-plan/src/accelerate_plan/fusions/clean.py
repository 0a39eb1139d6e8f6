# SPDX-License-Identifier: Apache-2.0
"""Take out what changes nothing on the device."""

from __future__ import annotations

import attrs
from onnx import TensorProto

from ..graph import Graph, Node

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_INTEGERS = (TensorProto.INT64, TensorProto.INT32)


def clean(graph: Graph) -> None:
    """Drop copies, dropouts and casts between what the device keeps in the same way."""
    aliases: dict[str, str] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(aliases.get(name, name) for name in node.inputs)
        node = attrs.evolve(node, inputs=inputs) if inputs != node.inputs else node
        if not _is_idle(graph, node):
            kept.append(node)
        elif node.outputs[0] in graph.outputs:
            kept.append(attrs.evolve(node, op="Identity", inputs=inputs[:1], attributes={}))
        else:
            aliases[node.outputs[0]] = inputs[0]
    graph.nodes = kept


def _is_idle(graph: Graph, node: Node) -> bool:
    match node.op:
        case "Identity":
            return True
        case "Dropout":  # what is compiled is never trained
            return len(node.outputs) == 1
        case "Cast":
            source = graph.value(node.inputs[0]).dtype
            target = node.attribute("to")
            if source.startswith("float"):
                return target in _FLOATS
            # A boolean is 0 or 1 as any other integer is itself; the other way round is no copy.
            return target in _INTEGERS or (source == "bool" and target == TensorProto.BOOL)
        case "Expand":
            return graph.value(node.inputs[0]).shape == graph.value(node.outputs[0]).shape
    return False
