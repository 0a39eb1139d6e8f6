# SPDX-License-Identifier: Apache-2.0
"""8-bit weights: ONNX Runtime's `MatMulNBits`, in groups of 32 with a scale each.

Only weights of matrix products are stored in 8 bits; the arithmetic stays float32. Dynamic
quantization (`MatMulInteger`) was measured beside it on a small BERT: it errs 20 to 70 times as
much, and WebNN takes it for unsigned weights only. `MatMulNBits` ran on native CPU, WASM, WebGPU
and WebNN alike.

ONNX Runtime's `MatMulNBitsQuantizer` holds the whole model twice and imports onnx-ir, which takes
seconds; this calls the same kernel for one weight at a time. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from accelerate_core.errors import ModelError

from .facts import all_nodes
from .variants import Weights, is_large

if TYPE_CHECKING:
    from accelerate_core.types import Array

BITS = 8
GROUP = 32
_DOMAIN = "com.microsoft"


def rewrite(model: onnx.ModelProto, weights: Weights, where: str) -> Iterator[tuple[str, Array]]:
    """Turn products with constant matrices into `MatMulNBits`; yield every weight of the graph.

    ModelError when there is no such product.
    """
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    quantized = dict.fromkeys(
        node.input[1] for node in graph.node if _has_constant_matrix(node, tensors)
    )
    if not quantized:
        raise ModelError(
            "8-bit variants store the weights of matrix products, and this graph has none",
            where=where,
            accepted=("fp32", "fp16"),
        )
    for node in graph.node:
        if _has_constant_matrix(node, tensors):
            _use_quantized(node, *tensors[node.input[1]].dims)
    if _DOMAIN not in {entry.domain for entry in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    # A matrix that is also looked up in (tied embeddings) stays beside its 8-bit form.
    used = {name for node in all_nodes(model) for name in node.input}
    used |= {value.name for value in graph.output}
    del graph.initializer[:]
    for name, tensor in tensors.items():
        if name in quantized:
            packed, scales = quantize(weights.read(tensor))
            yield f"{name}_Q{BITS}", packed
            yield f"{name}_scales", scales
        if name in used and is_large(tensor):
            yield name, weights.read(tensor)
        elif name in used:
            graph.initializer.append(numpy_helper.from_array(weights.read(tensor), name))


def quantize(matrix: Array) -> tuple[Array, Array]:
    """Return a float32 matrix [K, N] as uint8 [N, groups, 32] around 128, and scales [N * groups].

    The last group is padded with zeros.
    """
    from onnxruntime.capi._pybind_state import (  # type: ignore[import-untyped]
        quantize_matmul_8bits,
    )

    rows, columns = matrix.shape
    groups = -(-rows // GROUP)
    padding = groups * GROUP - rows
    padded = np.pad(matrix, ((0, padding), (0, 0))) if padding else matrix
    packed = np.zeros((columns, groups, GROUP), np.uint8)
    scales = np.zeros((columns, groups), np.float32)
    zero_points = np.zeros((columns, groups), np.uint8)
    quantize_matmul_8bits(packed, padded, scales, zero_points, GROUP, columns, rows, True)
    return packed, scales


def _has_constant_matrix(node: onnx.NodeProto, tensors: dict[str, TensorProto]) -> bool:
    if node.op_type != "MatMul" or node.domain not in ("", "ai.onnx"):
        return False
    tensor = tensors.get(node.input[1])
    return tensor is not None and tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2


def _use_quantized(node: onnx.NodeProto, rows: int, columns: int) -> None:
    weight = node.input[1]
    node.op_type, node.domain = "MatMulNBits", _DOMAIN
    node.input[:] = [node.input[0], f"{weight}_Q{BITS}", f"{weight}_scales"]
    for key, value in (("K", rows), ("N", columns), ("bits", BITS), ("block_size", GROUP)):
        node.attribute.append(helper.make_attribute(key, value))
