# SPDX-License-Identifier: Apache-2.0
"""Functions of each element that fusions found."""

from __future__ import annotations

from ..codes import Activation, Unary
from ..graph import Node
from .base import Lowering, lowers
from .steps import cast, kind_of, unary


@lowers("plan.Activation")
def activation(low: Lowering, node: Node) -> None:
    """Apply an activation that no layer took in."""
    # Unary has the activations by their own numbers.
    operation = Unary(Activation(node.attributes["kind"]))
    unary(low.out, operation, low.operand(node.inputs[0]), low.result(node), label=node.label)


@lowers("plan.Affine")
def affine(low: Lowering, node: Node) -> None:
    """Compute `alpha * x + beta` of floats or integers."""
    x, y = low.operand(node.inputs[0]), low.result(node)
    alpha, beta = node.attributes["alpha"], node.attributes["beta"]
    if kind_of(low.out, x) == "i32":
        cast(low.out, "cast_f32", x, y, alpha=alpha, beta=beta, label=node.label)
    else:
        unary(low.out, Unary.AFFINE, x, y, alpha=alpha, beta=beta, label=node.label)
