# SPDX-License-Identifier: Apache-2.0
"""Matrices of few bits: packing loses nothing, rounding at most half a step."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from accelerate_models.quantized import (
    BITS,
    GROUPS,
    Packed,
    Quantized,
    keep_11_bits,
    pack,
    round_to_nearest,
    unpack,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

some_bits, some_groups = st.sampled_from(BITS), st.sampled_from(GROUPS)
sizes = st.integers(1, 150)


def random(seed: int, rows: int, columns: int, scale: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, (rows, columns)).astype(np.float32)


@settings(max_examples=40)
@given(bits=some_bits, group=some_groups, rows=sizes, columns=sizes, is_whole=st.booleans())
def test_packing_loses_nothing(
    bits: int, group: int, rows: int, columns: int, is_whole: bool
) -> None:
    rng = np.random.default_rng(rows * columns)
    groups = -(-rows // group)
    made = Quantized(
        rng.integers(0, 2**bits, (rows, columns)).astype(np.uint8),
        random(0, groups, columns),
        rng.integers(0, 2**bits, (groups, columns)).astype(np.float32) + (0 if is_whole else 0.25),
        bits,
        group,
    )
    packed = pack(made)
    assert packed.values.shape == (columns, groups, group * bits // 8)
    again = unpack(packed, rows)
    for name in ("codes", "scales", "zeros"):
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))


@settings(max_examples=40)
@given(
    bits=some_bits,
    group=some_groups,
    rows=sizes,
    columns=st.integers(1, 20),
    seed=st.integers(0, 99),
    shift=st.floats(-1, 1),
)
def test_rounding_errs_by_at_most_half_a_step(
    bits: int, group: int, rows: int, columns: int, seed: int, shift: float
) -> None:
    matrix = random(seed, rows, columns) + np.float32(shift)
    made = round_to_nearest(matrix, bits, group)
    assert made.codes.max() < 2**bits and (made.zeros == np.rint(made.zeros)).all()
    half = np.repeat(made.scales, group, 0)[:rows] / 2
    # A scale that was shortened to 11 bits may miss the largest value by so much.
    allowed = half + np.abs(matrix) * 2**-11
    assert (np.abs(made.dequantize() - matrix) <= allowed * 1.0001).all()


def test_a_group_of_zeros_stays_zero() -> None:
    made = round_to_nearest(np.zeros((40, 3), np.float32), 4, 32)
    assert (made.dequantize() == 0).all() and np.isfinite(made.scales).all()


def test_shortened_scales_survive_float16() -> None:
    scales = keep_11_bits(random(1, 50, 50, scale=3.0))
    np.testing.assert_array_equal(scales.astype(np.float16).astype(np.float32), scales)
    small = keep_11_bits(np.float32([3.14159e-30]))
    assert abs(small[0] / 3.14159e-30 - 1) < 2**-11


@pytest.mark.parametrize(
    ("bits", "is_whole"), [(8, True), (4, True), (4, False), (2, True), (2, False)]
)
def test_onnx_runtime_reads_what_is_packed(bits: int, is_whole: bool) -> None:
    made = round_to_nearest(random(3, 75, 9), bits, 32)
    if not is_whole:
        made = Quantized(made.codes, made.scales, made.zeros + np.float32(0.25), bits, 32)
    x = random(4, 5, 75)
    got = run(pack(made), rows=75, x=x)
    wanted = x.astype(np.float64) @ made.dequantize()
    assert np.abs(got - wanted).max() < 1e-5


def run(packed: Packed, rows: int, x: np.ndarray) -> np.ndarray:
    constants = {"w": packed.values, "scales": packed.scales}
    if packed.zeros is not None:
        constants["zeros"] = packed.zeros
    node = helper.make_node(
        "MatMulNBits",
        ["x", *constants],
        ["y"],
        domain="com.microsoft",
        K=rows,
        N=len(packed.scales),
        bits=packed.bits,
        block_size=packed.group,
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model: onnx.ModelProto = helper.make_model(graph, ir_version=9, opset_imports=opsets)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    answer: np.ndarray = session.run(None, {"x": x})[0]
    return answer
