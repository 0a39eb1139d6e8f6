# SPDX-License-Identifier: Apache-2.0
"""The parts transformers are made of, as plain ONNX operators.

Shapes are constants with 0 (keep) and -1 (rest), never computed in the graph, so that every
execution provider takes every node once batch and sequence are fixed.
"""

from __future__ import annotations

import math

import attrs
import numpy as np

from .graph import GraphBuilder, Value

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh")


def linear(g: GraphBuilder, x: Value, name: str, size_in: int, size_out: int) -> Value:
    """Multiply [..., size_in] by a checkpoint's [size_out, size_in] matrix and add its bias."""
    with g.scope(name.rsplit(".", 1)[-1]):
        product = g.op("MatMul", x, g.weight(f"{name}.weight", (size_out, size_in), transpose=True))
        return g.op("Add", product, g.weight(f"{name}.bias", (size_out,)))


def layer_norm(g: GraphBuilder, x: Value, name: str, size: int, epsilon: float) -> Value:
    """Normalise the last dimension, then scale and shift it."""
    scale, shift = (g.weight(f"{name}.{part}", (size,)) for part in ("weight", "bias"))
    return g.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=epsilon)


def embedding(g: GraphBuilder, ids: Value, name: str, rows: int, size: int) -> Value:
    """Look up the rows of a table."""
    return g.op("Gather", g.weight(f"{name}.weight", (rows, size)), ids)


def first_rows(g: GraphBuilder, like: Value, name: str, rows: int, size: int) -> Value:
    """Return one row of a table per position of `like` [batch, sequence]: [sequence, size]."""
    # Folded to a constant as soon as the sequence length is fixed.
    length = g.op("Shape", like, start=1, end=2)
    table = g.weight(f"{name}.weight", (rows, size))
    return g.op("Slice", table, g.integers(0), length, g.integers(0))


def padding_bias(g: GraphBuilder, mask: Value) -> Value:
    """Turn a mask of 1 and 0 [batch, sequence] into 0 and a huge negative [batch, 1, 1, sequence].

    After softmax a masked position is exactly 0.
    """
    # float16 leaves room for the score that is added to it: no infinity ever arises.
    lowest = -60000.0 if g.dtype == "float16" else float(np.finfo(np.float32).min)
    with g.scope("padding_bias"):
        numbers = g.op("Cast", mask, to=g.onnx_dtype)
        bias = g.op("Mul", g.op("Sub", g.number(1.0), numbers), g.number(lowest))
        return g.op("Unsqueeze", bias, g.integers(1, 2))


def activation(g: GraphBuilder, x: Value, kind: str) -> Value:
    """Apply one of `ACTIVATIONS`."""
    with g.scope(kind):
        match kind:
            case "gelu":
                # The form ONNX Runtime recognises and fuses.
                inner = g.op("Erf", g.op("Div", x, g.number(math.sqrt(2.0))))
            case "gelu_new" | "gelu_pytorch_tanh":
                # x * x * x: Pow is slower, and inexact on some GPUs.
                cube = g.op("Mul", g.op("Mul", x, x), x)
                sum_ = g.op("Add", x, g.op("Mul", cube, g.number(0.044715)))
                inner = g.op("Tanh", g.op("Mul", sum_, g.number(math.sqrt(2.0 / math.pi))))
            case "relu":
                return g.op("Relu", x)
            case "silu" | "swish":
                return g.op("Mul", x, g.op("Sigmoid", x))
            case "tanh":
                return g.op("Tanh", x)
            case _:
                raise ValueError(kind)
        return g.op("Mul", g.op("Mul", x, g.op("Add", inner, g.number(1.0))), g.number(0.5))


def attention(
    g: GraphBuilder,
    x: Value,
    bias: Value,
    names: AttentionNames,
    size: int,
    heads: int,
) -> Value:
    """Attend from every position of `x` [batch, sequence, size] to all; `bias` masks padding."""
    head_size = size // heads

    def split(name: str, *order: int) -> Value:
        projected = linear(g, x, name, size, size)
        with g.scope(name.rsplit(".", 1)[-1]):
            parts = g.op("Reshape", projected, g.integers(0, 0, heads, head_size))
            return g.op("Transpose", parts, perm=order)

    query = split(names.query, 0, 2, 1, 3)
    key = split(names.key, 0, 2, 3, 1)
    value = split(names.value, 0, 2, 1, 3)
    scores = g.op("Div", g.op("MatMul", query, key), g.number(math.sqrt(head_size)))
    weights = g.op("Softmax", g.op("Add", scores, bias), axis=-1)
    mixed = g.op("Transpose", g.op("MatMul", weights, value), perm=(0, 2, 1, 3))
    joined = g.op("Reshape", mixed, g.integers(0, 0, size))
    return linear(g, joined, names.output, size, size)


@attrs.frozen
class AttentionNames:
    """Name the four matrices of an attention in a checkpoint."""

    query: str
    key: str
    value: str
    output: str


@attrs.frozen(kw_only=True)
class LayerNames:
    """Name the parts of an encoder layer in a checkpoint."""

    attention: AttentionNames
    attention_norm: str
    widen: str
    narrow: str
    output_norm: str


@attrs.frozen(kw_only=True)
class EncoderSizes:
    """Hold what the layers of an encoder have in common."""

    hidden: int
    heads: int
    intermediate: int
    activation: str
    epsilon: float


def post_norm_layer(
    g: GraphBuilder, x: Value, bias: Value, names: LayerNames, sizes: EncoderSizes
) -> Value:
    """Add attention, then a two-layer perceptron, each normalised after its residual."""
    with g.scope("attention"):
        attended = attention(g, x, bias, names.attention, sizes.hidden, sizes.heads)
        residual = g.op("Add", attended, x)
        x = layer_norm(g, residual, names.attention_norm, sizes.hidden, sizes.epsilon)
    with g.scope("mlp"):
        wide = linear(g, x, names.widen, sizes.hidden, sizes.intermediate)
        wide = activation(g, wide, sizes.activation)
        narrow = linear(g, wide, names.narrow, sizes.intermediate, sizes.hidden)
        residual = g.op("Add", narrow, x)
        return layer_norm(g, residual, names.output_norm, sizes.hidden, sizes.epsilon)
