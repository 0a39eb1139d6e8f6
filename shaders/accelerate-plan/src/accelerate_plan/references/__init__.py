# SPDX-License-Identifier: Apache-2.0
"""What every operation computes, in numpy and fp64: the first rung of the ladder of checks.

A reference takes the params and the logical operands by name (constants before packing; a missing
optional one is absent) and returns the outputs by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from ..params import Value

if TYPE_CHECKING:
    from accelerate_core.types import Array

    Reference: TypeAlias = Callable[[Mapping[str, Value], Mapping[str, Array]], Mapping[str, Array]]

#: By operation.
REFERENCES: dict[str, Reference] = {}


def reference(operation: str) -> Callable[[Reference], Reference]:
    """Register the reference of an operation."""

    def register(function: Reference) -> Reference:
        REFERENCES[operation] = function
        return function

    return register


# Importing a module registers its references.
from . import (  # noqa: E402
    convolutions,
    elementwise,
    matrices,
    movement,
    quantized,
    rows,
    signals,
    sums,
    windows,
)

__all__ = [
    "REFERENCES",
    "convolutions",
    "elementwise",
    "matrices",
    "movement",
    "quantized",
    "reference",
    "rows",
    "signals",
    "sums",
    "windows",
]
