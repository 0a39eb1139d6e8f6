# SPDX-License-Identifier: Apache-2.0
"""Masks as what is added to attention scores: 0, or so low that softmax makes it exactly 0."""

from __future__ import annotations

import numpy as np

from ..graph import GraphBuilder, Value


def padding_bias(g: GraphBuilder, mask: Value) -> Value:
    """Turn a mask of 1 and 0 [batch, sequence] into 0 and a huge negative [batch, 1, 1, sequence].

    After softmax a masked position is exactly 0.
    """
    with g.scope("padding_bias"):
        numbers = g.op("Cast", mask, to=g.onnx_dtype)
        bias = g.op("Mul", g.op("Sub", g.number(1.0), numbers), g.number(_lowest(g)))
        return g.op("Unsqueeze", bias, g.integers(1, 2))


def causal_bias(
    g: GraphBuilder, ids: Value, mask: Value | None = None, *, window: int | None = None
) -> Value:
    """Let each position see itself and what came before, padding excepted: [batch, 1, new, all].

    `ids` [batch, new] are the last of the positions that `mask` [batch, all] covers: with a cache
    of keys and values the mask covers the past, too. Without a mask the shape is [1, 1, new, new].
    With a `window` a position sees only itself and the `window - 1` before it.
    """
    with g.scope("causal_bias"):
        new = g.op("Shape", ids, start=1, end=2)
        all_ = new if mask is None else g.op("Shape", mask, start=1, end=2)
        zero, one = (g.constant(np.array(n, np.int64)) for n in (0, 1))
        end = g.op("Squeeze", all_)
        columns = g.op("Range", zero, end, one)
        rows = g.op("Range", g.op("Squeeze", g.op("Sub", all_, new)), end, one)
        rows = g.op("Unsqueeze", rows, g.integers(1))
        is_hidden = g.op("Greater", columns, rows)
        if window is not None:
            oldest = g.op("Sub", rows, g.constant(np.array(window - 1, np.int64)))
            is_hidden = g.op("Or", is_hidden, g.op("Less", columns, oldest))
        hidden = g.op("Mul", g.op("Cast", is_hidden, to=g.onnx_dtype), g.number(_lowest(g)))
        hidden = g.op("Unsqueeze", hidden, g.integers(0, 1))
    if mask is None:
        return hidden
    # Not a sum: two of the lowest numbers make an infinity.
    return g.op("Min", padding_bias(g, mask), hidden)


def _lowest(g: GraphBuilder) -> float:
    # float16 leaves room for the score that is added to it: no infinity ever arises.
    return -60000.0 if g.dtype == "float16" else float(np.finfo(np.float32).min)
