# SPDX-License-Identifier: Apache-2.0
"""The frame codec: one WebSocket binary message is one frame. Pure; bytes in, bytes out.

Little-endian header of 16 bytes, then the payload:

    offset  type  field
    0       u8    magic 0xAC
    1       u8    version 1
    2       u8    kind: 1 = message, 2 = chunk
    3       u8    flags: bit 0 = last chunk of its stream
    4       u32   message: length of the JSON; chunk: stream number
    8       u64   message: length of the inline tensor bytes; chunk: byte offset in its stream

A message's payload is JSON, zero padding to a multiple of 8, and the inline tensor bytes. A
chunk's payload is raw bytes. Tensors of at most INLINE_BYTES in total travel inside their
message; larger ones follow as streams of chunks, in order, with other frames between.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import attrs

MAGIC = 0xAC
VERSION = 1
HEADER_BYTES = 16
KIND_MESSAGE = 1
KIND_CHUNK = 2
FLAG_LAST = 1
#: Inline tensor bytes and each tensor in them start at a multiple of this.
ALIGNMENT = 8

CHUNK_BYTES = 1 << 20
INLINE_BYTES = 256 << 10
MAX_FRAME_BYTES = 2 << 20
MAX_JSON_BYTES = 1 << 20
MAX_TENSOR_BYTES = 4 << 30
MAX_STREAMS = 64
