# SPDX-License-Identifier: Apache-2.0
"""What normalises channels: by what was learned, or by what is there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..codes import Binary
from ..graph import Node
from .base import Lowering, lowers
from .steps import broadcast

if TYPE_CHECKING:
    from accelerate_core.types import Array


@lowers("BatchNormalization")
def batch_norm(low: Lowering, node: Node) -> None:
    """Scale and shift each channel by what was learned; nothing is measured."""
    if node.attribute("training_mode", 0):
        raise low.refuse(node, "it is in training mode")
    values = [low.constant(name) for name in node.inputs[1:5]]
    if any(one is None for one in values):
        raise low.refuse(node, "its statistics are computed")
    scale, bias, mean, variance = (np.asarray(one, np.float64) for one in values)
    factor = scale / np.sqrt(variance + node.attribute("epsilon", 1e-5))
    _affine(low, node, low.operand(node.inputs[0]), factor, bias - mean * factor)


@lowers("InstanceNormalization", "GroupNormalization")
def group_norm(low: Lowering, node: Node) -> None:
    """Normalise groups of channels, or each by itself, then scale and shift each channel."""
    shape = low.shape(node.inputs[0])
    batch, channels = shape[:2]
    groups = channels if node.op == "InstanceNormalization" else node.attribute("num_groups")
    scale, bias = (low.constant(name) for name in node.inputs[1:3])
    if scale is None or bias is None:
        raise low.refuse(node, "its scale or bias is computed")
    rows, columns = batch * groups, math.prod(shape[1:]) // groups
    x, made = low.operand(node.inputs[0]), low.out.tensor((rows, columns))
    params = {
        "rows": rows,
        "columns": columns,
        "has_bias": 0,
        "epsilon": node.attribute("epsilon", 1e-5),
    }
    weight = low.out.constant(np.ones(columns, np.float32))
    operands = {"x": low.out.view(x, (rows, columns)), "weight": weight, "y": made}
    low.out.step("layer_norm", operands, params, label=node.label)
    _affine(low, node, low.out.view(made, shape), scale, bias)


def _affine(low: Lowering, node: Node, x: str, factor: Array, addend: Array) -> None:
    shape = low.shape(node.outputs[0])
    places = (-1, *(1,) * (len(shape) - 2))
    scaled = low.out.tensor(shape)
    for a, values, code, y in (
        (x, factor, Binary.MUL, scaled),
        (scaled, addend, Binary.ADD, low.result(node)),
    ):
        b = low.out.constant(values.astype(np.float32).reshape(places))
        broadcast(low.out, "binary", {"a": a, "b": b}, y, code=code, label=node.label)
