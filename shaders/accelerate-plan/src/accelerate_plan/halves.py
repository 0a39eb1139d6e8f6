# SPDX-License-Identifier: Apache-2.0
"""Models in float16 as models that compute in float32, their matrices as they are. No I/O.

The device computes in float32 whatever weights are stored in. And ONNX Runtime, which knows few
operators in float16 on a CPU, would write the others out: a softmax as five nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from accelerate_core.types import Array

_HALF, _FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def widen(model: onnx.ModelProto, read: Callable[[onnx.TensorProto], Array]) -> dict[str, Array]:
    """Make a model compute in float32; return its float16 matrices, which become inputs of it.

    `read` returns an initializer's values. What is no matrix is small, and is converted.
    """
    graph = model.graph
    matrices: dict[str, Array] = {}
    kept = []
    for tensor in graph.initializer:
        if tensor.data_type == _HALF and len(tensor.dims) >= 2:
            matrices[tensor.name] = read(tensor)
            kind = helper.make_tensor_value_info(tensor.name, _FLOAT, tensor.dims)
            graph.input.append(kind)
        else:
            kept.append(_wide(tensor, read) if tensor.data_type == _HALF else tensor)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == _HALF:
            value.type.tensor_type.elem_type = _FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == _HALF:
                attribute.t.CopyFrom(_wide(attribute.t, numpy_helper.to_array))
            elif attribute.name in ("to", "dtype") and attribute.i == _HALF:
                attribute.i = _FLOAT
    return matrices


def names_of_halves(model: onnx.ModelProto) -> set[str]:
    """Return the names of a model's float16 weights."""
    return {one.name for one in model.graph.initializer if one.data_type == _HALF}


def has_halves(model: onnx.ModelProto) -> bool:
    """Whether a model computes in float16 anywhere."""
    graph = model.graph
    return (
        bool(names_of_halves(model))
        or any(one.type.tensor_type.elem_type == _HALF for one in graph.input)
        or any(one.name == "to" and one.i == _HALF for node in graph.node for one in node.attribute)
    )


def _wide(tensor: onnx.TensorProto, read: Callable[[onnx.TensorProto], Array]) -> onnx.TensorProto:
    return numpy_helper.from_array(read(tensor).astype(np.float32), tensor.name)
