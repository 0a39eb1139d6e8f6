# SPDX-License-Identifier: Apache-2.0
"""Reading safetensors: one file or shards, a tensor at a time, never all in memory."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from accelerate_core.errors import ModelError

from .files import SourceFiles, check_inside

if TYPE_CHECKING:
    from accelerate_core.types import Array

_SINGLE = "model.safetensors"
_SHARDED = "model.safetensors.index.json"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
#: How the accepted dtypes lie in the file. bfloat16 is no numpy dtype: its bits are widened.
_STORED = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@attrs.frozen
class StoredTensor:
    """Name one tensor and the bytes that hold it."""

    path: Path
    name: str
    dtype: str  #: as safetensors writes it: "F32", "BF16", ...
    shape: tuple[int, ...]
    offset: int  #: bytes from the start of the file
    size_bytes: int

    def read(self, dtype: str) -> Array:
        """Return the tensor as "float32" or "float16"; a view of the file where it can be.

        ModelError when a value does not fit into float16.
        """
        count = int(np.prod(self.shape, dtype=np.int64))
        stored: Array
        if count:
            stored = np.memmap(
                self.path, _STORED[self.dtype], mode="r", offset=self.offset, shape=(count,)
            )
        else:
            stored = np.empty(0, _STORED[self.dtype])
        if self.dtype == "BF16":
            stored = (stored.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):
            values = stored.astype(dtype, copy=False)
        if dtype == "float16" and self.dtype != "F16" and not np.isfinite(values).all():
            raise ModelError(
                f"{self.name} has values that float16 cannot hold",
                where=str(self.path),
                accepted=("fp32",),
                hint="Use precision fp32 for this model.",
            )
        return values.reshape(self.shape)


class Checkpoint:
    """Find tensors by name, checked against what the configuration promises."""

    def __init__(self, directory: Path, tensors: Sequence[StoredTensor], prefix: str = "") -> None:
        self._directory = directory
        self._tensors = {tensor.name: tensor for tensor in tensors}
        # A checkpoint saved with a task head keeps its base model under a prefix ("bert.").
        self._prefix = prefix if any(name.startswith(prefix) for name in self._tensors) else ""
        self._used: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether there is a tensor of that name, in the base model or in a task head."""
        return self._find(name) is not None

    def _find(self, name: str) -> StoredTensor | None:
        return self._tensors.get(self._prefix + name) or self._tensors.get(name)

    def tensor(self, name: str, shape: tuple[int, ...]) -> StoredTensor:
        """Return a tensor of this shape; ModelError when missing, misshapen or of a wrong dtype."""
        tensor = self._find(name)
        if tensor is None:
            raise ModelError(
                f"tensor {self._prefix + name!r} is missing",
                where=str(self._directory),
                hint="config.json and the weights do not belong together, or a shard is missing.",
            )
        if tensor.shape != shape:
            raise ModelError(
                f"tensor {tensor.name!r} has shape {list(tensor.shape)}",
                where=str(tensor.path),
                accepted=(f"{list(shape)}, as config.json says",),
                hint="config.json and the weights do not belong together.",
            )
        if tensor.dtype not in _STORED:
            raise ModelError(
                f"tensor {tensor.name!r} has dtype {tensor.dtype}",
                where=str(tensor.path),
                accepted=tuple(_STORED),
                hint="Use a checkpoint that is not quantized, or bring an ONNX file: file:PATH.",
            )
        self._used.add(tensor.name)
        return tensor

    @property
    def unused(self) -> tuple[str, ...]:
        """Names of tensors the graph did not ask for: a pooler or a task head, for example."""
        return tuple(sorted(self._tensors.keys() - self._used))


def open_checkpoint(directory: Path, files: SourceFiles, prefix: str) -> Checkpoint:
    """Read the headers of a directory's safetensors.

    ModelError when there are none, when a header lies about its sizes, or when a shard is missing.
    """
    if files.has(directory / _SINGLE):
        names: Sequence[str] = (_SINGLE,)
    elif files.has(directory / _SHARDED):
        names = shard_names(directory / _SHARDED, files)
    else:
        raise no_weights((path.name for path in directory.iterdir()), str(directory))
    tensors = [
        tensor
        for name in names
        for tensor in _read_header(
            files.require(directory / name, "Download the missing shard again.")
        )
    ]
    return Checkpoint(directory, tensors, prefix)


def no_weights(names: Iterable[str], where: str) -> ModelError:
    """Return the error for a folder of these files, none of which is a safetensors file."""
    pickled = sorted(name for name in names if name.endswith(_PICKLED))
    reason = (
        f"{', '.join(pickled)}: pickled weights run code when read, so they are refused"
        if pickled
        else "there are no weights"
    )
    return ModelError(
        reason,
        where=where,
        accepted=(_SINGLE, _SHARDED),
        hint="Convert them where you trust them: "
        "AutoModel.from_pretrained(DIR).save_pretrained(DIR, safe_serialization=True)",
    )


def shard_names(index: Path, files: SourceFiles) -> Sequence[str]:
    """Return the files an index of shards names; ModelError when one leaves its folder."""
    weights = files.json_object(index).get("weight_map")
    if not isinstance(weights, dict) or not all(isinstance(n, str) for n in weights.values()):
        raise ModelError("it has no weight_map of tensor to file", where=str(index))
    return [check_inside(name, index) for name in sorted(set(weights.values()))]


def _read_header(path: Path) -> list[StoredTensor]:
    from safetensors import SafetensorError, safe_open

    try:
        # The library judges the header: sizes, overlaps, overflows, limits.
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"this is not a sound safetensors file: {error}",
            where=str(path),
            hint="Download the file again; it may be truncated.",
        ) from error
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return [
        StoredTensor(
            path,
            name,
            entry["dtype"],
            tuple(entry["shape"]),
            8 + length + entry["data_offsets"][0],
            entry["data_offsets"][1] - entry["data_offsets"][0],
        )
        for name, entry in header.items()
    ]
