# SPDX-License-Identifier: Apache-2.0
"""Attention, read by strides."""

from __future__ import annotations

from ..fusions.attention import flops
from ..graph import Node
from .base import Lowering, lowers
from .steps import apart

_SIZES = ("batch", "heads", "kv_heads", "q_length", "kv_length", "head_size", "v_size")
_OTHERS = ("causal", "scale", "q_strides", "k_strides", "v_strides", "mask_strides")


@lowers("plan.Attention")
def attention(low: Lowering, node: Node) -> None:
    """Attend: one step."""
    given = [low.operand(name) for name in node.inputs if name]
    operands = dict(
        zip(("q", "k", "v", "mask"), apart(low.out, *given, label=node.label), strict=False)
    )
    low.out.step(
        "attention",
        {**operands, "y": low.result(node)},
        {
            **{name: node.attributes[name] for name in (*_SIZES, *_OTHERS)},
            "has_mask": "mask" in operands,
        },
        label=node.label,
        flops=flops(node),
    )
