# SPDX-License-Identifier: Apache-2.0
"""Numbers about numbers: distances, medians, identities. Pure."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from ..errors import ModelError, NumericalError
from ..types import SINGLE_STREAM, Cell, ModelSpec, Phases, WorkerInfo

if TYPE_CHECKING:
    from ..types import Array

#: Largest relative L2 distance to native CPU in fp32 that counts as correct, by precision. Eight
#: bits in groups of 32 put a MiniLM of six layers 1.4e-2 off; more layers add up to some more.
TOLERANCE: Mapping[str, float] = {"fp32": 1e-3, "fp16": 2e-2, "int8": 5e-2}

#: Size of a free dimension that is no batch, and tokens of a text, where nobody asked for any.
FREE_DIMENSION = 32


def relative_l2(outputs: Mapping[str, Array], reference: Mapping[str, Array]) -> float:
    """Return the largest |a - b| / |b| over all outputs, in float64.

    NumericalError when an output is missing, has another shape, or is not finite.
    """
    import numpy as np

    worst = 0.0
    for name, expected in reference.items():
        if name not in outputs:
            raise NumericalError(f"output {name!r} is missing", accepted=tuple(reference))
        actual = outputs[name]
        if actual.shape != expected.shape:
            raise NumericalError(
                f"output {name!r} has shape {list(actual.shape)}",
                accepted=(str(list(expected.shape)),),
            )
        if not np.issubdtype(expected.dtype, np.number):
            worst = max(worst, float(not np.array_equal(actual, expected)))
            continue
        got, want = actual.astype(np.float64), expected.astype(np.float64)
        if not np.isfinite(got).all():
            bad = int(np.size(got) - np.isfinite(got).sum())
            raise NumericalError(f"output {name!r} holds {bad} values that are not finite")
        distance, size = float(np.linalg.norm(got - want)), float(np.linalg.norm(want))
        worst = max(worst, distance / size if size else distance)
    return worst


def synthetic_inputs(
    spec: ModelSpec, batch_size: int, sequence_length: int | None
) -> Mapping[str, Array]:
    """Return deterministic inputs of the asked size for a model without a processor.

    The first free dimension is the batch, further ones the sequence length, or 32.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    inputs: dict[str, Array] = {}
    for tensor in spec.inputs:
        shape: list[int] = []
        for index, dimension in enumerate(tensor.shape):
            if isinstance(dimension, int):
                shape.append(dimension)
            else:
                shape.append(batch_size if index == 0 else sequence_length or FREE_DIMENSION)
        kind = np.dtype(tensor.dtype)
        if kind.kind == "f":
            inputs[tensor.name] = rng.standard_normal(shape).astype(kind)
        elif kind.kind in "iub":
            # Ones are legal token ids, masks and flags alike.
            inputs[tensor.name] = np.ones(shape, kind)
        else:
            raise ModelError(
                f"no inputs can be made up for {tensor.name!r} of type {tensor.dtype}",
                where=spec.name,
                hint="Benchmark it from Python, with inputs of your own.",
            )
    return inputs


def bind_dimensions(spec: ModelSpec, inputs: Mapping[str, Array]) -> dict[str, int]:
    """Return the size of each free dimension, as these inputs have it."""
    sizes: dict[str, int] = {}
    for tensor in spec.inputs:
        if tensor.name in inputs:
            for dimension, size in zip(tensor.shape, inputs[tensor.name].shape, strict=False):
                if isinstance(dimension, str):
                    sizes[dimension] = int(size)
    return sizes


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of the known values, or None when there are none."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def median_phases(phases: Sequence[Phases]) -> Phases:
    """Return the median of each phase over several runs."""
    return Phases(
        **{
            field.name: median(getattr(one, field.name) for one in phases)
            for field in attrs.fields(Phases)
        }
    )


def series_key(cell: Cell, model_sha256: str | None, worker: WorkerInfo | None) -> str:
    """Hash what identifies a series of measurements over time.

    The adapter is in it, versions of browsers and engines are not: those may change within it.
    """
    target = worker.target if worker else cell.target
    adapter = worker.adapter if worker else None
    identity = {
        "model": model_sha256 or cell.model,
        "backend": target.backend,
        "engine": target.engine,
        "browser": target.browser,
        "precision": cell.precision,
        "batch_size": cell.batch_size,
        "sequence_length": cell.sequence_length,
        "adapter": [adapter.vendor, adapter.architecture] if adapter else None,
        "device_type": worker.device_type if worker else None,
        "is_software": worker.is_software if worker else None,
        "is_simulated": worker.is_simulated if worker else None,
    }
    if cell.scenario != SINGLE_STREAM:  # which older series have no word for
        identity["scenario"] = str(cell.scenario)
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
