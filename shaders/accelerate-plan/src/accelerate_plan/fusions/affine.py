# SPDX-License-Identifier: Apache-2.0
"""Put arithmetic with single numbers together: masks are made so, and pixels scaled."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from ..graph import Graph, Node
from .matching import Rewriter

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_LARGEST = float(np.finfo(np.float32).max)


def fuse_affine(graph: Graph) -> None:
    """Make `plan.Affine` of chains that compute `alpha * x + beta`, of an integer x, too."""
    rewriter = Rewriter(graph)
    for node in rewriter.nodes("Add", "Sub", "Mul", "Div", "Cast"):
        step = _step(rewriter, node)
        if step is None:
            continue
        x, alpha, beta = step
        before = rewriter.maker(x, "plan.Affine")
        old = [node]
        if before and rewriter.only_user(x) is node:
            joined_alpha = alpha * before.attributes["alpha"]
            joined_beta = alpha * before.attributes["beta"] + beta
            if max(abs(joined_alpha), abs(joined_beta)) <= _LARGEST:
                old = [before, node]
                x, alpha, beta = before.inputs[0], joined_alpha, joined_beta
        new = Node(
            op="plan.Affine",
            inputs=(x,),
            outputs=node.outputs,
            attributes={"alpha": alpha, "beta": beta},
            label=node.label,
        )
        rewriter.replace(old, [new])


def _step(rewriter: Rewriter, node: Node) -> tuple[str, float, float] | None:
    """Return x, alpha and beta of one node; None where it computes anything else."""
    if not rewriter.graph.value(node.outputs[0]).dtype.startswith("float"):
        return None
    if node.op == "Cast":  # of an integer: others were dropped
        return (node.inputs[0], 1.0, 0.0) if node.attribute("to") in _FLOATS else None
    a, b = node.inputs
    for x, other in ((a, b), (b, a)):
        number = rewriter.scalar(other)
        if number is None or rewriter.shape(x) != rewriter.shape(node.outputs[0]):
            continue
        is_left = x == a
        match node.op:
            case "Add":
                return x, 1.0, number
            case "Mul":
                return x, number, 0.0
            case "Sub":
                return (x, 1.0, -number) if is_left else (x, -1.0, number)
            case "Div" if is_left and number:
                return x, 1 / number, 0.0
    return None
