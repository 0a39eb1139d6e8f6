# SPDX-License-Identifier: Apache-2.0
"""What linear layers have more where their weights are packed in few bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..params import Value
from .base import Lowering

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..graph import Node


def quantized(low: Lowering, node: Node) -> tuple[dict[str, str], Mapping[str, Value]]:
    """Return the operands and params that `linear_q8` and its like have besides those of `linear`.

    Scales are kept in 16 bits: a power of two, `gain`, keeps them where these are exact.
    """
    scales = node.attributes["scales"]
    gain = float(2.0 ** np.floor(np.log2(max(np.abs(scales).max(), np.finfo(np.float32).tiny))))
    operands = {
        "scales": low.out.constant(scales / np.float32(gain), name=f"{node.inputs[1]}/scales"),
        "zeros": low.out.constant(node.attributes["zeros"], name=f"{node.inputs[1]}/zeros"),
    }
    return operands, {"group": node.attributes["group"], "gain": gain}
