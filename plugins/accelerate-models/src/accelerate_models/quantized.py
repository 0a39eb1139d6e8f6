# SPDX-License-Identifier: Apache-2.0
"""Matrices of 8, 4, 3 or 2 bits: as values, and packed as `MatMulNBits` wants them. No I/O.

ONNX Runtime's operator takes 8, 4 and 2 bits. 3 bits are packed by the same rule, one code after
another; only accelerate's own engine runs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

if TYPE_CHECKING:
    from accelerate_core.types import Array

BITS = (8, 4, 3, 2)
GROUPS = (16, 32, 64, 128)


@attrs.frozen(eq=False)
class Quantized:
    """Hold a matrix [K, N] as `scale * (code - zero)`, one scale and zero per group of rows."""

    codes: Array  #: uint8 [K, N], below 2**bits
    scales: Array  #: float32 [ceil(K / group), N]
    zeros: Array  #: float32 [ceil(K / group), N]; whole numbers where ONNX Runtime needs them
    bits: int
    group: int

    def dequantize(self) -> Array:
        """Return the matrix, float32 [K, N]."""
        rows = len(self.codes)
        scales, zeros = (np.repeat(one, self.group, 0)[:rows] for one in (self.scales, self.zeros))
        matrix: Array = scales * (self.codes - zeros)
        return matrix


@attrs.frozen(eq=False)
class Packed:
    """Hold a matrix as the constants of a `MatMulNBits` node."""

    values: Array  #: uint8 [N, groups, group * bits / 8]
    scales: Array  #: float32 [N, groups]
    zeros: Array | None  #: uint8 [N, ceil(groups * bits / 8)], or float32 [N, groups]; None: middle
    bits: int
    group: int


def round_to_nearest(matrix: Array, bits: int, group: int) -> Quantized:
    """Return a float32 matrix [K, N] on grids from the least to the largest value of each group.

    Zero is on every grid, and zeros are whole numbers. The error is at most half a step.
    """
    grouped = in_groups(matrix, group)
    top = 2**bits - 1
    low = np.minimum(grouped.min(1), 0)
    high = np.maximum(grouped.max(1), 0)
    scales = keep_11_bits((high - low) / np.float32(top))
    scales[scales == 0] = 1
    zeros = np.clip(np.rint(-low / scales), 0, top)
    codes = np.clip(np.rint(grouped / scales[:, None] + zeros[:, None]), 0, top)
    flat = codes.reshape(-1, matrix.shape[1])[: len(matrix)]
    return Quantized(flat.astype(np.uint8), scales, zeros.astype(np.float32), bits, group)


def in_groups(matrix: Array, group: int) -> Array:
    """Return a matrix [K, N] as float32 [groups, group, N]; rows of zeros fill the last group."""
    rows, columns = matrix.shape
    padded = np.zeros((-(-rows // group) * group, columns), np.float32)
    padded[:rows] = matrix
    return padded.reshape(-1, group, columns)


def keep_11_bits(scales: Array) -> Array:
    """Return float32 scales with the precision of float16.

    Engines that keep scales in 16 bits then lose nothing.
    """
    fractions, exponents = np.frexp(scales.astype(np.float32))
    return np.ldexp(np.rint(fractions * np.float32(2048)) / np.float32(2048), exponents)


def pack(matrix: Quantized) -> Packed:
    """Return the constants of a node."""
    rows, columns = matrix.codes.shape
    groups = len(matrix.scales)
    codes = np.zeros((columns, groups * matrix.group), np.uint8)
    codes[:, :rows] = matrix.codes.T
    values = _pack_bits(codes.reshape(columns, groups, matrix.group), matrix.bits)
    zeros: Array | None = np.ascontiguousarray(matrix.zeros.T)
    if (matrix.zeros == 2 ** (matrix.bits - 1)).all():
        zeros = None
    elif ((matrix.zeros >= 0) & (matrix.zeros == matrix.zeros.astype(np.uint8))).all():
        zeros = _pack_bits(matrix.zeros.T.astype(np.uint8), matrix.bits)
    scales = np.ascontiguousarray(matrix.scales.T)
    return Packed(values, scales, zeros, matrix.bits, matrix.group)


def unpack(packed: Packed, rows: int) -> Quantized:
    """Return the matrix [rows, N] of a node's constants, flat ones too, as some tools write."""
    bits, group = packed.bits, packed.group
    groups = -(-rows // group)
    scales = packed.scales.astype(np.float32).reshape(-1, groups)
    columns = len(scales)
    codes = _unpack_bits(packed.values.reshape(columns, groups, -1), bits)[..., :group]
    if packed.zeros is None:
        zeros = np.full_like(scales, 2 ** (bits - 1))
    elif packed.zeros.dtype == np.uint8:
        zeros = _unpack_bits(packed.zeros.reshape(columns, -1), bits)[:, :groups]
    else:
        zeros = packed.zeros.reshape(-1, groups)
    flat = codes.reshape(columns, -1)[:, :rows]
    return Quantized(
        np.ascontiguousarray(flat.T),
        np.ascontiguousarray(scales.T),
        np.ascontiguousarray(zeros.T.astype(np.float32)),
        bits,
        group,
    )


def _pack_bits(codes: Array, bits: int) -> Array:
    """Return codes of the last axis one after another, the first in the lowest bits."""
    if bits == 8:
        return np.ascontiguousarray(codes)
    each = (codes[..., None] >> np.arange(bits, dtype=np.uint8)) & np.uint8(1)
    flat = each.reshape(*codes.shape[:-1], -1)
    return np.packbits(flat, axis=-1, bitorder="little")


def _unpack_bits(values: Array, bits: int) -> Array:
    if bits == 8:
        return values
    flat = np.unpackbits(values, axis=-1, bitorder="little")
    whole = flat[..., : flat.shape[-1] // bits * bits]
    each = whole.reshape(*values.shape[:-1], -1, bits)
    codes: Array = (each << np.arange(bits, dtype=np.uint8)).sum(-1, dtype=np.uint8)
    return codes
