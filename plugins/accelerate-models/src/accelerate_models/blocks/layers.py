# SPDX-License-Identifier: Apache-2.0
"""Layers: linear, norms, embeddings, activations."""

from __future__ import annotations

import math

import numpy as np

from ..graph import GraphBuilder, Value

ACTIVATIONS = (
    "gelu",
    "gelu_new",
    "gelu_pytorch_tanh",
    "quick_gelu",
    "relu",
    "silu",
    "swish",
    "tanh",
)


def linear(
    g: GraphBuilder, x: Value, name: str, size_in: int, size_out: int, *, bias: bool = True
) -> Value:
    """Multiply [..., size_in] by a checkpoint's [size_out, size_in] matrix and add its bias."""
    with g.scope(name.rsplit(".", 1)[-1]):
        product = g.op("MatMul", x, g.weight(f"{name}.weight", (size_out, size_in), transpose=True))
        return g.op("Add", product, g.weight(f"{name}.bias", (size_out,))) if bias else product


def layer_norm(g: GraphBuilder, x: Value, name: str, size: int, epsilon: float) -> Value:
    """Normalise the last dimension, then scale and shift it."""
    scale, shift = (g.weight(f"{name}.{part}", (size,)) for part in ("weight", "bias"))
    return g.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=epsilon)


def rms_norm(g: GraphBuilder, x: Value, name: str, size: int, epsilon: float) -> Value:
    """Divide by the root mean square of the last dimension, then scale (arXiv:1910.07467).

    Computed in float32 whatever the graph computes in: squares overflow float16.
    """
    with g.scope(name.rsplit(".", 1)[-1]):
        wide = g.cast(x, "float32")
        mean = g.op("ReduceMean", g.op("Mul", wide, wide), axes=[-1], keepdims=1)
        root = g.op("Sqrt", g.op("Add", mean, g.constant(np.array(epsilon, np.float32))))
        normal = g.cast(g.op("Div", wide, root), g.dtype)
        return g.op("Mul", normal, g.weight(f"{name}.weight", (size,)))


def embedding(g: GraphBuilder, ids: Value, name: str, rows: int, size: int) -> Value:
    """Look up the rows of a table."""
    return g.op("Gather", g.weight(f"{name}.weight", (rows, size)), ids)


def first_rows(
    g: GraphBuilder, like: Value, name: str, rows: int, size: int, *, skipped: int = 0
) -> Value:
    """Return one row of a table per position of `like` [batch, sequence]: [sequence, size].

    `skipped` rows come before the `rows` that are for positions.
    """
    # Folded to a constant as soon as the sequence length is fixed.
    end = g.op("Shape", like, start=1, end=2)
    if skipped:
        end = g.op("Add", end, g.integers(skipped))
    table = g.weight(f"{name}.weight", (skipped + rows, size))
    return g.op("Slice", table, g.integers(skipped), end, g.integers(0))


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
            case "quick_gelu":
                return g.op("Mul", x, g.op("Sigmoid", g.op("Mul", x, g.number(1.702))))
            case "relu":
                return g.op("Relu", x)
            case "silu" | "swish":
                return g.op("Mul", x, g.op("Sigmoid", x))
            case "tanh":
                return g.op("Tanh", x)
            case _:
                raise ValueError(kind)
        return g.op("Mul", g.op("Mul", x, g.op("Add", inner, g.number(1.0))), g.number(0.5))
