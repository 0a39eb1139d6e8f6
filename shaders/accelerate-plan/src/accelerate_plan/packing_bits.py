# SPDX-License-Identifier: Apache-2.0
"""How quantized weights lie in memory: panels of 16 columns, as those of `columns16`.

A panel is a sequence of steps of 16 bytes, one for each column. The byte of a step holds the codes
of 8 / bits successive rows, the first in its lowest bits: so one u32 is what a thread of four
columns reads, and a vec4<u32> what one of a whole panel reads. Codes of 3 bits are two planes: the
lower two bits of all panels, then the third bit of all panels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from accelerate_core.types import Array

_COLUMNS = 16


def columns16_f16(value: Array) -> bytes:
    """Return `[G, N]` as f16 panels `[ceil(N / 16)][G][16]`, read by `unpack2x16float`."""
    return _panels(value.astype(np.float16)).tobytes()


def columns16_bits(bits: int) -> Callable[[Array], bytes]:
    """Return what packs codes `[K, N]`, integers below 2**bits; bits are 2, 3, 4 or 8."""

    def pack(codes: Array) -> bytes:
        codes = codes.astype(np.uint8)
        return b"".join(_plane((codes >> shift) & (2**width - 1), width) for shift, width in planes)

    planes = _planes(bits)
    return pack


def bits_size(bits: int) -> Callable[[tuple[int, ...]], int]:
    """Return what tells the bytes of packed codes from their shape."""

    def size_bytes(shape: tuple[int, ...]) -> int:
        steps = sum(-(-shape[0] * width // 8) for _, width in _planes(bits))
        return steps * _padded(shape[1])

    return size_bytes


def f16_size(shape: tuple[int, ...]) -> int:
    """Return the bytes of `columns16_f16` from its shape."""
    return 2 * shape[0] * _padded(shape[1])


def _planes(bits: int) -> tuple[tuple[int, int], ...]:
    """Return the lowest bit and the number of bits of each plane."""
    return ((0, 2), (2, 1)) if bits == 3 else ((0, bits),)


def _plane(codes: Array, bits: int) -> bytes:
    rows, columns = codes.shape
    each = 8 // bits
    padded = np.zeros((-(-rows // each) * each, columns), np.uint8)
    padded[:rows] = codes
    steps = padded.reshape(-1, each, columns)
    packed = np.zeros(steps[:, 0].shape, np.uint8)
    for index in range(each):
        packed |= steps[:, index] << (bits * index)
    return _panels(packed).tobytes()


def _panels(value: Array) -> Array:
    rows, columns = value.shape
    padded = np.zeros((rows, _padded(columns)), value.dtype)
    padded[:, :columns] = value
    return np.ascontiguousarray(padded.reshape(rows, -1, _COLUMNS).transpose(1, 0, 2))


def _padded(columns: int) -> int:
    return -(-columns // _COLUMNS) * _COLUMNS
