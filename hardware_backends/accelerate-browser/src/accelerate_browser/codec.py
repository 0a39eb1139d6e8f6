# SPDX-License-Identifier: Apache-2.0
"""Messages to JSON and back, tensors to headers and bytes and back. Pure; strict when reading."""

from __future__ import annotations

import functools
import json
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import attrs
import cattrs
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
    data = _converter.unstructure(message)
    data["type"] = type(message).__name__
    return json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def decode_from_page(data: Buffer) -> messages.FromPage:
    """Read a message of a page; FrameError for anything else, unknown fields included."""
    return typing.cast("messages.FromPage", _decode(data, _FROM_PAGE))


def decode_from_host(data: Buffer) -> messages.FromHost:
    """Read a message of a host, as pages do; FrameError for anything else."""
    return typing.cast("messages.FromHost", _decode(data, _FROM_HOST))


_FROM_PAGE = {kind.__name__: kind for kind in typing.get_args(messages.FromPage)}
_FROM_HOST = {kind.__name__: kind for kind in typing.get_args(messages.FromHost)}


def _decode(data: Buffer, kinds: Mapping[str, type]) -> Any:
    try:
        plain = _decoder.decode(_text(data))
        kind = kinds[plain.pop("type")]
        return _converter.structure(plain, kind)
    except RecursionError:
        raise FrameError("JSON nested too deeply") from None
    except Exception as error:
        raise FrameError(f"not a message: {type(error).__name__}: {error}"[:500]) from None


def _text(data: Buffer) -> str:
    text = str(data, "utf-8")
    if "\\ud" in text or "\\uD" in text:
        # An escaped half of a surrogate pair is valid JSON, and no text anyone can store.
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    return text


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


_decoder = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def _exactly(kind: type) -> Callable[[Any, Any], Any]:
    def check(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"{value!r:.80} is not {kind.__name__}")
        return value

    return check


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"{value!r:.80} is not a number")
    return float(value)


def _tuple_hook(hint: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    (item, _) = typing.get_args(hint)
    structure = converter.get_structure_hook(item)

    def read(value: Any, _: Any) -> Any:
        return tuple([structure(each, item) for each in _list(value, None)])

    return read


def _mapping_hook(hint: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    (_, item) = typing.get_args(hint)
    structure = None if item is Any else converter.get_structure_hook(item)

    def read(value: Any, _: Any) -> Any:
        _dict(value, None)
        return value if structure is None else {k: structure(v, item) for k, v in value.items()}

    return read


_list = _exactly(list)
_dict = _exactly(dict)


def _make() -> cattrs.Converter:
    """Build a converter that coerces nothing: "3" is no number, a string no list."""
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)
    for kind in (int, str, bool):
        converter.register_structure_hook(kind, _exactly(kind))
    converter.register_structure_hook(float, _number)
    factories: dict[Any, Any] = {tuple: _tuple_hook, Mapping: _mapping_hook}
    for origin, factory in factories.items():
        converter.register_structure_hook_factory(_is_generic(origin), factory)
    return converter


def _is_generic(origin: Any) -> Callable[[Any], bool]:
    return lambda hint: typing.get_origin(hint) is origin


_converter = _make()
