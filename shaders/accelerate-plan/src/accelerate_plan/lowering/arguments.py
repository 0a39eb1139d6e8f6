# SPDX-License-Identifier: Apache-2.0
"""Read what ONNX gives as an attribute in one version and as an input in the next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..graph import Node
from .base import Lowering


def integers(
    low: Lowering, node: Node, index: int, name: str, default: Iterable[int] | None = None
) -> list[int]:
    """Return a list that is a constant input, else an attribute, else the default.

    Unsupported when it is computed, or missing without a default.
    """
    if index < len(node.inputs) and node.inputs[index]:
        value = low.constant(node.inputs[index])
        if value is None:
            raise low.refuse(node, f"its {name} are computed")
        return [int(one) for one in value.reshape(-1)]
    given = node.attribute(name, default)
    if given is None:
        raise low.refuse(node, f"it has no {name}")
    return [int(one) for one in given]


def number(low: Lowering, node: Node, index: int, name: str) -> float | None:
    """Return a number that is a constant input, else an attribute, else None."""
    if index < len(node.inputs) and node.inputs[index]:
        value = low.constant(node.inputs[index])
        if value is None:
            raise low.refuse(node, f"its {name} is computed")
        return float(value.reshape(()))
    given = node.attribute(name)
    return None if given is None else float(given)


def axis_of(rank: int, axis: int) -> int:
    """Return an axis counted from the front."""
    return axis + rank if axis < 0 else axis


def axes_of(rank: int, axes: Sequence[int]) -> list[int]:
    """Return axes counted from the front."""
    return [axis_of(rank, one) for one in axes]
