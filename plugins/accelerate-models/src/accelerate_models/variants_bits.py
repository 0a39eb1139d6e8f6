# SPDX-License-Identifier: Apache-2.0
"""Weights of 8, 4, 3 and 2 bits: `MatMulNBits`, in groups of rows with a scale each.

Only weights of matrix products are stored in few bits; the arithmetic stays float32. Dynamic
quantization (`MatMulInteger`) was measured beside it on a small BERT: it errs 20 to 70 times as
much, and WebNN takes it for unsigned weights only. `MatMulNBits` of 8 bits ran on native CPU, WASM,
WebGPU and WebNN alike. ONNX Runtime has no 3 bits.

ONNX Runtime's `MatMulNBitsQuantizer` holds the whole model twice and imports onnx-ir, which takes
seconds; for 8 bits this calls the same kernel for one weight at a time. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from accelerate_core.errors import ModelError

from .facts import all_nodes
from .quantized import Packed, pack, round_to_nearest
from .variants import Weights, is_large

if TYPE_CHECKING:
    from accelerate_core.types import Array

    #: Packs a matrix [K, N] given with its name; None leaves it as it is.
    Quantize: TypeAlias = Callable[[str, Array], Packed | None]

GROUP = 32
_DOMAIN = "com.microsoft"
_OWN = ("", "ai.onnx")  #: the domain of ONNX itself


def rewrite(
    model: onnx.ModelProto, weights: Weights, where: str, quantize: Quantize
) -> Iterator[tuple[str, Array]]:
    """Turn products with constant matrices into `MatMulNBits`; yield every weight of the graph.

    ModelError when there is no such product.
    """
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    names = matrices(graph)
    if not names:
        raise ModelError(
            "variants in few bits store the weights of matrix products, and this graph has none",
            where=where,
            accepted=("fp32", "fp16"),
        )
    for name in names:
        matrix = weights.read(tensors[name])
        packed = quantize(name, matrix)
        if packed is not None:
            yield from _constants(name, packed).items()
            _use(graph, name, packed, *matrix.shape)
        del matrix
    # A matrix that is also looked up in (tied embeddings) stays beside its quantized form.
    used = {name for node in all_nodes(model) for name in node.input}
    used |= {value.name for value in graph.output}
    del graph.initializer[:]
    for name, tensor in tensors.items():
        if name in used and is_large(tensor):
            yield name, weights.read(tensor)
        elif name in used:
            graph.initializer.append(numpy_helper.from_array(weights.read(tensor), name))
    if _DOMAIN not in {entry.domain for entry in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))


def matrices(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Return the names of the float32 matrices that are right factors of products, in order."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    return tuple(dict.fromkeys(node.input[1] for node in graph.node if _has_matrix(node, tensors)))


def to_nearest(bits: int) -> Quantize:
    """Return what rounds a matrix to codes of so many bits, in groups of 32 rows."""

    def quantize(_name: str, matrix: Array) -> Packed:
        return _eight_bits(matrix) if bits == 8 else pack(round_to_nearest(matrix, bits, GROUP))

    return quantize


def _eight_bits(matrix: Array) -> Packed:
    """Return a matrix around 128, as ONNX Runtime's tool has it; the last group has zeros added."""
    from onnxruntime.capi._pybind_state import (  # type: ignore[import-untyped]
        quantize_matmul_8bits,
    )

    rows, columns = matrix.shape
    groups = -(-rows // GROUP)
    padding = groups * GROUP - rows
    padded = np.pad(matrix, ((0, padding), (0, 0))) if padding else matrix
    values = np.zeros((columns, groups, GROUP), np.uint8)
    scales = np.zeros((columns, groups), np.float32)
    zeros = np.zeros((columns, groups), np.uint8)
    quantize_matmul_8bits(values, padded, scales, zeros, GROUP, columns, rows, True)
    return Packed(values, scales, None, 8, GROUP)


def _has_matrix(node: onnx.NodeProto, tensors: Mapping[str, TensorProto]) -> bool:
    if node.op_type != "MatMul" or node.domain not in _OWN:
        return False
    tensor = tensors.get(node.input[1])
    return tensor is not None and tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2


def _constants(name: str, packed: Packed) -> dict[str, Array]:
    """Return the constants that take a matrix' place, in the order of the node's inputs."""
    made = {f"{name}_Q{packed.bits}": packed.values, f"{name}_scales": packed.scales}
    if packed.zeros is not None:
        made[f"{name}_zeros"] = packed.zeros
    return made


def _use(graph: onnx.GraphProto, name: str, packed: Packed, rows: int, columns: int) -> None:
    attributes = {"K": rows, "N": columns, "bits": packed.bits, "block_size": packed.group}
    for node in graph.node:
        if node.op_type == "MatMul" and node.domain in _OWN and node.input[1] == name:
            node.op_type, node.domain = "MatMulNBits", _DOMAIN
            node.input[:] = [node.input[0], *_constants(name, packed)]
            for key, value in attributes.items():
                node.attribute.append(helper.make_attribute(key, value))
