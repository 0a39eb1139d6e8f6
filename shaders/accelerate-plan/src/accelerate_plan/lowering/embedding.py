# SPDX-License-Identifier: Apache-2.0
"""Sums of embeddings."""

from __future__ import annotations

import math

from ..graph import Node
from .base import Lowering, lowers
from .steps import apart


@lowers("plan.Embedding")
def embedding(low: Lowering, node: Node) -> None:
    """Look up rows and add them up: one step."""
    table, ids, table2, ids2, addend = node.inputs
    rows, columns = low.shape(table)
    given = {"ids": ids, "ids2": ids2, "addend": addend}
    inputs = {name: low.operand(one) for name, one in given.items() if one}
    operands = dict(zip(inputs, apart(low.out, *inputs.values(), label=node.label), strict=True))
    operands |= {"table": low.operand(table), "y": low.result(node)}
    if table2:
        operands["table2"] = low.operand(table2)
    low.out.step(
        "embedding",
        operands,
        {
            "count": math.prod(low.shape(ids)),
            "columns": columns,
            "rows": rows,
            "rows2": low.shape(table2)[0] if table2 else 0,
            "addend_count": math.prod(low.shape(addend)) if addend else 0,
            "has_second": bool(table2),
            "has_addend": bool(addend),
        },
        label=node.label,
    )
