# SPDX-License-Identifier: Apache-2.0
"""Products with packed weights become linear layers, with all that surrounds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from accelerate_models.quantized import Quantized, pack, round_to_nearest
from accelerate_plan.fusions import fuse
from accelerate_plan.graph import Graph, Node, Value
from accelerate_plan.lowering import Lowering
from accelerate_plan.testing.numpy_executor import run_program

from .conftest import check, random

if TYPE_CHECKING:
    from accelerate_core.types import Array

X = random(2, 3, 40)
Z = random(2, 3, 7, seed=1)


def constants(bits: int, *, seed: int = 2, name: str = "", step: float = 0) -> dict[str, Array]:
    """Return the constants of a matrix [40, 7] in groups of 16; `step` moves its zeros."""
    made = round_to_nearest(random(40, 7, seed=seed) + np.float32(0.3), bits, 16)
    packed = pack(Quantized(made.codes, made.scales, made.zeros + np.float32(step), bits, 16))
    assert packed.zeros is not None
    return {f"w{name}": packed.values, f"s{name}": packed.scales, f"z{name}": packed.zeros}


def product(y: str, bits: int, name: str = "", more: str = "") -> str:
    attributes = f"K = 40, N = 7, bits = {bits}, block_size = 16"
    return f"{y} = com.microsoft.MatMulNBits <{attributes}> (x, w{name}, s{name}, z{name}{more})"


@pytest.mark.parametrize(("bits", "step"), [(8, 0), (4, 0), (4, 0.25), (2, 0), (2, 0.5)])
def test_layers_compute_what_onnx_runtime_does(bits: int, step: float) -> None:
    text = f"""(float[2,3,40] x, float[2,3,7] r) => (float[2,3,7] y)
    {{ {product("a", bits)}  b = Add(a, bias)  c = Relu(b)  y = Add(c, r) }}"""
    given = {**constants(bits, step=step), "bias": random(7, seed=3)}
    # Zeros between whole numbers are kept in 16 bits.
    found = check(text, {"x": X, "r": Z}, given, tolerance=2e-6 if step == 0 else 2e-3)
    (step_,) = found.program.steps
    assert step_.operation == f"linear_q{bits}"
    assert [step_.params[name] for name in ("k", "n", "group")] == [40, 7, 16]
    assert step_.params["has_bias"] and step_.params["has_residual"]


def test_layers_of_one_input_are_merged_where_they_have_as_many_bits() -> None:
    text = f"""(float[2,3,40] x) => (float[2,3,7] p, float[2,3,7] q, float[2,3,7] r)
    {{ {product("p", 4)}  {product("q", 8, "8")}  {product("r", 4, "4")} }}"""
    given = {**constants(4), **constants(8, name="8", seed=4), **constants(4, name="4", seed=5)}
    found = check(text, {"x": X}, given)
    steps = {one.operation: one for one in found.program.steps}
    assert steps.keys() == {"linear_q4", "linear_q8"}
    assert steps["linear_q4"].params["n"] == 14


def test_tiny_weights_keep_their_precision_in_16_bits() -> None:
    """Scales of 1e-7 are below what float16 can hold."""
    given = constants(4)
    given["s"] = given["s"] * np.float32(2**-24)
    text = f"""(float[2,3,40] x) => (float[2,3,7] y)
    {{ {product("a", 4)}  y = Mul(a, large) }}"""
    check(text, {"x": X}, {**given, "large": np.array([2**24], np.float32)}, tolerance=5e-6)


def test_three_bits_are_read() -> None:
    """ONNX Runtime has none to compare with."""
    matrix = round_to_nearest(random(40, 7), 3, 16)
    packed = pack(matrix)
    assert packed.zeros is not None
    graph = Graph(
        name="test",
        nodes=[
            Node(
                op="com.microsoft.MatMulNBits",
                inputs=("x", "w", "s", "z"),
                outputs=("y",),
                attributes={"K": 40, "N": 7, "bits": 3, "block_size": 16},
            )
        ],
        values={"x": Value(X.shape, "float32"), "y": Value(Z.shape, "float32")},
        constants={"w": packed.values, "s": packed.scales, "z": packed.zeros},
        inputs=("x",),
        outputs=("y",),
    )
    fuse(graph)
    found = run_program(Lowering(graph).run(), {"x": X})
    np.testing.assert_allclose(found["y"], X @ matrix.dequantize(), atol=2e-6)
