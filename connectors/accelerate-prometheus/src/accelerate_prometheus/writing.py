# SPDX-License-Identifier: Apache-2.0
"""Samples as the body of a remote write request. Pure.

"Prometheus Remote-Write 1.0 specification", part "Protobuf": four messages of strings, a double and
an integer. They are written by hand: protobuf would bring 20 lines of generated code bound to its
version, and a runtime, for what is 20 lines.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import cramjam

from .samples import Labels, Sample, with_labels

#: Wire types of "Encoding" in the documentation of Protocol Buffers.
_VARINT, _DOUBLE, _BYTES = 0, 1, 2


def body(samples: Iterable[Sample], more: Labels) -> bytes:
    """Return a WriteRequest in Snappy's block format; `more` are labels of all samples."""
    request = b"".join(_message(1, _time_series(one, more)) for one in samples)
    return bytes(cramjam.snappy.compress_raw(request))


def _time_series(sample: Sample, more: Labels) -> bytes:
    # The specification wants labels sorted, the name being one of them, and none empty.
    labels = with_labels(sample.labels, (*more, ("__name__", sample.name)))
    pairs = (_text(1, name) + _text(2, value) for name, value in labels)
    moment = round(sample.at.timestamp() * 1000)
    value = _key(1, _DOUBLE) + struct.pack("<d", sample.value) + _key(2, _VARINT) + _varint(moment)
    return b"".join(_message(1, pair) for pair in pairs) + _message(2, value)


def _message(field: int, content: bytes) -> bytes:
    return _key(field, _BYTES) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _key(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _varint(number: int) -> bytes:
    # A negative int64, a time before 1970, is written as two's complement.
    number &= (1 << 64) - 1
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)
