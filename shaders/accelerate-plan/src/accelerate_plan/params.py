# SPDX-License-Identifier: Apache-2.0
"""The bytes of a kernel's `Params`: WGSL's uniform layout of scalars and vec4s."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from accelerate_core.errors import PluginError

Value: TypeAlias = float | Sequence[float]

#: WGSL type -> (struct format, number of values, alignment in bytes)
TYPES: Mapping[str, tuple[str, int, int]] = {
    "u32": ("I", 1, 4),
    "i32": ("i", 1, 4),
    "f32": ("f", 1, 4),
    "vec4<u32>": ("I", 4, 16),
    "vec4<i32>": ("i", 4, 16),
    "vec4<f32>": ("f", 4, 16),
}


def pack(fields: Mapping[str, str], values: Mapping[str, Value], *, where: str) -> bytes:
    """Return the uniform block, a multiple of 16 bytes; PluginError for values that do not fit."""
    if set(fields) != set(values):
        missing = ", ".join(sorted(set(fields) - set(values))) or "nothing"
        extra = ", ".join(sorted(set(values) - set(fields))) or "nothing"
        raise PluginError(
            f"params do not match: missing {missing}, not known {extra}",
            where=where,
            accepted=tuple(fields),
        )
    block = bytearray()
    for name, kind in fields.items():
        code, count, alignment = TYPES[kind]
        block.extend(bytes(-len(block) % alignment))
        value = values[name]
        numbers = tuple(value) if isinstance(value, Sequence) else (value,)
        try:
            block += struct.pack(f"<{count}{code}", *numbers)
        except (struct.error, OverflowError) as error:
            raise PluginError(f"{name} = {value!r} is no {kind}: {error}", where=where) from error
    block.extend(bytes(-len(block) % 16))
    return bytes(block)
