# SPDX-License-Identifier: Apache-2.0
"""Many programs as one, so that a device runs them in one go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import numpy as np
from accelerate_plan.assemble import assemble
from accelerate_plan.catalogue import load_catalogue
from accelerate_plan.choosing import guess
from accelerate_plan.devices import device_of
from accelerate_plan.program import Port, Program, Step, Tensor
from accelerate_plan.storing import store_plan

from accelerate_core.host import Host
from accelerate_core.protocols import Worker
from accelerate_core.types import Target

if TYPE_CHECKING:
    from accelerate_core.types import Array


@attrs.frozen
class Ran:
    """A program, what it was given, and what it shall put out."""

    program: Program
    inputs: Mapping[str, Array]
    wanted: Mapping[str, Array]
    tolerance: float
    test: str


def check(ran: list[Ran], folder: Path) -> None:
    """Run programs natively on wgpu, all at once, and compare what each puts out."""
    found = asyncio.run(_run(ran, folder))
    for number, one in enumerate(ran):
        for name, expected in one.wanted.items():
            actual = found[f"{number}/{name}"]
            assert actual.shape == expected.shape and actual.dtype == expected.dtype, one.test
            # A device need not compute functions as exactly as a CPU does.
            limit = 5 * one.tolerance if expected.dtype.kind == "f" else 0
            np.testing.assert_allclose(
                actual, expected, rtol=limit, atol=limit, equal_nan=True, err_msg=one.test
            )


async def _run(ran: list[Ran], folder: Path) -> Mapping[str, Array]:
    host = Host(cache_dir=folder / "cache", state_dir=folder / "state")
    worker: Worker = await host.create("backends", "wgpu").start(Target("wgpu"), host.context)
    try:
        program = _joined([one.program for one in ran])
        device = device_of(worker.info)
        assembled = assemble(program, load_catalogue(host), device, guess)
        handle = await worker.load(store_plan(assembled, host.context.assets, source="test:steps"))
        inputs = {
            f"{number}/{name}": value
            for number, one in enumerate(ran)
            for name, value in one.inputs.items()
        }
        result = await worker.run(handle, inputs)
        return {name: np.asarray(value) for name, value in result.outputs.items()}
    finally:
        await worker.close()


def _joined(programs: list[Program]) -> Program:
    tensors: dict[str, Tensor] = {}
    constants: dict[str, Array] = {}
    steps: list[Step] = []
    inputs: list[Port] = []
    outputs: list[Port] = []
    for number, program in enumerate(programs):

        def own(name: str, number: int = number) -> str:
            return f"{number}/{name}"

        for name, tensor in program.tensors.items():
            base = own(tensor.base) if tensor.base is not None else None
            tensors[own(name)] = attrs.evolve(tensor, name=own(name), base=base)
        constants |= {own(name): value for name, value in program.constants.items()}
        for step in program.steps:
            operands = {key: own(name) for key, name in step.operands.items()}
            steps.append(attrs.evolve(step, operands=operands, label=own(step.label)))
        for ports, given in ((inputs, program.inputs), (outputs, program.outputs)):
            ports += [
                attrs.evolve(one, name=own(one.name), tensor=own(one.tensor)) for one in given
            ]
    return Program(
        name="joined",
        tensors=tensors,
        constants=constants,
        steps=steps,
        inputs=inputs,
        outputs=outputs,
    )
