# SPDX-License-Identifier: Apache-2.0
"""Assembling an ONNX graph whose weights stay in their checkpoint until they are streamed out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import onnx_ir as ir

from accelerate_core.assets import AssetWriter

from .checkpoint import Checkpoint, StoredTensor

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: LayerNormalization came with 17. Everything later that these graphs could use (Gelu in 20) is
#: known to fewer execution providers, and ONNX Runtime fuses the plain form anyway.
OPSET = 17
IR_VERSION = 8
#: Metadata key of a node: the block it belongs to, e.g. "encoder.layer.3".
BLOCK_KEY = "accelerate.block"
DATA_NAME = "model.onnx.data"
_ALIGNMENT_BYTES = 64


@attrs.frozen
class Weight:
    """Place one tensor of a checkpoint in the file of weights."""

    tensor: StoredTensor
    is_transposed: bool
    offset: int
    size_bytes: int


class GraphBuilder:
    """Add nodes, weights and constants under nested names.

    Weights are laid out as they are asked for and written by `write_weights`, so no more than one
    of them is in memory.
    """

    def __init__(self, checkpoint: Checkpoint, precision: str) -> None:
        self.dtype = ir.DataType.FLOAT16 if precision == "fp16" else ir.DataType.FLOAT
        self._checkpoint = checkpoint
        self._nodes: list[ir.Node] = []
        self._inputs: list[ir.Value] = []
        self._outputs: list[ir.Value] = []
        self._weights: dict[str, Weight] = {}
        self._initializers: dict[str, ir.Value] = {}
        self._scopes: list[str] = []
        self._block = ""
        self._names: dict[str, int] = {}
        self._end = 0

    @contextlib.contextmanager
    def block(self, name: str) -> Iterator[None]:
        """Name a block: the unit later work cuts, quantizes and measures by."""
        before, self._block = self._block, name
        with self.scope(name):
            yield
        self._block = before

    @contextlib.contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the names of the nodes inside."""
        self._scopes.append(name)
        yield
        self._scopes.pop()

    def input(self, name: str) -> ir.Value:
        """Add an int64 input [batch, sequence]."""
        value = ir.val(name, ir.DataType.INT64, ["batch", "sequence"])
        self._inputs.append(value)
        return value

    def output(self, value: ir.Value, name: str, shape: Sequence[int | str]) -> None:
        """Make a value an output: float32, whatever the graph computes in."""
        is_float32 = self.dtype == ir.DataType.FLOAT
        result = value if is_float32 else self.op("Cast", value, to=ir.DataType.FLOAT)
        result.name = name
        result.shape = ir.Shape(shape)
        result.dtype = ir.DataType.FLOAT
        self._outputs.append(result)

    def op(self, op_type: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        """Add a node with one output and return that output."""
        name = self._unique("/".join([*self._scopes, op_type]))
        node = ir.node(
            op_type,
            inputs,
            attributes,
            name=name,
            outputs=[ir.Value(name=f"{name}:0")],
            metadata_props={BLOCK_KEY: self._block} if self._block else None,
        )
        self._nodes.append(node)
        return node.outputs[0]

    def weight(self, name: str, shape: tuple[int, ...], *, transpose: bool = False) -> ir.Value:
        """Return a tensor of the checkpoint; `shape` is the one it must have there."""
        if name in self._initializers:
            return self._initializers[name]
        tensor = self._checkpoint.tensor(name, shape)
        offset = -(-self._end // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        size_bytes = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        self._weights[name] = Weight(tensor, transpose, offset, int(size_bytes))
        self._end = offset + int(size_bytes)
        graph_shape = ir.Shape(shape[::-1] if transpose else shape)
        external = ir.ExternalTensor(
            DATA_NAME, offset, int(size_bytes), self.dtype, shape=graph_shape, name=name
        )
        return self._add_initializer(name, external, graph_shape)

    def constant(self, values: Array) -> ir.Value:
        """Return a small constant, shared by all that ask for the same one."""
        dims = "x".join(map(str, values.shape)) or "scalar"
        text = "_".join(f"{value:g}" for value in values.flatten().tolist())
        name = f"constant_{values.dtype}_{dims}_{text}"
        if name in self._initializers:
            return self._initializers[name]
        tensor = ir.tensor(values, name=name)
        return self._add_initializer(name, tensor, ir.Shape(values.shape))

    def integers(self, *values: int) -> ir.Value:
        """Return an int64 constant [n]."""
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> ir.Value:
        """Return a scalar of the dtype the graph computes in."""
        return self.constant(np.array(value, self.dtype.numpy()))

    def model(self) -> ir.Model:
        """Return the finished graph; its weights are external data named `DATA_NAME`."""
        graph = ir.Graph(
            self._inputs,
            self._outputs,
            nodes=self._nodes,
            initializers=list(self._initializers.values()),
            opset_imports={"": OPSET},
            name="model",
        )
        return ir.Model(graph, ir_version=IR_VERSION, producer_name="accelerate-models")

    def write_weights(self, writer: AssetWriter) -> None:
        """Stream all weights in their order, converted and transposed one at a time."""
        end = 0
        numpy_dtype = self.dtype.numpy()
        for weight in self._weights.values():
            writer.write(b"\0" * (weight.offset - end))
            values = weight.tensor.read(numpy_dtype.name)
            values = np.ascontiguousarray(values.T if weight.is_transposed else values)
            writer.write(memoryview(values).cast("B") if values.size else b"")
            end = weight.offset + weight.size_bytes

    def _add_initializer(self, name: str, tensor: ir.TensorProtocol, shape: ir.Shape) -> ir.Value:
        value = ir.val(name, tensor.dtype, shape, const_value=tensor)
        self._initializers[name] = value
        return value

    def _unique(self, name: str) -> str:
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return f"{name}_{count}" if count else name
