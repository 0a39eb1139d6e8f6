# SPDX-License-Identifier: Apache-2.0
"""Judge a model's inputs before anything runs, and make inputs of a given size."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import ModelError, Unsupported, did_you_mean
from .types import ModelSpec, TensorRef, TensorSpec

if TYPE_CHECKING:
    from .types import Array

#: Names of free dimensions that say nothing, so that two of them need not be equal.
_ANONYMOUS = ("", "?")


def describe(spec: TensorSpec) -> str:
    """Return a tensor's text form, e.g. `input_ids: int64[batch, sequence]`."""
    return f"{spec.name}: {spec.dtype}[{', '.join(str(size or '?') for size in spec.shape)}]"


def check_inputs(spec: ModelSpec, inputs: Mapping[str, Array | TensorRef]) -> None:
    """Refuse inputs whose names, dtypes, ranks or dimensions are not what the model takes.

    A free dimension may have any size, but the same size wherever its name occurs. A TensorRef is
    judged by its spec. ModelError names the first fault and lists all accepted inputs.
    """
    fault, hint = _fault(spec, inputs)
    if fault:
        raise ModelError(
            fault,
            where=f"inputs of {spec.name}",
            accepted=[describe(tensor) for tensor in spec.inputs],
            hint=hint,
        )


def own_copy(name: str, value: Array) -> Array:
    """Return a copy of an input that is kept: the caller may write into his own.

    Unsupported for a tensor that is on a worker, and lost with it.
    """
    if isinstance(value, TensorRef):
        raise Unsupported(
            f"input {name!r} is a tensor on a worker, and is needed again when that is lost",
            accepted=("arrays",),
            hint="Fetch it first.",
        )
    return value.copy() if hasattr(value, "copy") else value


def zero_inputs(spec: ModelSpec, dimensions: Mapping[str, int]) -> dict[str, Array]:
    """Return zeros of every input's dtype and shape; a free dimension not given is 1."""
    import numpy as np

    return {
        tensor.name: np.zeros(
            [size if isinstance(size, int) else dimensions.get(size, 1) for size in tensor.shape],
            dtype=tensor.dtype,
        )
        for tensor in spec.inputs
    }


def _fault(
    spec: ModelSpec, inputs: Mapping[str, Array | TensorRef]
) -> tuple[str | None, str | None]:
    known = [tensor.name for tensor in spec.inputs]
    for name in inputs:
        if name not in known:
            return f"there is no input {name!r}", did_you_mean(name, known)
    for name in known:
        if name not in inputs:
            return f"input {name!r} is missing", None
    sizes: dict[str, tuple[int, str]] = {}
    for tensor in spec.inputs:
        fault, hint = _tensor_fault(tensor, inputs[tensor.name], sizes)
        if fault:
            return fault, hint
    return None, None


@functools.lru_cache
def _name(dtype: Any) -> str:
    """Return a dtype's name, which numpy builds anew at each call."""
    name: str = dtype.name
    return name


def _tensor_fault(
    tensor: TensorSpec, value: Any, sizes: dict[str, tuple[int, str]]
) -> tuple[str | None, str | None]:
    if isinstance(value, TensorRef):
        dtype, shape = value.spec.dtype, value.spec.shape
    elif not hasattr(value, "dtype") or not hasattr(value, "shape"):
        return f"input {tensor.name!r} is a {type(value).__name__}, not an array", (
            f'Wrap it: numpy.asarray(value, dtype="{tensor.dtype}").'
        )
    elif not value.dtype.isnative:
        return f"input {tensor.name!r} has the byte order of another machine", (
            f'Convert it: array.astype("{tensor.dtype}").'
        )
    else:
        dtype, shape = _name(value.dtype), value.shape
    if dtype != tensor.dtype:
        return f"input {tensor.name!r} has dtype {dtype}, not {tensor.dtype}", (
            f'Convert it: array.astype("{tensor.dtype}").'
        )
    if len(shape) != len(tensor.shape):
        return (
            f"input {tensor.name!r} has {len(shape)} dimensions {tuple(shape)}, "
            f"not {len(tensor.shape)}"
        ), None
    for axis, (size, wanted) in enumerate(zip(shape, tensor.shape, strict=True)):
        if isinstance(wanted, int):
            if size != wanted:
                return f"input {tensor.name!r} has {size} in dimension {axis}, not {wanted}", None
        elif wanted not in _ANONYMOUS and isinstance(size, int):
            first, where = sizes.setdefault(wanted, (size, tensor.name))
            if size != first:
                return (
                    f"dimension {wanted!r} is {size} in input {tensor.name!r} "
                    f"and {first} in {where!r}"
                ), None
    return None, None
