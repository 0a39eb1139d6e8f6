# SPDX-License-Identifier: Apache-2.0
"""Codes mean the same in Python and in WGSL: every one of them has a case."""

from __future__ import annotations

import json
from enum import IntEnum
from pathlib import Path

import accelerate_shaders
import pytest
from accelerate_plan import codes

KERNELS = Path(accelerate_shaders.__file__).parent / "kernels"


@pytest.mark.parametrize(
    ("operation", "table"),
    [
        ("unary", codes.Unary),
        ("binary", codes.Binary),
        ("binary_i32", codes.BinaryI32),
        ("compare", codes.Compare),
        ("reduce", codes.Reduce),
        ("reduce_index", codes.ReduceIndex),
        ("pool", codes.Pool),
    ],
)
def test_every_code_has_a_case(operation: str, table: type[IntEnum]) -> None:
    cases = json.loads((KERNELS / operation / "cases.json").read_text(encoding="utf-8"))
    assert {one["params"]["operation"] for one in cases} == set(table)


def test_what_two_tables_name_has_one_number() -> None:
    for a, b in ((codes.Activation, codes.Unary), (codes.Compare, codes.BinaryI32)):
        numbers = {one.name: int(one) for one in b}
        # A linear layer without an activation is the identity.
        names = {"NONE": "IDENTITY"}
        assert all(numbers[names.get(one.name, one.name)] == one for one in a)
