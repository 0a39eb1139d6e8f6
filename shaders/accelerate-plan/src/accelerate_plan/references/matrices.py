# SPDX-License-Identifier: Apache-2.0
"""References of products: linear layers, matrix products, attention."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..params import Value
from . import reference

if TYPE_CHECKING:
    from accelerate_core.types import Array


def activate(code: int, x: Array) -> Array:
    """Return an activation of fp64 values, by the codes of the `linear` operations."""
    match code:
        case 0:
            return x
        case 1:
            return np.maximum(x, 0)
        case 2:
            return _gelu(x)
        case 3:
            return x * _sigmoid(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3))
        case 4:
            return x * _sigmoid(x)
        case 5:
            return x * _sigmoid(1.702 * x)
        case 6:
            return np.tanh(x)
        case 7:
            return _sigmoid(x)
    raise ValueError(f"no activation has the code {code}")


def _gelu(x: Array) -> Array:
    halves: Array = 0.5 * np.vectorize(math.erfc, otypes=[np.float64])(-x / math.sqrt(2))
    return x * halves


def _sigmoid(x: Array) -> Array:
    shares: Array = 0.5 * (1 + np.tanh(0.5 * x))
    return shares


def product(params: Mapping[str, Value], operands: Mapping[str, Array], w: Array) -> Array:
    """Return `y` of a linear layer with `w` `[K, N]`: `[M, N]`, or flat where it has blocks.

    Blocks of columns lie `block_stride` elements apart; what lies between them is zero.
    """
    m, n, block, stride, activation = _sizes(params, "m n block block_stride activation")
    y = operands["x"].astype(np.float64).reshape(m, -1) @ w.astype(np.float64)
    if params["has_bias"]:
        y = y + operands["bias"].astype(np.float64)
    y = activate(activation, y)
    if params["has_residual"]:
        y = y + operands["residual"].astype(np.float64).reshape(m, n)
    if block == n:
        return y
    memory = np.zeros((n // block - 1) * stride + m * block)
    for index in range(n // block):
        part = y[:, index * block : (index + 1) * block]
        memory[index * stride : index * stride + m * block] = part.ravel()
    return memory


@reference("linear")
def linear(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y = activation(x w + bias) + residual`, blocks of columns apart."""
    return {"y": product(params, operands, operands["w"])}


@reference("linear_f16")
def linear_f16(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y` of a linear layer whose weights are rounded to fp16."""
    return {"y": product(params, operands, operands["w"].astype(np.float16))}


@reference("matmul")
def matmul(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y = scale * a b` `[batch, M, N]`, of operands that may be transposed."""
    batch, m, n, k, a_stride, b_stride = _sizes(params, "batch m n k a_stride b_stride")
    shape = (batch, k, m) if params["transpose_a"] else (batch, m, k)
    a = _strided(operands["a"], shape, (a_stride, shape[2]))
    shape = (batch, n, k) if params["transpose_b"] else (batch, k, n)
    b = _strided(operands["b"], shape, (b_stride, shape[2]))
    a = a.swapaxes(1, 2) if params["transpose_a"] else a
    b = b.swapaxes(1, 2) if params["transpose_b"] else b
    return {"y": params["scale"] * (a @ b)}


@reference("attention")
def attention(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y` `[batch, q_length, heads, v_size]`; a row that sees no key is 0."""
    batch, heads, kv_heads, rows, keys, size, v_size = _sizes(
        params, "batch heads kv_heads q_length kv_length head_size v_size"
    )
    q = _strided(operands["q"], (batch, rows, heads, size), params["q_strides"])
    k = _strided(operands["k"], (batch, keys, kv_heads, size), params["k_strides"])
    v = _strided(operands["v"], (batch, keys, kv_heads, v_size), params["v_strides"])
    k, v = (np.repeat(one, heads // kv_heads, axis=2) for one in (k, v))
    scores = np.einsum("brhd,bkhd->bhrk", q, k) * params["scale"]
    if params["has_mask"]:
        scores += _strided(operands["mask"], scores.shape, params["mask_strides"])
    seen = np.ones((rows, keys), bool)
    if params["causal"]:
        seen = np.arange(keys)[None, :] <= np.arange(rows)[:, None] + keys - rows
    scores = np.where(seen, scores, -np.inf)
    largest = np.maximum(scores.max(-1, keepdims=True), np.finfo(np.float32).min)
    powers = np.exp(scores - largest)
    sums = powers.sum(-1, keepdims=True)
    shares = np.divide(powers, sums, out=np.zeros_like(powers), where=sums > 0)
    return {"y": np.einsum("bhrk,bkhd->brhd", shares, v)}


def _sizes(params: Mapping[str, Any], names: str) -> list[int]:
    return [int(params[name]) for name in names.split()]


def _strided(value: Array, shape: tuple[int, ...], strides: Any) -> Array:
    """Return fp64 elements by strides of the leading axes; the last axis is contiguous."""
    steps = np.array([*strides[:3], 1]) * 8
    flat = np.ascontiguousarray(value, np.float64).ravel()
    return np.lib.stride_tricks.as_strided(flat, shape, steps, writeable=False)
