# SPDX-License-Identifier: Apache-2.0
"""Programs name what they are made of once, and views stay inside their tensor."""

from __future__ import annotations

import numpy as np
import pytest
from accelerate_plan.program import ProgramBuilder

from accelerate_core.errors import PluginError


def test_names_are_given_once() -> None:
    builder = ProgramBuilder("p")
    names = [builder.tensor((1,), name="x"), builder.constant(np.zeros(1), name="x")]
    names += [builder.view(names[0], (1,), name="x"), builder.input("x", "float32", (1,))]
    assert names[0] == "x" and len(set(names)) == 4
    program = builder.finish()
    assert program.inputs[0].name == "x" and program.inputs[0].tensor == names[3]


def test_views_lie_in_the_tensor_at_the_root() -> None:
    builder = ProgramBuilder("p")
    whole = builder.tensor((4, 64), "i32")
    rows = builder.view(whole, (2, 64), 128)
    row = builder.view(rows, (64,), 64)
    made = builder.tensors[row]
    assert (made.base, made.offset, made.type, made.size_bytes) == (whole, 192, "i32", 256)
    with pytest.raises(PluginError, match="leaves its memory"):
        builder.view(rows, (65,), 64)
    with pytest.raises(PluginError, match="leaves its memory"):
        builder.view(rows, (1,), -129)


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [("float32", "f32"), ("float16", "f32"), ("int64", "i32"), ("bool", "i32"), ("int32", "i32")],
)
def test_inputs_are_kept_in_4_bytes(dtype: str, kept: str) -> None:
    builder = ProgramBuilder("p")
    tensor = builder.tensors[builder.input("x", dtype, (3,))]
    assert (tensor.type, tensor.size_bytes) == (kept, 12)
