# SPDX-License-Identifier: Apache-2.0
"""Read linear layers whose weights are packed in few bits."""

from __future__ import annotations

from accelerate_models.quantized import Packed, unpack

from ..codes import Activation
from ..graph import Graph, Node
from .matching import Rewriter

_OPERATOR = "com.microsoft.MatMulNBits"


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
        bits, group = node.attribute("bits", 4), node.attribute("block_size")
        matrix = unpack(Packed(values, scales, zeros, bits, group), node.attribute("K"))
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
