# SPDX-License-Identifier: Apache-2.0
"""Run a program in numpy, each step by its operation's reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from accelerate_plan.program import Program
from accelerate_plan.references import REFERENCES

if TYPE_CHECKING:
    from accelerate_core.types import Array

_TYPES = {"f32": np.float32, "i32": np.int32, "u32": np.uint32}


def run(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the outputs of a program."""
    memory: dict[str, Array] = {}

    def flat(name: str) -> Array:
        tensor = program.tensors[name]
        root = program.tensors[tensor.base or name]
        if root.name not in memory:
            # What nothing writes must not pass for a zero.
            memory[root.name] = np.full(root.elements, 77, _TYPES[root.type])
        return memory[root.name][tensor.offset : tensor.offset + tensor.elements]

    def value(name: str) -> Array:
        if name in program.tensors:
            return flat(name).reshape(program.tensors[name].shape)
        constant = program.constants[name]
        return constant.astype(np.float32 if constant.dtype.kind == "f" else np.int32)

    for port in program.inputs:
        flat(port.tensor)[:] = inputs[port.name].reshape(-1)
    for step in program.steps:
        operands = {name: value(one) for name, one in step.operands.items()}
        function = REFERENCES[step.operation]
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            results = function(step.params, operands)
        for name, result in results.items():
            place = flat(step.operands[name])
            written = np.asarray(result).reshape(-1)
            if written.dtype == np.int32:
                written = written.view(place.dtype)  # bits
            if step.operation == "copy":
                # The reference says 0 where nothing is copied to, which keeps its value.
                ones = np.ones_like(operands["x"])
                is_written = function(step.params, {"x": ones})["y"] != 0
                place[: written.size][is_written] = written[is_written]
            else:
                place[:] = written
    return {
        port.name: value(port.tensor).astype(port.dtype).reshape(port.shape)
        for port in program.outputs
    }
