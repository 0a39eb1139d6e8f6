# SPDX-License-Identifier: Apache-2.0
"""Read linear layers whose weights are packed in few bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelerate_models.quantized import Packed, unpack

from ..codes import Activation
from ..graph import Graph, Node
from .matching import Rewriter

if TYPE_CHECKING:
    import onnx

_OPERATOR = "com.microsoft.MatMulNBits"


def hide_three_bits(model: onnx.ModelProto) -> bool:
    """Say 4 bits where a product has 3, which ONNX Runtime refuses to load; return whether any has.

    It does not look at packed weights while it optimises, and their size tells how many they are.
    """
    hidden = [
        attribute
        for node in model.graph.node
        if node.op_type == "MatMulNBits"
        for attribute in node.attribute
        if attribute.name == "bits" and attribute.i == 3
    ]
    for attribute in hidden:
        attribute.i = 4
    return bool(hidden)


def read_quantized(graph: Graph) -> None:
    """Make `plan.Linear` of products with packed constants.

    Its weight is the codes, uint8 [k, n]; attributes besides those of other layers: `bits`,
    `group`, and `scales` and `zeros`, float32 [ceil(k / group), n].
    """
    rewriter = Rewriter(graph)
    for node in rewriter.nodes(_OPERATOR):
        x, *names = node.inputs
        names += [""] * (5 - len(names))
        values, scales, zeros, order, bias = (rewriter.constant(name) for name in names)
        # Rows in another order than that of x (`g_idx`) take a gather, which no kernel does.
        if values is None or scales is None or order is not None or names[3]:
            continue
        if (names[2] and zeros is None) or (names[4] and bias is None):
            continue
        rows, group = node.attribute("K"), node.attribute("block_size")
        # Not from the attribute: see `hide_three_bits`.
        bits = 8 * values.size // (node.attribute("N") * -(-rows // group) * group)
        matrix = unpack(Packed(values, scales, zeros, bits, group), rows)
        new = Node(
            op="plan.Linear",
            inputs=(x, rewriter.add_constant(f"{names[0]}/codes", matrix.codes), names[4], ""),
            outputs=node.outputs,
            attributes={
                "activation": int(Activation.NONE),
                "blocks": 1,
                "bits": bits,
                "group": group,
                "scales": matrix.scales,
                "zeros": matrix.zeros,
            },
            label=node.label,
        )
        rewriter.replace([node], [new])
