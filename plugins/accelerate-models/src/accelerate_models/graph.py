# SPDX-License-Identifier: Apache-2.0
"""Assembling an ONNX graph whose weights stay in their checkpoint until they are streamed out."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NewType

import attrs
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from accelerate_core.assets import AssetWriter

from .checkpoint import Checkpoint, StoredTensor

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: A value in a graph: its name.
Value = NewType("Value", str)

#: LayerNormalization came with 17. Everything later that these graphs could use (Gelu in 20) is
#: known to fewer execution providers, and ONNX Runtime fuses the plain form anyway.
OPSET = 17
IR_VERSION = 8
#: Metadata key of a node: the block it belongs to, e.g. "encoder.layer.3".
BLOCK_KEY = "accelerate.block"
#: What the names of numbers start with that are in no checkpoint.
CONSTANT_PREFIX = "constant/"
GRAPH_NAME = "model.onnx"
DATA_NAME = "model.onnx.data"
_ALIGNMENT_BYTES = 64
_STRIP = 128
_LONGEST_NAME = 80


@attrs.frozen
class Weight:
    """Place one weight, made from tensors of a checkpoint, in the file of weights."""

    tensors: tuple[StoredTensor, ...]
    compute: Callable[..., Array] | None  #: makes the weight of them; None: the one as it is
    shape: tuple[int, ...]
    offset: int
    size_bytes: int  #: 0 for a single value, which is in the graph


class GraphBuilder:
    """Add nodes, weights and constants under nested names.

    Weights are laid out as they are asked for and written by `write_weights`, so no more than one
    of them is in memory.
    """

    def __init__(self, checkpoint: Checkpoint, precision: str) -> None:
        #: What the graph computes in: "float32" or "float16".
        self.dtype = "float16" if precision == "fp16" else "float32"
        self.onnx_dtype = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.FLOAT
        self._checkpoint = checkpoint
        self._graph = onnx.GraphProto(name="model")
        self._weights: dict[str, Weight] = {}
        self._initializers: set[str] = set()
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

    def input(
        self,
        name: str,
        shape: Sequence[int | str] = ("batch", "sequence"),
        dtype: str = "int64",
    ) -> Value:
        """Add an input; a float32 one is turned into what the graph computes in."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._graph.input.append(helper.make_tensor_value_info(name, kind, shape))
        return self.cast(Value(name), self.dtype) if dtype == "float32" else Value(name)

    def output(self, value: Value, name: str, shape: Sequence[int | str]) -> None:
        """Make a value an output: float32, whatever the graph computes in."""
        is_float32 = self.onnx_dtype == TensorProto.FLOAT
        self._graph.node.append(
            helper.make_node("Identity", [value], [name], name=name)
            if is_float32
            else helper.make_node("Cast", [value], [name], name=name, to=TensorProto.FLOAT)
        )
        self._graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def cast(self, value: Value, dtype: str) -> Value:
        """Return a float value in "float32" or "float16"; the value itself in a float32 graph."""
        if self.dtype == "float32":
            return value
        return self.op("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def op(self, op_type: str, *inputs: Value, **attributes: Any) -> Value:
        """Add a node with one output and return that output."""
        name = self._unique("/".join([*self._scopes, op_type]))
        node = helper.make_node(op_type, inputs, [f"{name}:0"], name=name, **attributes)
        if self._block:
            node.metadata_props.add(key=BLOCK_KEY, value=self._block)
        self._graph.node.append(node)
        return Value(node.output[0])

    def has_weight(self, name: str) -> bool:
        """Whether the checkpoint has a tensor of that name."""
        return self._checkpoint.has(name)

    def weight(self, name: str, shape: tuple[int, ...], *, transpose: bool = False) -> Value:
        """Return a tensor of the checkpoint; `shape` is the one it must have there.

        A tensor is stored once: asked for both ways, the second one is transposed in the graph,
        where ONNX Runtime folds the transposition into the product.
        """
        if name not in self._weights:
            tensors = (self._checkpoint.tensor(name, shape),)
            if transpose:
                self._place(name, tensors, np.transpose, shape[::-1])
            else:
                self._place(name, tensors, None, shape)
        is_transposed = self._weights[name].compute is np.transpose
        return Value(name) if transpose == is_transposed else self.op("Transpose", Value(name))

    def computed(
        self,
        name: str,
        parts: Mapping[str, tuple[int, ...]],
        compute: Callable[..., Array],
        shape: tuple[int, ...],
    ) -> Value:
        """Return a weight made from tensors of the checkpoint when the weights are written.

        `parts` maps their names to their shapes; `compute` gets them as float32 in that order and
        returns an array of `shape`.
        """
        if name not in self._weights:
            tensors = [self._checkpoint.tensor(part, size) for part, size in parts.items()]
            self._place(name, tensors, compute, shape)
        return Value(name)

    def _place(
        self,
        name: str,
        tensors: Sequence[StoredTensor],
        compute: Callable[..., Array] | None,
        shape: tuple[int, ...],
    ) -> None:
        if math.prod(shape) == 1:
            # onnxruntime-web cannot read a factor outside the graph where it fuses it with MatMul.
            weight = self._weights[name] = Weight(tuple(tensors), compute, shape, self._end, 0)
            values = self._values(weight).reshape(shape)
            self._graph.initializer.append(numpy_helper.from_array(values, name))
            return
        offset = -(-self._end // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        size_bytes = math.prod(shape) * np.dtype(self.dtype).itemsize
        self._weights[name] = Weight(tuple(tensors), compute, shape, offset, size_bytes)
        self._end = offset + size_bytes
        entry = self._graph.initializer.add(
            name=name, data_type=self.onnx_dtype, dims=shape, data_location=TensorProto.EXTERNAL
        )
        for key, value in (("location", DATA_NAME), ("offset", offset), ("length", size_bytes)):
            entry.external_data.add(key=key, value=str(value))

    def constant(self, values: Array) -> Value:
        """Return a small constant, shared by all that ask for the same one."""
        parts = [values.dtype.name, *map(str, values.shape), *map(str, values.flatten().tolist())]
        text = "_".join(parts)
        if len(text) > _LONGEST_NAME:
            text = f"{values.dtype.name}_{hashlib.sha256(text.encode()).hexdigest()}"
        name = CONSTANT_PREFIX + text
        if name not in self._initializers:
            self._initializers.add(name)
            self._graph.initializer.append(numpy_helper.from_array(values, name))
        return Value(name)

    def integers(self, *values: int) -> Value:
        """Return an int64 constant [n]."""
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> Value:
        """Return a scalar of the dtype the graph computes in."""
        return self.constant(np.array(value, self.dtype))

    def model(self) -> onnx.ModelProto:
        """Return the finished graph; its weights are external data named `DATA_NAME`."""
        return helper.make_model(
            self._graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="accelerate-models",
        )

    def write_weights(self, writer: AssetWriter) -> None:
        """Stream all weights in their order, converted and transposed one at a time."""
        end = 0
        for weight in self._weights.values():
            if not weight.size_bytes:
                continue
            writer.write(b"\0" * (weight.offset - end))
            writer.write(self._values(weight).reshape(-1).view(np.uint8).data)
            end = weight.offset + weight.size_bytes

    def _values(self, weight: Weight) -> Array:
        # Arithmetic is done in float32; what only moves is never wider than it has to be.
        moves = weight.compute in (None, np.transpose)
        values = [tensor.read(self.dtype if moves else "float32") for tensor in weight.tensors]
        made = weight.compute(*values) if weight.compute else values[0]
        assert made.shape == weight.shape, f"{made.shape} was promised as {weight.shape}"
        return _in_order(made, self.dtype)

    def _unique(self, name: str) -> str:
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return f"{name}_{count}" if count else name


def _in_order(values: Array, dtype: str) -> Array:
    """Return values as they lie in the file; a transposed matrix is copied a strip at a time.

    In strips, every line of the cache that is read is used: three times as fast as numpy's copy.
    """
    if values.ndim != 2 or values.flags.c_contiguous:
        return np.ascontiguousarray(values, dtype)
    made = np.empty(values.shape, dtype)
    for start in range(0, values.shape[1], _STRIP):
        made[:, start : start + _STRIP] = values[:, start : start + _STRIP]
    return made
