# SPDX-License-Identifier: Apache-2.0
"""Inputs are judged before anything runs, and every fault is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelerate_core.errors import ModelError
from accelerate_core.inputs import check_inputs, zero_inputs
from accelerate_core.types import Asset, ModelSpec, TensorRef, TensorSpec

SPEC = ModelSpec(
    name="text",
    source="testing:text",
    sha256="a" * 64,
    assets=(Asset("a" * 64, 1, "model.onnx"),),
    inputs=(
        TensorSpec("ids", "int64", ("batch", "length")),
        TensorSpec("mask", "int64", ("batch", "length")),
        TensorSpec("pixels", "float32", ("batch", 3, "?", "?")),
    ),
    outputs=(),
)


def right() -> dict[str, Any]:
    return {
        "ids": np.ones((2, 5), np.int64),
        "mask": np.ones((2, 5), np.int64),
        "pixels": np.ones((2, 3, 8, 9), np.float32),
    }


def test_right_inputs_pass() -> None:
    check_inputs(SPEC, right())
    ref = TensorRef("worker", 1, "t1", TensorSpec("out", "int64", (2, "length")))
    check_inputs(SPEC, right() | {"mask": ref})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"maks": 1}, "there is no input 'maks'"),
        ({"ids": np.ones((2, 5), np.int32)}, "'ids' has dtype int32, not int64"),
        ({"ids": np.ones((2, 5), ">i8")}, "'ids' has the byte order of another machine"),
        ({"ids": [[1]]}, "'ids' is a list, not an array"),
        ({"ids": np.int64(1)}, "'ids' has 0 dimensions"),
        ({"mask": np.ones((2, 6), np.int64)}, "'length' is 6 in input 'mask' and 5 in 'ids'"),
        ({"pixels": np.ones((2, 4, 8, 8), np.float32)}, "'pixels' has 4 in dimension 1, not 3"),
        (
            {"mask": TensorRef("w", 1, "t", TensorSpec("o", "float32", (2, 5)))},
            "'mask' has dtype float32",
        ),
    ],
)
def test_fault_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        check_inputs(SPEC, right() | change)
    assert caught.value.info.where == "inputs of text"
    assert caught.value.info.accepted == (
        "ids: int64[batch, length]",
        "mask: int64[batch, length]",
        "pixels: float32[batch, 3, ?, ?]",
    )


def test_missing_input_is_named_and_a_misspelt_one_guessed() -> None:
    inputs = right()
    inputs["idz"] = inputs.pop("ids")
    with pytest.raises(ModelError, match="Did you mean 'ids'"):
        check_inputs(SPEC, inputs)
    del inputs["idz"]
    with pytest.raises(ModelError, match="input 'ids' is missing"):
        check_inputs(SPEC, inputs)


def test_zeros_fit() -> None:
    zeros = zero_inputs(SPEC, {"batch": 4, "length": 7})
    check_inputs(SPEC, zeros)
    assert zeros["ids"].shape == (4, 7) and zeros["pixels"].shape == (4, 3, 1, 1)
    assert not any(array.any() for array in zeros.values())
