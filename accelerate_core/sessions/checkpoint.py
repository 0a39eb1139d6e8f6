# SPDX-License-Identifier: Apache-2.0
"""What a stateful model carries from run to run, and that state as bytes.

A model is stateful when `ModelSpec.metadata["state"]` names, for every state input, the output
that is its next value: `{"h_in": "h_out"}`. Both have one dtype.

A checkpoint is `accstate`, a version (uint32), the SHA-256 of all that follows, the length of a
JSON header (uint32), the header, and raw tensors in C order; every number is little-endian.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import ModelError
from ..inputs import describe
from ..types import ModelSpec, TensorRef, TensorSpec

if TYPE_CHECKING:
    from ..types import Array

VERSION = 1
_MAGIC = b"accstate"
_START = struct.Struct("<8sI32s")
_LENGTH = struct.Struct("<I")


@attrs.frozen(kw_only=True, eq=False)
class Checkpoint:
    """Hold a session's state between two runs; no tensors before the first."""

    model: str  #: hash of the model
    runs: int  #: runs it has seen
    tensors: Mapping[str, Array]  #: by the state input each is for


def state_pairs(spec: ModelSpec) -> dict[str, str]:
    """Return the state outputs by the inputs they feed; ModelError where there is no state."""
    pairs = spec.metadata.get("state")
    where = f"model {spec.name}"
    if not isinstance(pairs, Mapping) or not pairs:
        raise ModelError(
            "it carries no state from run to run, or does not say which output feeds which input",
            where=where,
            accepted=[describe(one) for one in (*spec.inputs, *spec.outputs)],
            hint='If it does, say so: session(model, state={"<input>": "<output>"}).',
        )
    inputs = {one.name: one for one in spec.inputs}
    outputs = {one.name: one for one in spec.outputs}
    for source, target in pairs.items():
        into, out = inputs.get(source), outputs.get(target)
        if into is None or out is None or into.dtype != out.dtype:
            raise ModelError(
                f"its state {source!r} <- {target!r} is no input and output of one dtype",
                where=where,
                accepted=[describe(one) for one in (*spec.inputs, *spec.outputs)],
            )
    return dict(pairs)


def first_state(spec: ModelSpec, inputs: Mapping[str, Array | TensorRef]) -> dict[str, Array]:
    """Return zeros for every state input, sized by the inputs of the first run.

    A free dimension that no other input has is 0: the past of a decoder is empty at first.
    """
    import numpy as np

    pairs = state_pairs(spec)
    sizes: dict[str, Any] = {}
    for tensor in spec.inputs:
        value = inputs.get(tensor.name)
        if tensor.name in pairs or value is None:
            continue
        # What is no array or of another rank is for check_inputs to refuse.
        shape = value.spec.shape if isinstance(value, TensorRef) else getattr(value, "shape", ())
        sizes.update(zip(map(str, tensor.shape), shape, strict=False))
    return {
        tensor.name: np.zeros(
            [size if isinstance(size, int) else sizes.get(size, 0) for size in tensor.shape],
            dtype=tensor.dtype,
        )
        for tensor in spec.inputs
        if tensor.name in pairs
    }


def pack(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as bytes that any host can read."""
    import numpy as np

    headers, parts = [], []
    for name, array in checkpoint.tensors.items():
        headers.append({"name": name, "dtype": array.dtype.name, "shape": list(array.shape)})
        parts.append(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    told = {"model": checkpoint.model, "runs": checkpoint.runs, "tensors": headers}
    header = json.dumps(told).encode()
    body = b"".join([_LENGTH.pack(len(header)), header, *parts])
    return _START.pack(_MAGIC, VERSION, hashlib.sha256(body).digest()) + body


def unpack(data: bytes, spec: ModelSpec) -> Checkpoint:
    """Read a checkpoint of a model; ModelError for any other bytes, or those of another model."""
    if len(data) < _START.size or data[: len(_MAGIC)] != _MAGIC:
        raise _refused("these bytes are no checkpoint", spec)
    _, version, checksum = _START.unpack_from(data)
    if version != VERSION:
        raise _refused(f"the checkpoint is of version {version}, this reads {VERSION}", spec)
    body = memoryview(data)[_START.size :]
    if hashlib.sha256(body).digest() != checksum:
        raise _refused("the checkpoint is damaged or cut off", spec)
    # What has the right checksum was written here.
    (length,) = _LENGTH.unpack_from(body)
    header = json.loads(bytes(body[_LENGTH.size : _LENGTH.size + length]))
    if header["model"] != spec.sha256:
        raise _refused("the checkpoint is of another model", spec)
    tensors = _tensors(body[_LENGTH.size + length :], header["tensors"])
    _check(tensors, spec)
    return Checkpoint(model=header["model"], runs=header["runs"], tensors=tensors)


def _tensors(data: memoryview, headers: list[dict[str, Any]]) -> dict[str, Array]:
    import numpy as np

    offset = 0
    tensors: dict[str, Array] = {}
    for header in headers:
        dtype, count = np.dtype(header["dtype"]), math.prod(header["shape"])
        flat = np.frombuffer(data, dtype.newbyteorder("<"), count, offset)
        tensors[header["name"]] = flat.reshape(header["shape"]).astype(dtype)
        offset += count * dtype.itemsize
    return tensors


def _check(tensors: Mapping[str, Array], spec: ModelSpec) -> None:
    wanted = {name: _input(spec, name) for name in state_pairs(spec)}
    if tensors and set(tensors) != set(wanted):
        raise _refused("the checkpoint holds the state of other inputs", spec)
    for name, array in tensors.items():
        if (array.dtype.name, array.ndim) != (wanted[name].dtype, len(wanted[name].shape)):
            raise _refused(f"the checkpoint has another dtype or shape for {name!r}", spec)


def _input(spec: ModelSpec, name: str) -> TensorSpec:
    return next(one for one in spec.inputs if one.name == name)


def _refused(message: str, spec: ModelSpec) -> ModelError:
    return ModelError(
        message,
        where=f"session of {spec.name}",
        accepted=(f"what checkpoint() returned for {spec.name} ({spec.sha256[:12]})",),
        hint="Open a new session, or restore from an older checkpoint.",
    )
