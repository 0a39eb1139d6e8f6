# SPDX-License-Identifier: Apache-2.0
"""From operators to kernel steps: one module per kind of operator, registered by importing it."""

from . import (
    base,
    elementwise,
    logic,
    lookups,
    movement,
    reductions,
)
from .base import LOWERINGS, Lowering

__all__ = [
    "LOWERINGS",
    "Lowering",
    "base",
    "elementwise",
    "logic",
    "lookups",
    "movement",
    "reductions",
]
