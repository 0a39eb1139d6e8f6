# SPDX-License-Identifier: Apache-2.0
"""What a fleet is asked under faults: a model, several inputs, and the reference's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from accelerate_core.errors import BackendUnavailable
from accelerate_core.host import Host
from accelerate_core.testing.models import slow_chain, tiny_mlp
from accelerate_core.types import LoadOptions, ModelSpec, Target

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: Different requests; more come round again.
VARIETY = 16


@attrs.frozen(kw_only=True)
class Workload:
    """Hold a model, inputs for it, and what the native CPU answers to each."""

    spec: ModelSpec
    options: LoadOptions = LoadOptions()
    inputs: Sequence[Mapping[str, Array]]
    expected: Sequence[Mapping[str, Array]]


async def tiny(host: Host) -> Workload:
    """Return a tiny real model: two layers, well under a millisecond a run."""
    return await referenced(host, tiny_mlp(host.context.assets), tiny_inputs())


def tiny_inputs() -> list[dict[str, Array]]:
    """Return the inputs of the tiny model: the same ones in every process."""
    import numpy as np

    chance = np.random.default_rng(7)
    return [{"x": chance.normal(size=(2, 8)).astype(np.float32)} for _ in range(VARIETY)]


async def slow(host: Host, size: int) -> Workload:
    """Return 64 matrix products of `size` squared: `size` sets how long a run takes."""
    import numpy as np

    chance = np.random.default_rng(7)
    signed = [
        np.eye(size, dtype=np.float32)[chance.permutation(size)] * chance.choice([-1, 1], size)
        for _ in range(VARIETY)
    ]
    inputs = [{"x": one.astype(np.float32)} for one in signed]
    options = LoadOptions(dimensions={"n": size})
    return await referenced(host, slow_chain(host.context.assets), inputs, options)


async def named(host: Host, reference: str) -> Workload:
    """Return a model by reference with random inputs; ModelError when there is none."""
    import numpy as np

    spec = host.resolve_model(reference)
    chance = np.random.default_rng(7)
    return await referenced(host, spec, [_random_inputs(spec, chance) for _ in range(VARIETY)])


def _random_inputs(spec: ModelSpec, chance: Any) -> dict[str, Array]:
    """Make inputs of small size: one of a batch, eight of any other free dimension."""
    import numpy as np

    made: dict[str, Array] = {}
    for tensor in spec.inputs:
        shape = [
            size if isinstance(size, int) else 1 if index == 0 else 8
            for index, size in enumerate(tensor.shape)
        ]
        dtype = np.dtype(tensor.dtype)
        drawn = chance.normal(size=shape) if dtype.kind == "f" else chance.integers(0, 2, shape)
        made[tensor.name] = drawn.astype(dtype)
    return made


async def referenced(
    host: Host,
    spec: ModelSpec,
    inputs: Sequence[Mapping[str, Array]],
    options: LoadOptions | None = None,
) -> Workload:
    """Return a workload with the native CPU's answers; BackendUnavailable without that backend."""
    import numpy as np

    if "cpu" not in host.names("backends"):
        raise BackendUnavailable(
            "answers are compared with native ONNX Runtime, which is not installed",
            where="chaos",
            hint="pip install accelerate-cpu",
        )
    options = options or LoadOptions()
    backend = host.create("backends", "cpu")
    try:
        worker = await backend.start(Target("cpu"), host.context)
        try:
            handle = await worker.load(spec, options)
            expected = []
            for one in inputs:
                outputs = (await worker.run(handle, one)).outputs
                expected.append({name: np.asarray(value) for name, value in outputs.items()})
        finally:
            await worker.close()
    finally:
        await backend.close()
    return Workload(spec=spec, options=options, inputs=tuple(inputs), expected=tuple(expected))
