# SPDX-License-Identifier: Apache-2.0
"""What a graph says of itself: inputs, outputs, operators, parameters and blocks. No I/O."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import onnx

from accelerate_core.types import Asset, TensorSpec

from .graph import BLOCK_KEY, CONSTANT_PREFIX
from .state import state_of

#: "encoder.layer.3" in "encoder.layer.3.output.dense.weight" or "/encoder/layer.3/output/Add".
_NUMBERED = re.compile(r"[A-Za-z_][\w.]*?\.\d+(?=[./]|$)")
_UNNAMED = "other"
#: By name: older versions of onnx lack some of them.
_PACKED_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}


@attrs.frozen(kw_only=True)
class Facts:
    """Hold what can be read from a graph without its weights."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: tuple[str, ...]
    parameters: int
    #: Opset, blocks with their parameters and bytes, and which outputs feed which inputs.
    metadata: dict[str, Any]


def facts_of(model: onnx.ModelProto, where: str = "the graph") -> Facts:
    """Read a graph; external data is not needed. ModelError for metadata that cannot be."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    blocks: dict[str, dict[str, Any]] = {}
    for name, block in _blocks_of_weights(graph, weights).items():
        row = blocks.setdefault(block, {"name": block, "parameters": 0, "size_bytes": 0})
        row["parameters"] += _count(weights[name])
        row["size_bytes"] += size_bytes(weights[name])
    return Facts(
        inputs=tuple(_spec(value) for value in graph.input if value.name not in weights),
        outputs=tuple(_spec(value) for value in graph.output),
        operators=tuple(sorted({operator_of(node) for node in all_nodes(model)})),
        parameters=sum(row["parameters"] for row in blocks.values()),
        metadata={
            "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
            "producer": model.producer_name or None,
            "blocks": list(blocks.values()),
            **({"state": state} if (state := state_of(model, where)) else {}),
        },
    )


def identity_of(assets: Sequence[Asset]) -> str:
    """Return the hash over all assets of a graph: names too, because the graph refers to them."""
    text = "\n".join(f"{asset.sha256} {asset.name}" for asset in assets)
    return hashlib.sha256(text.encode()).hexdigest()


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a model, those of functions and subgraphs included."""
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        for node in nodes:
            yield node
            for graph in _subgraphs(node):
                yield from graph.node


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield initializers and constants, those of functions and subgraphs included."""
    yield from model.graph.initializer
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        for node in nodes:
            for graph in _subgraphs(node):
                yield from graph.initializer
    for node in all_nodes(model):
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            yield graph
            for inner in graph.node:
                yield from _subgraphs(inner)


def operator_of(node: onnx.NodeProto) -> str:
    """Return an operator's name, with its domain where that is not the standard's."""
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    # Some exporters write -1 for a free dimension.
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    shape = tuple(
        int(size.dim_value) if size.dim_value > 0 else str(size.dim_param or "?")
        for size in tensor.shape.dim
    )
    return TensorSpec(value.name, "str" if dtype == "object" else dtype, shape)


def _count(tensor: onnx.TensorProto) -> int:
    count: int = math.prod(tensor.dims)
    return count


def size_bytes(tensor: onnx.TensorProto) -> int:
    """Return the bytes an initializer's values take, wherever they are stored."""
    if bits := _PACKED_BITS.get(onnx.TensorProto.DataType.Name(tensor.data_type)):
        return (_count(tensor) * bits + 7) // 8
    return _count(tensor) * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def is_parameter(tensor: onnx.TensorProto) -> bool:
    """Shapes, axes, scalars and tables that no training made are no parameters."""
    kind = onnx.TensorProto
    if tensor.data_type in (kind.INT64, kind.INT32, kind.BOOL, kind.STRING):
        return False
    return len(tensor.dims) > 0 and not tensor.name.startswith(CONSTANT_PREFIX)


def _blocks_of_weights(
    graph: onnx.GraphProto, weights: dict[str, onnx.TensorProto]
) -> dict[str, str]:
    """Map each parameter to the block of the first node that uses it."""
    blocks: dict[str, str] = {}
    for node in graph.node:
        for name in node.input:
            if name in weights and name not in blocks and is_parameter(weights[name]):
                blocks[name] = block_of(node, name)
    return blocks


def block_of(node: onnx.NodeProto, weight: str = "") -> str:
    """Return the block a node says it belongs to, or the one its weight's or own name tells."""
    for entry in node.metadata_props:
        if entry.key == BLOCK_KEY:
            return str(entry.value)
    for text in (weight, node.name.strip("/").replace("/", ".")):
        if match := _NUMBERED.match(text):
            return match[0]
    head, separator, _ = weight.partition(".")
    return head if separator else _UNNAMED
