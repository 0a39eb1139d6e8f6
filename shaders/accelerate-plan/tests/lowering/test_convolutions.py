# SPDX-License-Identifier: Apache-2.0
"""Convolutions, pooling, norms of channels and resizing against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelerate_core.errors import Unsupported

from .conftest import check

RNG = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


IMAGE = normal(2, 6, 9, 7)
SIGNAL = normal(2, 6, 23)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    "x, kernel, given",
    [
        (IMAGE, (3, 3), {}),
        (IMAGE, (1, 1), {}),
        (IMAGE, (1, 1), {"strides": [2, 2]}),
        (IMAGE, (3, 2), {"strides": [2, 1], "pads": [1, 0, 2, 1]}),
        (IMAGE, (3, 2), {"dilations": [2, 3]}),
        (IMAGE, (4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        (IMAGE, (4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
        (IMAGE, (3, 3), {"auto_pad": "VALID"}),
        (IMAGE, (9, 7), {}),
        (IMAGE[:1], (3, 3), {}),
        (SIGNAL, (5,), {"strides": [3], "pads": [2, 1]}),
        (SIGNAL, (1,), {}),
        (SIGNAL, (4,), {"auto_pad": "SAME_LOWER"}),
    ],
)
@pytest.mark.parametrize("has_bias", [True, False])
def test_convolution(
    x: np.ndarray, kernel: tuple[int, ...], given: Any, has_bias: bool, fused: bool
) -> None:
    weights = {"w": normal(5, 6, *kernel)} | ({"b": normal(5)} if has_bias else {})
    check("Conv", {"x": x}, weights, tolerance=1e-4, fused=fused, **given)


@pytest.mark.parametrize("groups", [2, 3, 6])
@pytest.mark.parametrize("x, kernel", [(IMAGE, (3, 2)), (SIGNAL, (5,))])
def test_convolution_in_groups(x: np.ndarray, kernel: tuple[int, ...], groups: int) -> None:
    weights = {"w": normal(12, 6 // groups, *kernel), "b": normal(12)}
    pads = [1] * 2 * len(kernel)
    check("Conv", {"x": x}, weights, tolerance=1e-4, fused=True, group=groups, pads=pads)


def test_a_convolution_is_a_linear_layer() -> None:
    weights = {"w": normal(5, 6, 3, 3), "b": normal(5)}
    program = check("Conv", {"x": IMAGE}, weights, tolerance=1e-4, fused=True)
    assert [step.operation for step in program.steps] == ["unfold", "linear", "copy"]


def test_three_axes_are_refused() -> None:
    with pytest.raises(Unsupported, match="slides over 3 axes"):
        check("Conv", {"x": normal(1, 2, 3, 4, 5)}, {"w": normal(2, 2, 1, 2, 2)}, fused=True)


@pytest.mark.parametrize(
    "op, given",
    [
        ("MaxPool", {}),
        ("AveragePool", {}),
        ("AveragePool", {"count_include_pad": 1}),
    ],
)
@pytest.mark.parametrize(
    "x, window",
    [
        (IMAGE, {"kernel_shape": [3, 2]}),
        (IMAGE, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        (IMAGE, {"kernel_shape": [2, 3], "dilations": [3, 2], "pads": [0, 1, 1, 2]}),
        (IMAGE, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        (SIGNAL, {"kernel_shape": [4], "strides": [3], "pads": [2, 1]}),
    ],
)
def test_pool(op: str, given: Any, x: np.ndarray, window: Any) -> None:
    check(op, {"x": x}, tolerance=1e-5, **given, **window)


def test_pool_with_a_last_window_that_is_not_full() -> None:
    window = {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}
    check("MaxPool", {"x": IMAGE}, **window)
    check("AveragePool", {"x": IMAGE}, tolerance=1e-5, **window)
    with pytest.raises(Unsupported, match="ceil_mode"):
        check("AveragePool", {"x": IMAGE}, count_include_pad=1, **window)


def test_pooled_indices_are_refused() -> None:
    with pytest.raises(Unsupported, match="indices"):
        check("MaxPool", {"x": IMAGE}, outputs=2, kernel_shape=[2, 2])


@pytest.mark.parametrize("x", [IMAGE, SIGNAL, normal(3, 6)])
def test_batch_norm(x: np.ndarray) -> None:
    given = {name: normal(6) for name in ("scale", "bias", "mean")}
    given["variance"] = np.abs(normal(6)) + np.float32(0.5)
    check("BatchNormalization", {"x": x}, given, tolerance=1e-5, epsilon=1e-3)


@pytest.mark.parametrize("x", [IMAGE, SIGNAL])
def test_instance_norm(x: np.ndarray) -> None:
    given = {"scale": normal(6), "bias": normal(6)}
    check("InstanceNormalization", {"x": x}, given, tolerance=1e-4, epsilon=1e-3)


def test_group_norm() -> None:
    given = {"scale": normal(6), "bias": normal(6)}
    check("GroupNormalization", {"x": IMAGE}, given, tolerance=1e-4, opset=21, num_groups=3)


MODES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sizes", [(2, 6, 13, 7), (2, 6, 4, 15), (2, 6, 1, 7)])
@pytest.mark.parametrize("kind", ["nearest", "linear", "cubic"])
def test_resize(kind: str, sizes: tuple[int, ...], mode: str) -> None:
    check(
        "Resize",
        {"x": IMAGE},
        {"sizes": np.array(sizes)},
        order=["x", "", "", "sizes"],
        tolerance=1e-5,
        mode=kind,
        coordinate_transformation_mode=mode,
    )


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("scale", [2.0, 0.5, 1.7])
def test_resize_by_scales_and_nearest_pixels(rounding: str, scale: float) -> None:
    check(
        "Resize",
        {"x": IMAGE},
        {"scales": np.array([1, 1, scale, scale], np.float32)},
        order=["x", "", "scales"],
        nearest_mode=rounding,
        coordinate_transformation_mode="asymmetric",
    )


def test_resize_of_some_axes_to_the_same_size_and_what_is_refused() -> None:
    sizes = {"sizes": np.array([9, 14])}
    given = {"order": ["x", "", "", "sizes"], "axes": [2, 3], "mode": "linear"}
    check("Resize", {"x": IMAGE}, sizes, tolerance=1e-5, **given)
    check("Resize", {"x": IMAGE}, {"sizes": np.array([9, 7])}, tolerance=1e-5, **given)
    with pytest.raises(Unsupported, match="antialias"):
        check("Resize", {"x": IMAGE}, {"sizes": np.array([4, 4])}, antialias=1, **given)
