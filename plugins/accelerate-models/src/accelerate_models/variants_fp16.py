# SPDX-License-Identifier: Apache-2.0
"""fp16 graphs by ONNX Runtime's converter; graphs built here have a builder that does it itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper, numpy_helper

from accelerate_core.errors import ModelError

from .variants import Weights, is_large

if TYPE_CHECKING:
    from accelerate_core.types import Array


def rewrite(model: onnx.ModelProto, weights: Weights, where: str) -> Iterator[tuple[str, Array]]:
    """Compute in float16 between float32 inputs and outputs; yield every large weight.

    What float16 cannot hold becomes its largest value, as the converter does with constants: such
    values are those of masks. ModelError when the converter fails.
    """
    from onnxruntime.transformers.float16 import (  # type: ignore[import-untyped]
        convert_float_to_float16,
        convert_np_to_float16,
    )

    graph = model.graph
    kept = [value.name for value in (*graph.input, *graph.output)]
    large = {tensor.name: tensor for tensor in graph.initializer if is_large(tensor)}
    small = [
        numpy_helper.from_array(weights.read(tensor), tensor.name)
        for tensor in graph.initializer
        if tensor.name not in large
    ]
    del graph.initializer[:]
    graph.initializer.extend(small)
    # The converter holds every weight; an input tells it all that it needs to know of one.
    for tensor in large.values():
        graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    try:
        converted = convert_float_to_float16(model, keep_io_types=kept)
    except Exception as error:  # onnx's shape inference and the converter share no base class
        raise ModelError(
            f"ONNX Runtime's converter makes no fp16 of this graph: "
            f"{str(error) or type(error).__name__}",
            where=where,
            accepted=("fp32", "int8", "int4", "int3", "int2"),
        ) from error
    model.CopyFrom(converted)
    graph = model.graph
    for value in [value for value in graph.input if value.name in large]:
        graph.input.remove(value)
    del graph.value_info[:]
    _drop_twins(graph)
    _sort(graph)
    for name, tensor in large.items():
        values = weights.read(tensor)
        is_float = tensor.data_type == TensorProto.FLOAT
        yield name, convert_np_to_float16(values) if is_float else values


def _drop_twins(graph: onnx.GraphProto) -> None:
    """Keep one cast of a value: the converter adds one for each operator that needs it."""
    seen: set[str] = set()
    for node in list(graph.node):
        if node.op_type == "Cast" and node.output[0] in seen:
            graph.node.remove(node)
        seen.update(node.output)


def _sort(graph: onnx.GraphProto) -> None:
    """Let each node follow what it reads: the converter appends its casts at the end."""
    makers = {name: node for node in graph.node for name in node.output}
    ranks: dict[str, int] = {}

    def visit(node: onnx.NodeProto) -> None:
        for name in _reads(node):
            if name in makers and makers[name].output[0] not in ranks:
                visit(makers[name])
        ranks.setdefault(node.output[0], len(ranks))

    for node in graph.node:
        visit(node)
    graph.node.sort(key=lambda node: ranks[node.output[0]])


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    yield from node.input
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            for inner in graph.node:
                yield from _reads(inner)
