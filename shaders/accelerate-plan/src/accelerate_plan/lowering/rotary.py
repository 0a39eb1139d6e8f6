# SPDX-License-Identifier: Apache-2.0
"""Rotary position embeddings, read by strides."""

from __future__ import annotations

from ..graph import Node
from .base import Lowering, lowers
from .steps import apart


@lowers("plan.Rotary")
def rotary(low: Lowering, node: Node) -> None:
    """Turn pairs of numbers by angles: one step."""
    given = (low.operand(name) for name in node.inputs)
    operands = dict(zip(("x", "cos", "sin"), apart(low.out, *given, label=node.label), strict=True))
    params = {**node.attributes, "interleaved": 0}
    low.out.step("rotary", {**operands, "y": low.result(node)}, params, label=node.label)
