# SPDX-License-Identifier: Apache-2.0
"""Run a program in numpy by the references of its operations: the first rung of the ladder.

It keeps to the rules of a device: activations are f32 or i32 and lie where the program says, so a
view shows what was written to its base.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from accelerate_core.errors import PluginError

from ..program import Program
from ..references import REFERENCES

if TYPE_CHECKING:
    from accelerate_core.types import Array

_DTYPES = {"f32": np.float32, "i32": np.int32, "u32": np.uint32}
_UNWRITTEN = {"f32": np.nan, "i32": -(1 << 31), "u32": 1 << 31}


def run_program(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the outputs of a program.

    Memory that nothing wrote holds NaN, or the lowest integer: a step that reads it shows.
    """
    memory = {
        name: np.full(one.elements, _UNWRITTEN[one.type], _DTYPES[one.type])
        for name, one in program.tensors.items()
        if one.base is None
    }

    def of(name: str) -> Array:
        if name in program.constants:
            return program.constants[name]
        one = program.tensors[name]
        flat = memory[one.base or name][one.offset : one.offset + one.elements]
        return flat.reshape(one.shape)

    for port in program.inputs:
        of(port.tensor)[...] = inputs[port.name].reshape(port.shape)
    for step in program.steps:
        if step.operation not in REFERENCES:
            raise PluginError(f"the operation {step.operation!r} has no reference")
        # Outputs are given, too: a copy into a part of one leaves the rest as it is.
        operands = {name: of(operand) for name, operand in step.operands.items()}
        for name, value in REFERENCES[step.operation](step.params, operands).items():
            if value.dtype == np.int32:
                value = value.view(operands[name].dtype)  # what only moves gives bits
            operands[name][...] = value.reshape(operands[name].shape)
    return {port.name: of(port.tensor).astype(port.dtype) for port in program.outputs}
