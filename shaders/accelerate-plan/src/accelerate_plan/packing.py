# SPDX-License-Identifier: Apache-2.0
"""How constants lie in memory: what the `layout` of a binding in `kernel.toml` names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs
import numpy as np

from accelerate_core.errors import PluginError

from .packing_bits import bits_size, columns16_bits, columns16_f16, f16_size

if TYPE_CHECKING:
    from accelerate_core.types import Array

COLUMNS = 16  #: columns of a panel of `columns16`


def plain(value: Array) -> bytes:
    """Return row-major f32, or i32 for integers and booleans."""
    kind = np.float32 if value.dtype.kind == "f" else np.int32
    return np.ascontiguousarray(value, kind).tobytes()


def columns16(value: Array) -> bytes:
    """Return `[K, N]` as f32 panels `[ceil(N / 16)][K][16]`, missing columns zero."""
    rows, columns = value.shape
    panels = -(-columns // COLUMNS)
    padded = np.zeros((rows, panels * COLUMNS), np.float32)
    padded[:, :columns] = value
    return np.ascontiguousarray(padded.reshape(rows, panels, COLUMNS).transpose(1, 0, 2)).tobytes()


def rows4(value: Array) -> bytes:
    """Return `[N, ...]` as f32 `[ceil(N / 4)][...][4]`, missing rows zero."""
    rows = value.reshape(value.shape[0], -1)
    padded = np.pad(rows, ((0, -len(rows) % 4), (0, 0))).astype(np.float32)
    return np.ascontiguousarray(padded.reshape(-1, 4, rows.shape[1]).transpose(0, 2, 1)).tobytes()


@attrs.frozen
class Layout:
    """A way to lay out a constant: its bytes, and how many they are without making them."""

    pack: Callable[[Array], bytes]
    size_bytes: Callable[[tuple[int, ...]], int]  #: from the logical shape


LAYOUTS: Mapping[str, Layout] = {
    "plain": Layout(plain, lambda shape: 4 * math.prod(shape)),
    "columns16": Layout(columns16, lambda shape: 4 * shape[0] * -(-shape[1] // COLUMNS) * COLUMNS),
    "rows4": Layout(rows4, lambda shape: 16 * -(-shape[0] // 4) * math.prod(shape[1:])),
    "columns16_f16": Layout(columns16_f16, f16_size),
    **{
        f"columns16_q{bits}": Layout(columns16_bits(bits), bits_size(bits)) for bits in (8, 4, 3, 2)
    },
}


def layout_of(name: str) -> Layout:
    """Return a layout; PluginError for a name nobody knows."""
    if name not in LAYOUTS:
        raise PluginError(f"no layout is called {name!r}", accepted=tuple(LAYOUTS))
    return LAYOUTS[name]
