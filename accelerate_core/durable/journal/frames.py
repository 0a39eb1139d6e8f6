# SPDX-License-Identifier: Apache-2.0
"""Records as bytes, and bytes as records. Pure.

    file    header record*
    header  "accelJNL", version (u32), CRC-32 of both (u32)
    record  length of head (u32), length of body (u64), BLAKE2b-128 of all but itself, head, body
    head    JSON: what, job, value, meta, and of each tensor its place, name, dtype and shape
    body    the tensors, one after the other, each little-endian in C order

All numbers are little-endian. What does not have its checksum is damage: nothing from there on is
read, for where the next record begins is no longer known.
"""

from __future__ import annotations

import enum
import hashlib
import json
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from ...errors import Unsupported

if TYPE_CHECKING:
    from ...types import Array

    Buffer: TypeAlias = bytes | bytearray | memoryview

VERSION = 1

_MAGIC = b"accelJNL"
_HEADER = struct.Struct("<8sII")
_LENGTHS = struct.Struct("<IQ")
_DIGEST_BYTES = 16
HEADER_BYTES = _HEADER.size
FRAME_BYTES = _LENGTHS.size + _DIGEST_BYTES

#: Kinds of numpy dtypes that are plain numbers: bool, integers, floats, complex.
_NUMBERS = "biufc"


class What(enum.StrEnum):
    """What a record says."""

    VALUE = "value"  #: something that other records refer to, such as a model
    ACCEPTED = "accepted"
    FINISHED = "finished"
    FAILED = "failed"
    FORGOTTEN = "forgotten"  #: acknowledged, or no longer wanted


@attrs.frozen(kw_only=True, eq=False)
class Record:
    """Say one thing about a job, or (`VALUE`) hold what several records share."""

    what: What
    job: str = ""
    #: Of a VALUE its own id; else the id of the value it refers to.
    value: str = ""
    meta: Mapping[str, Any] = attrs.field(factory=dict)  #: JSON values
    tensors: Mapping[str, Array] = attrs.field(factory=dict)


@attrs.frozen
class Span:
    """Say where in the file a record lies."""

    start: int
    size: int

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.start + self.size


def header() -> bytes:
    """Return what a file begins with."""
    begin = _HEADER.pack(_MAGIC, VERSION, 0)[:-4]
    return begin + struct.pack("<I", zlib.crc32(begin))


def version_of(data: Buffer) -> int | None:
    """Return the version of the file that begins so; None for one that is damaged or foreign."""
    if len(data) < HEADER_BYTES:
        return None
    magic, version, check = _HEADER.unpack_from(data)
    is_whole = magic == _MAGIC and check == zlib.crc32(bytes(data[: HEADER_BYTES - 4]))
    return version if is_whole else None


def encode(record: Record) -> list[Buffer]:
    """Return a record as pieces to write one after the other; tensors are not copied.

    Unsupported for tensors that are no arrays of numbers.
    """
    import numpy as np

    pieces: list[Buffer] = []
    places = []
    for name, array in record.tensors.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in _NUMBERS:
            raise Unsupported(
                f"the tensor {name!r} cannot be written down: "
                f"it is {getattr(array, 'dtype', type(array).__name__)}",
                accepted=("numpy arrays of numbers",),
                hint="A tensor that stayed on a worker is fetched first.",
            )
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        places.append([name, plain.dtype.str, list(array.shape)])
        pieces.append(plain.reshape(-1).view(np.uint8).data if plain.size else b"")
    head = json.dumps(
        [record.what, record.job, record.value, record.meta, places],
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode("utf-8", "surrogatepass")
    lengths = _LENGTHS.pack(len(head), sum(map(len, pieces)))
    return [lengths + _digest(lengths, head, *pieces) + head, *pieces]


def read(data: Buffer, start: int) -> tuple[Record, Span] | None:
    """Return the record that begins at `start` and where it lies; None where it is not whole."""
    import numpy as np

    view = memoryview(data)[start:]
    if len(view) < FRAME_BYTES:
        return None
    head_bytes, body_bytes = _LENGTHS.unpack_from(view)
    size = FRAME_BYTES + head_bytes + body_bytes
    if size > len(view):
        return None
    digest = view[_LENGTHS.size : FRAME_BYTES]
    if _digest(view[: _LENGTHS.size], view[FRAME_BYTES:size]) != digest:
        return None
    body_at = FRAME_BYTES + head_bytes
    head = bytes(view[FRAME_BYTES:body_at]).decode("utf-8", "surrogatepass")
    what, job, value, meta, places = json.loads(head)
    tensors = {}
    for name, dtype, shape in places:
        kind = np.dtype(dtype)
        length = math.prod(shape)
        # Copied: the file may be replaced, and callers may write to their arrays.
        flat = np.frombuffer(view, kind, length, body_at) if length else np.empty(0, kind)
        tensors[name] = flat.reshape(shape).astype(kind.newbyteorder("="))
        body_at += length * kind.itemsize
    record = Record(what=What(what), job=job, value=value, meta=meta, tensors=tensors)
    return record, Span(start, size)


def scan(data: Buffer) -> Iterator[tuple[Record, Span]]:
    """Yield the records of a file in order, up to its end or its first damage."""
    start = HEADER_BYTES
    while (found := read(data, start)) is not None:
        yield found
        start = found[1].end


def _digest(*pieces: Buffer) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
