# SPDX-License-Identifier: Apache-2.0
"""Steps that many lowerings make: copies with strides, and operands that share no memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from accelerate_core.errors import Unsupported

from ..codes import Unary
from ..kernels import Scalar
from ..params import Value
from ..program import ProgramBuilder, Shape, Tensor

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: A view may be bound only where it starts at a multiple of this.
VIEW_ELEMENTS = 64
_COPY_AXES = 8
_AXES = 4


def strides_of(shape: Shape) -> tuple[int, ...]:
    """Return the strides, in elements, of a contiguous tensor; 0 for axes of size 1."""
    found = [0] * len(shape)
    step = 1
    for axis in reversed(range(len(shape))):
        found[axis] = step if shape[axis] != 1 else 0
        step *= shape[axis]
    return tuple(found)


def broadcast_strides(shape: Shape, to: Shape) -> tuple[int, ...]:
    """Return the strides with which a contiguous tensor is read as one of shape `to`."""
    return (0,) * (len(to) - len(shape)) + strides_of(shape)


def merged(
    shape: Sequence[int], *strides: Sequence[int]
) -> tuple[list[int], tuple[list[int], ...]]:
    """Return the same walk over memory with as few axes as can be: sizes, and all strides."""
    sizes: list[int] = []
    walks: tuple[list[int], ...] = tuple([] for _ in strides)
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        steps = [one[axis] for one in strides]
        if sizes and all(walk[-1] == step * size for walk, step in zip(walks, steps, strict=True)):
            sizes[-1] *= size
            for walk, step in zip(walks, steps, strict=True):
                walk[-1] = step
            continue
        sizes.append(size)
        for walk, step in zip(walks, steps, strict=True):
            walk.append(step)
    return sizes, walks


def padded(values: Sequence[int], length: int, fill: int) -> tuple[int, ...]:
    """Return values with `fill` in front, as many as make them `length`."""
    return (fill,) * (length - len(values)) + tuple(values)


def copy(
    out: ProgramBuilder,
    x: str,
    y: str,
    shape: Sequence[int],
    x_strides: Sequence[int],
    y_strides: Sequence[int],
    *,
    x_offset: int = 0,
    y_offset: int = 0,
    label: str = "",
) -> None:
    """Copy elements from x to y, both walked over `shape` with strides; nothing when it is empty.

    Unsupported when the walk has more than eight axes that cannot be merged.
    """
    if math.prod(shape) == 0:
        return
    sizes, (x_steps, y_steps) = merged(shape, x_strides, y_strides)
    if len(sizes) > _COPY_AXES:
        raise Unsupported(
            f"a copy over {len(sizes)} axes: {tuple(shape)}",
            where=label or None,
            accepted=(f"at most {_COPY_AXES} axes that do not lie together",),
        )
    sizes_8 = padded(sizes, _COPY_AXES, 1)
    x_8, y_8 = padded(x_steps, _COPY_AXES, 0), padded(y_steps, _COPY_AXES, 0)
    out.step(
        "copy",
        {"x": x, "y": y},
        {
            "shape_outer": sizes_8[:4],
            "shape_inner": sizes_8[4:],
            "x_strides_outer": x_8[:4],
            "x_strides_inner": x_8[4:],
            "y_strides_outer": y_8[:4],
            "y_strides_inner": y_8[4:],
            "x_offset": x_offset,
            "y_offset": y_offset,
            "count": math.prod(shape),
        },
        label=label,
    )


def duplicate(out: ProgramBuilder, operand: str, *, label: str = "") -> str:
    """Return a tensor with an operand's elements, in memory of its own."""
    shape, kind = shape_of(out, operand), kind_of(out, operand)
    made = out.tensor(shape, kind)
    copy(out, operand, made, shape, strides_of(shape), strides_of(shape), label=label)
    return made


def apart(out: ProgramBuilder, *operands: str, label: str = "") -> tuple[str, ...]:
    """Return operands of which no two share memory, as one dispatch needs them.

    A copy stands for what would: the same tensor twice, two views of it, equal constants (a plan
    stores them once).
    """
    found: list[str] = []
    for operand in operands:
        clashes = any(_shares(out, operand, other) for other in found)
        found.append(duplicate(out, operand, label=label) if clashes else operand)
    return tuple(found)


