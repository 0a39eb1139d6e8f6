# SPDX-License-Identifier: Apache-2.0
"""Between the caller's arrays and the 4-byte elements on the device. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from accelerate_plan.plan import Slot

from accelerate_core.errors import ModelError

if TYPE_CHECKING:
    from accelerate_core.types import Array

_STORED: Mapping[str, type[Any]] = {"f32": np.float32, "i32": np.int32, "u32": np.uint32}


def to_device(value: Array, slot: Slot) -> Array:
    """Return what the device keeps for an input; ModelError for integers beyond 32 bits."""
    stored = np.ascontiguousarray(value, _STORED[slot.stored])
    if value.dtype.itemsize > stored.dtype.itemsize and slot.stored != "f32" and value.size:
        limits = np.iinfo(stored.dtype)
        if value.min() < limits.min or value.max() > limits.max:
            raise ModelError(
                f"input {slot.name!r} has integers beyond 32 bits",
                accepted=(f"{limits.min} to {limits.max}",),
                hint="GPUs have no 64-bit integers; use smaller numbers.",
            )
    return stored


def from_device(data: Any, slot: Slot) -> Array:
    """Return the caller's array for an output: a copy, of the dtype the caller expects."""
    stored = np.frombuffer(data, _STORED[slot.stored])
    return stored.astype(slot.dtype, copy=True).reshape(slot.shape)
