# SPDX-License-Identifier: Apache-2.0
"""The plan: what an interpreter replays, and its file. The format is written down in docs/plan.md.

File: 8 bytes `ACPLAN01`, 32 bytes SHA-256 of all that follows, 4 bytes length of the header
(little-endian), the header (JSON, UTF-8, padded with spaces to 16 bytes), the data section.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any, Literal

import attrs
import cattrs

from accelerate_core.errors import ModelError

MAGIC = b"ACPLAN01"
VERSION = 1
_PREFIX = len(MAGIC) + 32 + 4
_PAD = 16
_CONVERTER = cattrs.Converter(forbid_extra_keys=True)


@attrs.frozen
class Slice:
    """A part of a buffer, in bytes; offset and size are multiples of 4."""

    buffer: int
    offset: int
    size: int


@attrs.frozen(kw_only=True)
class Buffer:
    """A GPU buffer. `offset` says where its first bytes come from."""

    #: arena: activations, uninitialised; weights: filled from the weights file at `offset`;
    #: constants: filled from the data section at `offset`; spare: what optional operands get.
    role: Literal["arena", "weights", "constants", "spare"]
    size: int
    offset: int = 0


@attrs.frozen(kw_only=True)
class Pipeline:
    """A compiled kernel: two plans share it when all of this is equal."""

    name: str  #: "<operation>/<variant>"
    source: str = attrs.field(repr=False)  #: WGSL; the entry point is `main`
    #: Access of the storage bindings 1, 2, ...: "read" or "read_write". 0 is the uniform.
    bindings: tuple[str, ...]
    constants: Mapping[str, float] = attrs.field(factory=dict)
    features: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Dispatch:
    """Run a pipeline."""

    pipeline: int
    params: tuple[int, int]  #: offset and size in the params, the first bytes of the data section
    bindings: tuple[Slice, ...]
    grid: tuple[int, int, int]
    label: str = ""
    flops: int = 0


@attrs.frozen(kw_only=True)
class Slot:
    """Where an input is written, or an output read."""

    name: str
    dtype: str  #: numpy name of the caller's tensor
    shape: tuple[int, ...]
    #: Elements on the device; int64 and bool are converted to i32 on the way in, and back.
    stored: Literal["f32", "i32", "u32"]
    place: Slice


@attrs.frozen(kw_only=True)
class Plan:
    """Hold everything an interpreter needs but the weights."""

    name: str
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    buffers: tuple[Buffer, ...]
    pipelines: tuple[Pipeline, ...]
    dispatches: tuple[Dispatch, ...]
    params_bytes: int  #: a multiple of 256; each block starts at one
    weights_bytes: int = 0  #: size of the weights file, 0 when there is none
    weights_sha256: str | None = None
    #: Facts that change no result: dimensions, source model, compiler, peak of live bytes.
    about: Mapping[str, Any] = attrs.field(factory=dict)
    #: Params, then constants. Not in the header.
    data: bytes = attrs.field(default=b"", repr=False)


def write_plan(plan: Plan) -> bytes:
    """Return the file."""
    header: dict[str, Any] = _CONVERTER.unstructure(plan)
    del header["data"]
    text = json.dumps({"version": VERSION, **header}, separators=(",", ":")).encode()
    text += b" " * (-(_PREFIX + len(text)) % _PAD)
    body = struct.pack("<I", len(text)) + text + plan.data
    return MAGIC + hashlib.sha256(body).digest() + body


def read_plan(file: bytes, *, where: str = "") -> Plan:
    """Return the plan; ModelError for another version, a damaged file or none at all."""
    hint = "Compile the model again: accel models compile."
    if file[: len(MAGIC)] != MAGIC:
        what = "a plan of another version" if file[:6] == MAGIC[:6] else "no plan"
        raise ModelError(f"this is {what}", where=where, accepted=(MAGIC.decode(),), hint=hint)
    body = file[len(MAGIC) + 32 :]
    if hashlib.sha256(body).digest() != file[len(MAGIC) : len(MAGIC) + 32]:
        raise ModelError("the plan is damaged: its hash is another", where=where, hint=hint)
    (size,) = struct.unpack_from("<I", body)
    header = json.loads(body[4 : 4 + size])
    if (version := header.pop("version", None)) != VERSION:
        raise ModelError(f"version {version} of the format", where=where, hint=hint)
    try:
        return _CONVERTER.structure({**header, "data": body[4 + size :]}, Plan)
    except Exception as error:  # cattrs raises groups of whatever went wrong
        faults = "; ".join(cattrs.transform_error(error, path="header"))
        raise ModelError(f"the plan's header is wrong: {faults}", where=where, hint=hint) from error
