# SPDX-License-Identifier: Apache-2.0
"""The shape of every tensor in a graph, once those of its inputs are given. No I/O.

onnx infers what one node puts out. In between, what is computed of shapes (bounds of slices, sizes
of reshapes) is worked out as soon as all it depends on is known: onnx does so for a few operators
only, and without it nothing would be known behind the first of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import attrs
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from accelerate_core.types import Array

Shape: TypeAlias = tuple[int, ...]

#: More values than any shape has: they are data.
_LONGEST_SHAPE = 64

#: Operators whose outputs are like their first input, and which onnx cannot tell so: those of ONNX
#: Runtime, and one that is defined as a function.
_LIKE_FIRST = frozenset(
    (
        "BiasGelu",
        "FastGelu",
        "Gelu",
        "GroupNormalization",
        "QuickGelu",
        "SimplifiedLayerNormalization",
        "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization",
    )
)


@attrs.frozen
class Tensor:
    """Describe a tensor of known shape."""

    shape: Shape
    kind: int  #: as in `onnx.TensorProto.DataType`

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of all elements."""
        return self.elements * int(helper.tensor_dtype_to_np_dtype(self.kind).itemsize)


def shapes_of(model: onnx.ModelProto, inputs: Mapping[str, Shape]) -> dict[str, Tensor]:
    """Return each tensor whose shape follows from those of the inputs; weights are not needed.

    Functions of the model are not looked into: inline them first.
    """
    known = _Known(model)
    for tensor in model.graph.initializer:
        known.tensors[tensor.name] = Tensor(tuple(tensor.dims), tensor.data_type)
        if tensor.data_location != TensorProto.EXTERNAL and math.prod(tensor.dims) <= (
            _LONGEST_SHAPE
        ):
            known.values[tensor.name] = numpy_helper.to_array(tensor)
    for value in model.graph.input:
        if value.name in inputs:
            kind = value.type.tensor_type.elem_type
            known.tensors[value.name] = Tensor(tuple(inputs[value.name]), kind)
    for node in model.graph.node:
        if all(name in known.tensors for name in node.input if name):
            known.add_outputs(node)
    return known.tensors


class _Known:
    """Collect what is known, a node at a time."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.values: dict[str, Array] = {}  #: small ones that are the same for every input
        self._opsets = list(model.opset_import)

    def add_outputs(self, node: onnx.NodeProto) -> None:
        """Note shapes, and values where they can be known."""
        if node.op_type == "MatMulNBits":
            left = self.tensors[node.input[0]]
            columns = next(one.i for one in node.attribute if one.name == "N")
            self.tensors[node.output[0]] = Tensor((*left.shape[:-1], columns), left.kind)
            return
        version = {one.domain: one.version for one in self._opsets}.get(node.domain)
        if node.op_type in _LIKE_FIRST:
            # Statistics, where a norm puts them out, have another shape; nobody reads those.
            for name in (node.output[0], *node.output[3:]):
                self.tensors[name] = self.tensors[node.input[0]]
            return
        if version is None or not onnx.defs.has(node.op_type, version, node.domain):
            return
        for name, tensor in self._infer(node, version).items():
            self.tensors[name] = tensor
        small = all(
            name in self.tensors and self.tensors[name].elements <= _LONGEST_SHAPE
            for name in node.output
            if name
        )
        if small:
            self.values.update(self._compute(node))

    def _infer(self, node: onnx.NodeProto, version: int) -> dict[str, Tensor]:
        names = [name for name in node.input if name]
        types = {
            name: helper.make_tensor_type_proto(self.tensors[name].kind, self.tensors[name].shape)
            for name in names
        }
        values = {
            name: numpy_helper.from_array(self.values[name], name)
            for name in names
            if name in self.values
        }
        try:
            found = onnx.shape_inference.infer_node_outputs(
                onnx.defs.get_schema(node.op_type, version, node.domain),
                node,
                types,
                values,
                opset_imports=self._opsets,
            )
        except onnx.shape_inference.InferenceError:
            return {}  # the node does not fit its inputs, or more than shapes decides
        return {name: tensor for name, kind in found.items() if (tensor := _tensor(kind))}

    def _compute(self, node: onnx.NodeProto) -> dict[str, Array]:
        if node.op_type == "Shape":
            bounds = {one.name: one.i for one in node.attribute}
            shape = self.tensors[node.input[0]].shape[bounds.get("start") : bounds.get("end")]
            return {node.output[0]: np.array(shape, np.int64)}
        if not all(name in self.values for name in node.input if name):
            return {}
        if node.op_type.startswith("Random"):
            return {}
        from onnx.reference import ReferenceEvaluator

        inputs = [name for name in node.input if name]
        outputs = [name for name in node.output if name]
        step = helper.make_function("step", "step", inputs, outputs, [node], self._opsets)
        values = {name: self.values[name] for name in inputs}
        try:
            made = ReferenceEvaluator(step).run(None, values, attributes={})
        except Exception:  # an operator the reference lacks: its errors share no base class
            return {}
        return {name: np.asarray(value) for name, value in zip(outputs, made, strict=True)}


def _tensor(kind: onnx.TypeProto) -> Tensor | None:
    """Return a type as a tensor; None where a size is not known, or for no tensor."""
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    dimensions = kind.tensor_type.shape.dim
    if not all(one.HasField("dim_value") and one.dim_value >= 0 for one in dimensions):
        return None
    return Tensor(tuple(one.dim_value for one in dimensions), kind.tensor_type.elem_type)
