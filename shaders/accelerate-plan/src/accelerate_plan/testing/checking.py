# SPDX-License-Identifier: Apache-2.0
"""Run cases on a worker and measure how far each output is from the fp64 reference.

Cases become steps of one program, so that hundreds of them cost a few round trips.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from accelerate_core.assets import AssetStore
from accelerate_core.errors import AccelerateError, PluginError
from accelerate_core.protocols import Worker

from ..assemble import assemble
from ..catalogue import Catalogue
from ..devices import device_of
from ..kernels import Device, Kernel, Variant, is_for
from ..program import Port, ProgramBuilder, Step
from ..references import REFERENCES
from ..storing import store_plan
from .cases import Case

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: What outputs hold before a kernel runs, so that an element it forgets is seen: a NaN.
POISON = 0x7FC0DEAD
_DTYPES: Mapping[str, str] = {"f32": "float32", "i32": "int32", "u32": "uint32"}
#: Operands of one plan; more would only wait for each other.
_BATCH_BYTES = 64 << 20


@attrs.frozen(eq=False)
class Trial:
    """A case done by a variant with values of its constants."""

    case: Case
    variant: Variant
    constants: Mapping[str, float]

    def __str__(self) -> str:
        changed = {k: v for k, v in self.constants.items() if v != self.variant.constants[k]}
        said = "".join(f" {name}={value:g}" for name, value in changed.items())
        return f"{self.variant.name}{said}/{self.case.name}"


@attrs.frozen
class Outcome:
    """How far the outputs of a trial are from the reference, or why there are none."""

    errors: Mapping[str, float] = attrs.field(factory=dict)  #: by output
    failure: AccelerateError | None = None


def trials(
    kernel: Kernel, cases: Sequence[Case], device: Device, *, is_tuned: bool
) -> Iterator[Trial]:
    """Yield every case with every variant that can do it.

    With `is_tuned` also each value of `tune`, with the smallest and the largest case: what a tile
    or workgroup gets wrong is an edge, and every value is a pipeline to compile.
    """
    for variant in kernel.variants:
        able = [one for one in cases if is_for(variant, one.params, device)]
        yield from (Trial(case, variant, variant.constants) for case in able)
        if is_tuned and able:
            ends = {one.name: one for one in (min(able, key=_elements), max(able, key=_elements))}
            for name, values in variant.tune.items():
                for value in sorted(set(values) - {variant.constants[name]}):
                    constants = {**variant.constants, name: value}
                    yield from (Trial(case, variant, constants) for case in ends.values())


async def check(
    worker: Worker,
    assets: AssetStore,
    catalogue: Catalogue,
    kernel: Kernel,
    wanted: Sequence[Trial],
) -> list[Outcome]:
    """Run trials of one operation and return an outcome for each, in order.

    PluginError when the operation has no reference. What fails is tried again in halves, until
    the trial to blame is alone.
    """
    outcomes: list[Outcome] = []
    for batch in _batches(wanted):
        outcomes += await _check_batch(worker, assets, catalogue, kernel, batch)
    return outcomes


def error_of(actual: Array, expected: Array) -> float:
    """Return the RMS of the difference over the expected RMS; infinite where NaN or inf differ.

    Where the expected values are masked, the kernel shall not write.
    """
    if actual.size != expected.size:
        return math.inf
    flat, wanted = actual.reshape(-1), expected.reshape(-1)
    if isinstance(wanted, np.ma.MaskedArray):
        left = np.ma.getmaskarray(wanted)
        if (flat[left].view(np.uint32) != POISON).any():
            return math.inf
        flat, wanted = flat[~left], wanted[~left].data
    right, exact = flat.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(exact)
    if not np.array_equal(right[~finite], exact[~finite], equal_nan=True):
        return math.inf
    if not np.isfinite(right[finite]).all():
        return math.inf
    size = _rms(exact[finite])
    return _rms(right[finite] - exact[finite]) / (size or 1.0)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0


def _elements(case: Case) -> int:
    return sum(math.prod(shape) for shape in case.shapes.values())


def _batches(wanted: Sequence[Trial]) -> Iterator[list[Trial]]:
    batch: list[Trial] = []
    size = 0
    for trial in wanted:
        own = 4 * _elements(trial.case)
        if batch and size + own > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(trial)
        size += own
    if batch:
        yield batch


async def _check_batch(
    worker: Worker,
    assets: AssetStore,
    catalogue: Catalogue,
    kernel: Kernel,
    batch: list[Trial],
) -> list[Outcome]:
    try:
        outputs = await _run(worker, assets, catalogue, kernel, batch)
    except AccelerateError as error:
        if len(batch) == 1:
            return [Outcome(failure=error)]
        middle = len(batch) // 2
        return [
            outcome
            for half in (batch[:middle], batch[middle:])
            for outcome in await _check_batch(worker, assets, catalogue, kernel, half)
        ]
    cases = {trial.case.name: trial.case for trial in batch}
    exact = {name: _expected(kernel, case) for name, case in cases.items()}
    return [
        Outcome(
            {name: error_of(one[name], value) for name, value in exact[trial.case.name].items()}
        )
        for one, trial in zip(outputs, batch, strict=True)
    ]


def _expected(kernel: Kernel, case: Case) -> Mapping[str, Array]:
    if kernel.operation not in REFERENCES:
        raise PluginError(
            f"{kernel.operation} has no reference",
            hint="Register one with accelerate_plan.references.reference.",
        )
    try:
        with np.errstate(all="ignore"):
            result = REFERENCES[kernel.operation](case.params, case.inputs(kernel))
    except Exception as error:
        raise PluginError(
            f"the reference fails: {type(error).__name__}: {error}",
            where=f"{kernel.operation}, case {case.name!r}",
        ) from error
    outputs = {one.name for one in kernel.bindings if one.role == "output"}
    if set(result) != outputs & set(case.shapes):
        raise PluginError(
            f"the reference of {kernel.operation} returns {sorted(result)}",
            accepted=tuple(sorted(outputs)),
        )
    return result


async def _run(
    worker: Worker,
    assets: AssetStore,
    catalogue: Catalogue,
    kernel: Kernel,
    batch: Sequence[Trial],
) -> list[dict[str, Array]]:
    """Return the outputs of each trial."""
    builder = ProgramBuilder(f"cases of {kernel.operation}")
    inputs: dict[str, Array] = {}
    known: dict[str, Mapping[str, str]] = {}  # operands of a case are there once
    for number, trial in enumerate(batch):
        case = trial.case
        if case.name not in known:
            known[case.name] = _operands(builder, inputs, kernel, case)
        operands = dict(known[case.name])
        for binding in kernel.bindings:
            if binding.role == "output" and binding.name in case.shapes:
                shape = case.shapes[binding.name]
                made = builder.tensor(shape, binding.type, name=f"{number}.{binding.name}")
                poison = np.full(shape, POISON, np.uint32).view(_DTYPES[binding.type])
                _port(builder, inputs, made, poison)
                builder.output(made, _DTYPES[binding.type], made)
                operands[binding.name] = made
        builder.step(kernel.operation, operands, case.params, label=str(number))

    def choose(_: Kernel, step: Step, __: Device) -> tuple[Variant, Mapping[str, float]]:
        trial = batch[int(step.label)]
        return trial.variant, trial.constants

    assembled = assemble(builder.finish(), catalogue, device_of(worker.info), choose)
    spec = store_plan(assembled, assets, source="testing:kernels")
    handle = await worker.load(spec)
    try:
        result = await worker.run(handle, inputs)
    finally:
        await worker.unload(handle)
    outputs: list[dict[str, Any]] = [{} for _ in batch]
    for made, output in result.outputs.items():
        label, _, name = made.partition(".")
        outputs[int(label)][name] = output
    return outputs


def _operands(
    builder: ProgramBuilder, inputs: dict[str, Array], kernel: Kernel, case: Case
) -> Mapping[str, str]:
    operands = {}
    for name, value in case.inputs(kernel).items():
        binding = kernel.binding(name)
        if binding.role == "constant":
            operands[name] = builder.constant(value)
        else:
            operands[name] = builder.tensor(value.shape, binding.type, name=f"{case.name}.{name}")
            _port(builder, inputs, operands[name], value)
    return operands


def _port(builder: ProgramBuilder, inputs: dict[str, Array], tensor: str, value: Array) -> None:
    """Make a tensor an input of the model, with this value."""
    builder.inputs.append(
        Port(name=f"{tensor} in", dtype=value.dtype.name, shape=value.shape, tensor=tensor)
    )
    inputs[f"{tensor} in"] = value
