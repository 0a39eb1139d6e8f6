# SPDX-License-Identifier: Apache-2.0
"""Products: linear layers with all that was fused into them, and products of activations."""

from __future__ import annotations

import math

import numpy as np

from ..codes import Binary, Unary
from ..graph import Node, Shape
from ..params import Value
from .base import Lowering, lowers
from .quantized import quantized
from .steps import VIEW_ELEMENTS, apart, broadcast, copy, shape_of, strides_of, unary


@lowers("plan.Linear")
def linear(low: Lowering, node: Node) -> None:
    """Multiply by a weight: one step, whose outputs lie in one piece of memory."""
    x, weight, bias, residual = node.inputs
    k, n = low.shape(weight)
    m = math.prod(low.shape(x)) // k
    block = n // node.attributes["blocks"]
    # Each block is a tensor of its own: a view, which begins where a binding may.
    stride = -(-m * block // VIEW_ELEMENTS) * VIEW_ELEMENTS
    if len(node.outputs) == 1:
        y = low.result(node)
    else:
        y = low.out.tensor((stride * (len(node.outputs) - 1) + m * block,))
        for index, name in enumerate(node.outputs):
            part = low.out.view(y, low.shape(name), index * stride, name=name)
            low.bind(name, part)
    operands = {"x": low.operand(x), "w": low.operand(weight), "y": y}
    if bias:
        operands["bias"] = low.operand(bias)
    if residual:
        operands["x"], operands["residual"] = apart(
            low.out, operands["x"], low.operand(residual), label=node.label
        )
    params: dict[str, Value] = {
        "m": m,
        "n": n,
        "k": k,
        "has_bias": bool(bias),
        "has_residual": bool(residual),
        "activation": node.attributes["activation"],
        "block": block,
        "block_stride": stride,
    }
    operation = "linear"
    value = low.constant(weight)
    if value is not None and value.dtype == np.float16:
        operation = "linear_f16"
    elif bits := node.attribute("bits"):
        operation = f"linear_q{bits}"
        more_operands, more_params = quantized(low, node)
        operands |= more_operands
        params |= more_params
    low.out.step(operation, operands, params, label=node.label, flops=2 * m * n * k)


@lowers("MatMul")
def matmul(low: Lowering, node: Node) -> None:
    """Multiply matrices, batches of them broadcast."""
    a, b = node.inputs
    left, right = low.shape(a), low.shape(b)
    # A vector is a matrix of one row, or one column.
    left = (1, *left) if len(left) == 1 else left
    right = (*right, 1) if len(right) == 1 else right
    lead = np.broadcast_shapes(left[:-2], right[:-2])
    m, k, n = left[-2], left[-1], right[-1]
    if right[:-2] == () or math.prod(right[:-2]) == 1:
        # One matrix for all: what is batched on the left is only more rows.
        m, lead, left = math.prod(left[:-1]), (), (math.prod(left[:-1]), k)
    one, a_stride = _batched(low, low.operand(a), left, lead, node.label)
    two, b_stride = _batched(low, low.operand(b), right, lead, node.label)
    one, two = apart(low.out, one, two, label=node.label)
    _product(
        low,
        node,
        {"a": one, "b": two, "y": low.result(node)},
        (math.prod(lead), m, n, k),
        strides=(a_stride, b_stride),
    )


def _batched(low: Lowering, operand: str, shape: Shape, lead: Shape, label: str) -> tuple[str, int]:
    """Return an operand and the elements between its batches; copied where it is neither
    complete nor one for all."""
    matrix = math.prod(shape[-2:])
    if math.prod(shape[:-2]) == 1:
        return operand, 0
    if shape[:-2] == lead:
        return operand, matrix
    full = low.out.tensor((*lead, *shape[-2:]))
    steps = strides_of(shape)
    missing = len(lead) + 2 - len(shape)
    copy(
        low.out,
        operand,
        full,
        (*lead, *shape[-2:]),
        (0,) * missing + steps,
        strides_of((*lead, *shape[-2:])),
        label=label,
    )
    return full, matrix


@lowers("Gemm")
def gemm(low: Lowering, node: Node) -> None:
    """Multiply two matrices, scale, and add a third."""
    a, b, *rest = node.inputs
    turn_a, turn_b = bool(node.attribute("transA", 0)), bool(node.attribute("transB", 0))
    m, k = low.shape(a)[:: -1 if turn_a else 1]
    n = low.shape(b)[0 if turn_b else 1]
    one, two = apart(low.out, low.operand(a), low.operand(b), label=node.label)
    has_addend = bool(rest and rest[0])
    y = low.result(node)
    product = low.out.tensor((m, n)) if has_addend else y
    _product(
        low,
        node,
        {"a": one, "b": two, "y": product},
        (1, m, n, k),
        transpose=(turn_a, turn_b),
        scale=node.attribute("alpha", 1.0),
    )
    if has_addend:
        addend = low.operand(rest[0])
        if (beta := node.attribute("beta", 1.0)) != 1:
            scaled = low.out.tensor(shape_of(low.out, addend))
            unary(low.out, Unary.AFFINE, addend, scaled, alpha=beta, label=node.label)
            addend = scaled
        broadcast(
            low.out, "binary", {"a": product, "b": addend}, y, code=Binary.ADD, label=node.label
        )


def _product(
    low: Lowering,
    node: Node,
    operands: dict[str, str],
    sizes: tuple[int, int, int, int],
    *,
    strides: tuple[int, int] = (0, 0),
    transpose: tuple[bool, bool] = (False, False),
    scale: float = 1.0,
) -> None:
    batch, m, n, k = sizes
    params = {
        "batch": batch,
        "m": m,
        "n": n,
        "k": k,
        "a_stride": strides[0],
        "b_stride": strides[1],
        "transpose_a": transpose[0],
        "transpose_b": transpose[1],
        "scale": scale,
    }
    low.out.step("matmul", operands, params, label=node.label, flops=2 * batch * m * n * k)
