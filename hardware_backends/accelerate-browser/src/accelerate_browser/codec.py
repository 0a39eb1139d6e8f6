# SPDX-License-Identifier: Apache-2.0
"""Messages to JSON and back, tensors to headers and bytes and back. Pure; strict when reading."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import attrs
import msgspec
import numpy as np

from . import messages
from .frames import INLINE_BYTES, MAX_STREAMS, MAX_TENSOR_BYTES, Buffer, FrameError, aligned
from .messages import TensorHeader

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: Types a tensor may have on the wire: what pages, ONNX and numpy all know.
DTYPES = frozenset(
    [
        "bool",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
        "float16",
        "float32",
        "float64",
    ]
)

Message: TypeAlias = messages.FromPage | messages.FromHost
M = TypeVar("M")


@attrs.frozen
class Raw:
    """Hold a tensor as it crosses: relayed from page to page without a look inside."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview


@attrs.frozen
class OnPage:
    """Stand for a tensor that is on the receiving page already."""

    ref: str
    dtype: str
    shape: tuple[int, ...]


Sendable: TypeAlias = "Array | Raw | OnPage"


@attrs.frozen
class Packed:
    """Hold headers for a message, and the bytes that go in it and after it."""

    headers: tuple[TensorHeader, ...]
    inline: tuple[Buffer, ...]
    streams: tuple[tuple[int, Buffer], ...]


# --- tensors ----------------------------------------------------------------------------------


def pack(tensors: Mapping[str, Sendable], next_stream: Callable[[], int]) -> Packed:
    """Lay tensors out: inline when they are small together, as streams otherwise.

    An empty tensor is always inline. FrameError for a dtype, size or number that cannot cross.
    """
    raws = {name: _raw(tensor) for name, tensor in tensors.items()}
    is_small = fits_inline(tensors)
    headers: list[TensorHeader] = []
    inline: list[Buffer] = []
    streams: list[tuple[int, Buffer]] = []
    offset = 0
    for name, raw in raws.items():
        place: dict[str, Any]
        if isinstance(raw, OnPage):
            size, place = size_of(raw.dtype, raw.shape), {"ref": raw.ref}
        elif is_small or not len(raw.data):
            size, place = len(raw.data), {"offset": offset}
            inline.append(raw.data)
            offset += aligned(size)
        else:
            size, place = len(raw.data), {"stream": next_stream()}
            streams.append((place["stream"], raw.data))
        headers.append(
            TensorHeader(name=name, dtype=raw.dtype, shape=raw.shape, size_bytes=size, **place)
        )
    if len(streams) > MAX_STREAMS:
        raise FrameError(f"{len(streams)} large tensors in one message; {MAX_STREAMS} fit")
    return Packed(tuple(headers), tuple(inline), tuple(streams))


def fits_inline(tensors: Mapping[str, Sendable]) -> bool:
    """Whether tensors are small enough together to travel inside their message."""
    return sum(aligned(_bytes(tensor)) for tensor in tensors.values()) <= INLINE_BYTES


def _bytes(tensor: Sendable) -> int:
    if isinstance(tensor, OnPage):
        return 0
    return len(tensor.data) if isinstance(tensor, Raw) else tensor.nbytes


def _raw(tensor: Sendable) -> Raw | OnPage:
    if isinstance(tensor, (Raw, OnPage)):
        return tensor
    name, little = _on_wire(tensor.dtype)
    size_of(name, tensor.shape)
    # A view as bytes first: float16 and bool have no buffer format that casts.
    data = np.ascontiguousarray(tensor, little).reshape(-1).view(np.uint8).data
    return Raw(name, tensor.shape, data)


@functools.lru_cache
def _on_wire(dtype: np.dtype[Any]) -> tuple[str, np.dtype[Any]]:
    """Return a dtype's name and its little-endian twin; numpy makes both anew at each call."""
    return dtype.name, dtype.newbyteorder("<")


@functools.lru_cache
def _item_bytes(dtype: str) -> int:
    return np.dtype(dtype).itemsize


def size_of(dtype: str, shape: Sequence[int]) -> int:
    """Return the bytes of a tensor; FrameError for one that cannot cross."""
    if dtype not in DTYPES:
        raise FrameError(f"dtype {dtype!r} cannot cross")
    if any(size < 0 for size in shape):
        raise FrameError(f"shape {tuple(shape)} has a negative size")
    size = math.prod(shape) * _item_bytes(dtype)
    if size > MAX_TENSOR_BYTES:
        raise FrameError(f"a tensor of {size} bytes exceeds {MAX_TENSOR_BYTES}")
    return size


def check_header(header: TensorHeader, inline_bytes: int) -> None:
    """Refuse a header that contradicts itself or its message's inline bytes, by FrameError."""
    if size_of(header.dtype, header.shape) != header.size_bytes:
        raise FrameError(f"tensor {header.name!r}: size, shape and dtype disagree")
    if [header.offset, header.stream, header.ref].count(None) != 2:
        raise FrameError(f"tensor {header.name!r} is not in exactly one place")
    if header.offset is not None and (
        header.offset < 0
        or header.offset != aligned(header.offset)
        or header.offset + header.size_bytes > inline_bytes
    ):
        raise FrameError(f"tensor {header.name!r} lies outside its message")


def to_array(raw: Raw) -> Array:
    """Return a writable array; it shares the bytes when those are writable."""
    array = np.frombuffer(raw.data, np.dtype(raw.dtype).newbyteorder("<")).reshape(raw.shape)
    if raw.data.readonly:
        return array.astype(raw.dtype)
    return array.astype(raw.dtype, copy=False)


# --- messages ---------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """Return a message's JSON."""
    return _encoder.encode(message)


def decode_from_page(data: Buffer) -> messages.FromPage:
    """Read a message of a page; FrameError for anything else, unknown fields included."""
    return _decode(_from_page, data)


def decode_from_host(data: Buffer) -> messages.FromHost:
    """Read a message of a host, as pages do; FrameError for anything else."""
    return _decode(_from_host, data)


_encoder = msgspec.json.Encoder()
_from_page: msgspec.json.Decoder[messages.FromPage] = msgspec.json.Decoder(messages.FromPage)
_from_host: msgspec.json.Decoder[messages.FromHost] = msgspec.json.Decoder(messages.FromHost)


def _decode(decoder: msgspec.json.Decoder[M], data: Buffer) -> M:
    try:
        return decoder.decode(data)
    except RecursionError:
        raise FrameError("JSON nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameError(f"not a message: {error}"[:500]) from None
