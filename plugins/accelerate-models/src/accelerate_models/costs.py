# SPDX-License-Identifier: Apache-2.0
"""What one run of a graph costs, from its shapes alone: arithmetic, bytes and memory. No I/O.

Products and convolutions count 2 operations for each multiplication they sum up, every other
operator counts 1 for each element it puts out. Nodes that only give a tensor another shape cost
nothing. Nothing is fused and nothing is written in place, so memory is an upper estimate of what
a runtime that frees every tensor after its last use needs besides the weights.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping

import attrs
import onnx
import onnx.inliner

from .facts import block_of, is_parameter, operator_of, size_bytes
from .shapes import Shape, Tensor, shapes_of

#: They hand on the values they are given.
_VIEWS = frozenset(("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"))
#: What they do depends on more than their shapes.
_OPEN = frozenset(("If", "Loop", "Scan", "Einsum", "LSTM", "GRU", "RNN"))
#: Products by the position of the matrix on the left.
_PRODUCTS = {"MatMul": 0, "MatMulInteger": 0, "QLinearMatMul": 0}
#: Convolutions by the position of their weight.
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}


@attrs.frozen(kw_only=True)
class BlockCosts:
    """Hold what the nodes of one block cost in one run."""

    name: str
    flops: int
    moved_bytes: int  #: read and written, weights included, each node for itself


@attrs.frozen(kw_only=True)
class Costs:
    """Hold what one run of a graph costs for inputs of given shapes."""

    flops: int
    moved_bytes: int
    weights_bytes: int
    activations_bytes: int  #: largest sum of tensors alive at once, inputs and outputs included
    blocks: tuple[BlockCosts, ...]  #: in the order in which they are first computed
    operators: Mapping[str, int]  #: operations of each operator
    #: Operators of unknown cost: with any of them, all other numbers are lower bounds.
    uncounted: tuple[str, ...]


def costs_of(model: onnx.ModelProto, inputs: Mapping[str, Shape]) -> Costs:
    """Return what one run costs; `inputs` has the shape of each input. Weights are not needed."""
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    tensors = shapes_of(model, inputs)
    flops: Counter[str] = Counter()
    operators: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    uncounted = set()
    for node in graph.node:
        name = operator_of(node)
        if node.op_type in _VIEWS:
            continue
        parameters = (i for i in node.input if i in weights and is_parameter(weights[i]))
        block = block_of(node, next(parameters, ""))
        known = all(value in tensors for value in (*node.input, *node.output) if value)
        if not known or node.op_type in _OPEN:
            uncounted.add(name)
            continue
        count = _flops(node, tensors)
        flops[block] += count
        operators[name] += count
        moved[block] += _moved_bytes(node, tensors)
    return Costs(
        flops=sum(flops.values()),
        moved_bytes=sum(moved.values()),
        weights_bytes=sum(map(size_bytes, graph.initializer)),
        activations_bytes=_peak_bytes(graph, tensors),
        blocks=tuple(
            BlockCosts(name=name, flops=count, moved_bytes=moved[name])
            for name, count in flops.items()
        ),
        operators=dict(operators),
        uncounted=tuple(sorted(uncounted)),
    )


def _flops(node: onnx.NodeProto, tensors: Mapping[str, Tensor]) -> int:
    elements = sum(tensors[name].elements for name in node.output if name)
    kind = node.op_type
    if kind == "Constant":
        return 0
    if kind in _PRODUCTS:
        return 2 * elements * tensors[node.input[_PRODUCTS[kind]]].shape[-1]
    if kind == "MatMulNBits":
        return 2 * elements * _attribute(node, "K")
    if kind == "Gemm":
        return 2 * elements * tensors[node.input[0]].shape[0 if _attribute(node, "transA") else 1]
    if kind in _CONVOLUTIONS:
        # [filters, channels of a group, ...kernel]: each output sums up all but the first.
        return 2 * elements * math.prod(tensors[node.input[_CONVOLUTIONS[kind]]].shape[1:])
    if kind == "ConvTranspose":
        # [channels, filters of a group, ...kernel]: each input is spread over all but the first.
        first, weight = (tensors[name] for name in node.input[:2])
        return 2 * first.elements * math.prod(weight.shape[1:])
    return elements


def _moved_bytes(node: onnx.NodeProto, tensors: Mapping[str, Tensor]) -> int:
    written = sum(tensors[name].size_bytes for name in node.output if name)
    read = [tensors[name].size_bytes for name in node.input if name]
    if node.op_type == "Gather":
        read[0] = written  # of a table, only the rows that are asked for
    return written + sum(read)


def _peak_bytes(graph: onnx.GraphProto, tensors: Mapping[str, Tensor]) -> int:
    """Return the largest sum of tensors alive at once, in the order of the nodes."""
    owner: dict[str, str] = {}  # of a view: the tensor whose memory it shows
    last_use: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        if node.op_type in _VIEWS:
            owner[node.output[0]] = owner.get(node.input[0], node.input[0])
        for name in _used(node):
            last_use[owner.get(name, name)] = index
    for value in (*graph.input, *graph.output):
        last_use[owner.get(value.name, value.name)] = len(graph.node)

    weights = {tensor.name for tensor in graph.initializer}
    alive = {value.name for value in graph.input} - weights
    size = sum(tensors[name].size_bytes for name in alive if name in tensors)
    peak = size
    ending: dict[int, list[str]] = {}
    for name, index in last_use.items():
        ending.setdefault(index, []).append(name)
    for index, node in enumerate(graph.node):
        made = {name for name in node.output if name in tensors and name not in owner}
        alive |= made
        size += sum(tensors[name].size_bytes for name in made)
        peak = max(peak, size)
        unused = (name for name in made if name not in last_use)
        for name in (*ending.get(index, ()), *unused):
            if name in alive:
                alive.remove(name)
                size -= tensors[name].size_bytes
    return peak


def _used(node: onnx.NodeProto) -> Iterator[str]:
    """Yield what a node reads, its subgraphs included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            for inner in graph.node:
                yield from _used(inner)


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((int(one.i) for one in node.attribute if one.name == name), 0)
