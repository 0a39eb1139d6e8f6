# SPDX-License-Identifier: Apache-2.0
"""Make images larger or smaller: each axis is multiplied by a matrix, or looked up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..graph import Node
from .base import Lowering, lowers
from .lookups import take
from .steps import apart

if TYPE_CHECKING:
    from accelerate_core.types import Array

_ROUNDINGS: Mapping[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@lowers("Resize")
def resize(low: Lowering, node: Node) -> None:
    """Resize by the nearest pixel, or linearly or by cubes between pixels (ONNX, Resize-19)."""
    for name, accepted in (
        ("antialias", 0),
        ("exclude_outside", 0),
        ("keep_aspect_ratio_policy", "stretch"),
    ):
        if node.attribute(name, accepted) != accepted:
            raise low.refuse(node, f"{name} is {node.attribute(name)}")
    shape, result = low.shape(node.inputs[0]), low.shape(node.outputs[0])
    scales = _scales(low, node)
    changed = [i for i in range(len(shape)) if shape[i] != result[i] or scales[i] != 1]
    x = low.operand(node.inputs[0])
    sizes = list(shape)
    for axis in changed or [0]:
        is_last = axis == (changed or [0])[-1]
        outer, inner = math.prod(sizes[:axis]), math.prod(sizes[axis + 1 :])
        size, sizes[axis] = sizes[axis], result[axis]
        y = low.result(node) if is_last else low.out.tensor(sizes)
        places = _places(low, node, size, result[axis], scales[axis])
        if node.attribute("mode", "nearest") == "nearest":
            rounded = _ROUNDINGS[node.attribute("nearest_mode", "round_prefer_floor")](places)
            ids = low.out.constant(np.clip(rounded, 0, size - 1).astype(np.int32))
            take(low, x, ids, y, outer=outer, size=size, inner=inner, label=node.label)
        else:
            _multiply(low, node, x, y, _weights(node, places, size), outer, inner)
        x = y


def _scales(low: Lowering, node: Node) -> list[float]:
    shape, result = low.shape(node.inputs[0]), low.shape(node.outputs[0])
    axes = [axis % len(shape) for axis in node.attribute("axes") or range(len(shape))]
    found = [new / old for new, old in zip(result, shape, strict=True)]
    if len(node.inputs) > 2 and node.inputs[2]:
        given = low.constant(node.inputs[2])
        if given is not None and given.size:
            for axis, scale in zip(axes, given, strict=True):
                found[axis] = float(scale)
    return found


def _places(low: Lowering, node: Node, old: int, new: int, scale: float) -> Array:
    """Return where in the old axis each element of the new one comes from."""
    at = np.arange(new, dtype=np.float64)
    how = node.attribute("coordinate_transformation_mode", "half_pixel")
    match how:
        case "half_pixel":
            return (at + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            return (at + 0.5) / scale - 0.5 if new > 1 else np.zeros(1)
        case "half_pixel_symmetric":
            return old / 2 * (1 - new / (scale * old)) + (at + 0.5) / scale - 0.5
        case "align_corners":
            return at * (old - 1) / (new - 1) if new > 1 else np.zeros(1)
        case "asymmetric":
            return at / scale
    raise low.refuse(node, f"coordinate_transformation_mode is {how}")


def _weights(node: Node, places: Array, size: int) -> Array:
    """Return the matrix `[new, old]` that interpolates; beyond the edges lies the edge."""
    first = np.floor(places).astype(int)
    ratio = places - first
    if node.attribute("mode") == "linear":
        taps = {0: 1 - ratio, 1: ratio}
    else:
        a = node.attribute("cubic_coeff_a", -0.75)
        taps = {tap: _cubic(np.abs(ratio - tap), a) for tap in (-1, 0, 1, 2)}
    weights = np.zeros((len(places), size))
    for tap, share in taps.items():
        np.add.at(weights, (np.arange(len(places)), np.clip(first + tap, 0, size - 1)), share)
    return weights.astype(np.float32)


def _cubic(x: Array, a: float) -> Array:
    """Return the weight of a pixel at a distance (Keys 1981)."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _multiply(
    low: Lowering, node: Node, x: str, y: str, weights: Array, outer: int, inner: int
) -> None:
    new, old = weights.shape
    a, b = apart(low.out, low.out.constant(weights), x, label=node.label)
    params = {
        "batch": outer,
        "m": new,
        "n": inner,
        "k": old,
        "a_stride": 0,
        "b_stride": old * inner,
        "transpose_a": 0,
        "transpose_b": 0,
        "scale": 1.0,
    }
    flops = 2 * outer * new * inner * old
    low.out.step("matmul", {"a": a, "b": b, "y": y}, params, label=node.label, flops=flops)
