# SPDX-License-Identifier: Apache-2.0
"""From operators to kernel steps: one module per kind of operator, registered by importing it."""

from . import (
    activations,
    attention,
    base,
    channels,
    convolutions,
    elementwise,
    embedding,
    linear,
    logic,
    lookups,
    movement,
    norms,
    reductions,
    resizing,
    rotary,
)
from .base import LOWERINGS, Lowering

__all__ = [
    "LOWERINGS",
    "Lowering",
    "activations",
    "attention",
    "base",
    "channels",
    "convolutions",
    "elementwise",
    "embedding",
    "linear",
    "logic",
    "lookups",
    "movement",
    "norms",
    "reductions",
    "resizing",
    "rotary",
]
