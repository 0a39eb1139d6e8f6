# SPDX-License-Identifier: Apache-2.0
"""One step by itself, as a program that repeats it: what a variant's speed is told from. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs
import numpy as np

from .catalogue import Catalogue
from .kernels import Kernel
from .packing import layout_of
from .params import Value
from .program import Program, ProgramBuilder, Shape, Step

if TYPE_CHECKING:
    from accelerate_core.types import Array

    from .testing.cases import Case


@attrs.frozen(kw_only=True, eq=False)
class Workload:
    """Hold a step with numbers for all it reads."""

    operation: str
    label: str  #: the case, or where in a model
    params: Mapping[str, Value]
    values: Mapping[str, Array]  #: of inputs and constants, by operand
    outputs: Mapping[str, Shape]
    flops: int
    bytes: int  #: read and written at least: every operand once

    def program(self, kernel: Kernel, repeats: int) -> Program:
        """Return the step so many times; only one element is read back.

        Nothing is uploaded at a run either: what the step reads are constants.
        """
        out = ProgramBuilder(f"{self.operation} x{repeats}")
        operands = {name: out.constant(value, name=name) for name, value in self.values.items()}
        for name, shape in self.outputs.items():
            kind = kernel.binding(name).type
            operands[name] = out.tensor(shape, kind, name=name)
        for _ in range(repeats):
            out.step(self.operation, operands, self.params, label=self.label, flops=self.flops)
        first = next(iter(self.outputs))
        kind = kernel.binding(first).type
        shown = out.view(operands[first], (1,))
        out.output("first", "float32" if kind == "f32" else "int32", shown)
        return out.finish()

    def step(self) -> Step:
        """Return the step, for choosing a variant."""
        names = {name: name for name in (*self.values, *self.outputs)}
        return Step(
            operation=self.operation,
            operands=names,
            params=self.params,
            label=self.label,
            flops=self.flops,
        )


def of_case(kernel: Kernel, case: Case) -> Workload:
    """Return a case as a workload."""
    outputs = {
        one.name: case.shapes[one.name]
        for one in kernel.bindings
        if one.role == "output" and one.name in case.shapes
    }
    return _workload(kernel, case.name, case.params, case.inputs(kernel), outputs, 0)


def of_program(catalogue: Catalogue, program: Program) -> Iterator[Workload]:
    """Yield each step of a model that differs from those before it.

    Activations get random numbers; integers are small, for they may be indices.
    """
    seen = set()
    random = np.random.default_rng(4)
    for step in program.steps:
        kernel = catalogue.kernel(step.operation)
        key = (step.operation, tuple(sorted(step.params.items())), tuple(sorted(step.operands)))
        if key in seen:
            continue
        seen.add(key)
        values: dict[str, Array] = {}
        outputs: dict[str, Shape] = {}
        for number, (name, operand) in enumerate(step.operands.items()):
            if operand in program.constants:
                values[name] = program.constants[operand]
                continue
            tensor = program.tensors[operand]
            if kernel.binding(name).role == "output":
                outputs[name] = tensor.shape
            elif tensor.type == "f32":
                values[name] = random.standard_normal(tensor.shape).astype(np.float32)
            else:
                # Equal constants would share their place, which one dispatch may not bind twice.
                values[name] = np.full(tensor.shape, number % 2, np.int32)
        yield _workload(kernel, step.label, step.params, values, outputs, step.flops)


def _workload(
    kernel: Kernel,
    label: str,
    params: Mapping[str, Value],
    values: Mapping[str, Array],
    outputs: Mapping[str, Shape],
    flops: int,
) -> Workload:
    read = sum(
        layout_of(kernel.binding(name).layout).size_bytes(value.shape)
        for name, value in values.items()
    )
    return Workload(
        operation=kernel.operation,
        label=label,
        params=params,
        values=values,
        outputs=outputs,
        flops=flops or flops_of(kernel.operation, params),
        bytes=read + 4 * sum(math.prod(shape) for shape in outputs.values()),
    )


def flops_of(operation: str, params: Mapping[str, Value]) -> int:
    """Return the multiplications and additions of matrix products; 0 for what is none."""
    size = {name: value for name, value in params.items() if isinstance(value, int)}
    if operation.startswith("linear"):
        return 2 * size["m"] * size["n"] * size["k"]
    if operation == "matmul":
        return 2 * size["batch"] * size["m"] * size["n"] * size["k"]
    if operation == "attention":
        pairs = size["batch"] * size["heads"] * size["q_length"] * size["kv_length"]
        return 2 * pairs * (size["head_size"] + size["v_size"])
    return 0