def fill(out: ProgramBuilder, y: str, value: float, *, label: str = "") -> None:
    """Set all elements of a tensor."""
    tensor = out.tensors[y]
    stored = np.array(value, np.float32 if tensor.type == "f32" else np.int32)
    if tensor.elements:
        given = {"count": tensor.elements, "value": int(stored.view(np.uint32))}
        out.step("fill", {"y": y}, given, label=label)


def unary(
    out: ProgramBuilder,
    operation: Unary,
    x: str,
    y: str,
    *,
    alpha: float = 0.0,
    beta: float = 0.0,
    label: str = "",
) -> None:
    """Compute an f32 function of every element."""
    count = out.tensors[y].elements
    if count:
        given = {"count": count, "operation": operation, "alpha": alpha, "beta": beta}
        out.step("unary", {"x": x, "y": y}, given, label=label)


def cast(
    out: ProgramBuilder,
    operation: str,
    x: str,
    y: str,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    label: str = "",
) -> None:
    """Convert every element, by `cast_i32` or `cast_f32`; the latter scales and shifts it, too."""
    count = out.tensors[y].elements
    if not count:
        return
    given: dict[str, Value] = {"count": count}
    if operation == "cast_f32":
        given |= {"alpha": alpha, "beta": beta}
    out.step(operation, {"x": x, "y": y}, given, label=label)


def broadcast(
    out: ProgramBuilder,
    operation: str,
    operands: Mapping[str, str],
    y: str,
    *,
    code: int | None = None,
    label: str = "",
) -> None:
    """Add a step on operands that are broadcast to the shape of y, each with strides.

    Operands that share memory, or that need more than four axes, are copied first.
    """
    shape = out.tensors[y].shape
    if math.prod(shape) == 0:
        return
    given = dict(zip(operands, apart(out, *operands.values(), label=label), strict=True))
    strides = [broadcast_strides(shape_of(out, one), shape) for one in given.values()]
    sizes, walks = merged(shape, *strides)
    if len(sizes) > _AXES:
        given = {name: _expanded(out, one, shape, label) for name, one in given.items()}
        sizes, walks = merged(shape, *(strides_of(shape) for _ in given))
    params: dict[str, Value] = {"shape": padded(sizes, _AXES, 1)}
    for name, steps in zip(given, walks, strict=True):
        params[f"{name}_strides"] = padded(steps, _AXES, 0)
    if code is not None:
        params["operation"] = code
    out.step(operation, {**given, "y": y}, params, label=label)


def _expanded(out: ProgramBuilder, operand: str, shape: Shape, label: str) -> str:
    if shape_of(out, operand) == shape:
        return operand
    made = out.tensor(shape, kind_of(out, operand))
    strides = broadcast_strides(shape_of(out, operand), shape)
    copy(out, operand, made, shape, strides, strides_of(shape), label=label)
    return made


def shape_of(out: ProgramBuilder, operand: str) -> Shape:
    """Return the shape of a tensor or constant of the program."""
    known = out.tensors.get(operand)
    return known.shape if known else tuple(out.constants[operand].shape)


def kind_of(out: ProgramBuilder, operand: str) -> Scalar:
    """Return how a tensor or constant is stored: f32 or i32."""
    known = out.tensors.get(operand)
    return known.type if known else "f32" if out.constants[operand].dtype.kind == "f" else "i32"


def _shares(out: ProgramBuilder, a: str, b: str) -> bool:
    one, other = out.tensors.get(a), out.tensors.get(b)
    if one is None and other is None:
        return _is_same(out.constants[a], out.constants[b])
    if one is None or other is None or (one.base or a) != (other.base or b):
        return False
    return max(one.offset, other.offset) < min(_end(one), _end(other))


def _end(tensor: Tensor) -> int:
    return tensor.offset + tensor.elements


def _is_same(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
