# SPDX-License-Identifier: Apache-2.0
"""What there is to know about a resolved model, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelerate_core.assets import AssetStore
from accelerate_core.measuring.numbers import bind_dimensions, synthetic_inputs
from accelerate_core.protocols import ModelSource
from accelerate_core.serial import to_plain
from accelerate_core.types import ModelSpec

if TYPE_CHECKING:
    from accelerate_core.types import Array

    from .costs import Costs


def inspect(spec: ModelSpec) -> dict[str, Any]:
    """Return JSON data about a model: sizes in bytes, tensors, operators, blocks, processor."""
    rest = dict(spec.metadata)
    blocks = rest.pop("blocks", [])
    return {
        "name": spec.name,
        "source": spec.source,
        "sha256": spec.sha256,
        "format": spec.format,
        "task": spec.task,
        "family": spec.family,
        "precision": spec.precision,
        "parameters": spec.parameters,
        "size_bytes": spec.size_bytes,
        "assets": to_plain(spec.assets),
        "inputs": to_plain(spec.inputs),
        "outputs": to_plain(spec.outputs),
        "operators": list(spec.operators),
        "blocks": blocks,
        "processor": dict(spec.processor.settings) if spec.processor else None,
        "metadata": rest,
    }


def sample_inputs(
    spec: ModelSpec, source: ModelSource, batch: int, sequence: int | None
) -> Mapping[str, Array]:
    """Return the inputs that a benchmark of these sizes has; ModelError where there are none."""
    if spec.processor is None:
        return synthetic_inputs(spec, batch, sequence)
    processor = source.processor(spec.processor)
    return processor.encode(processor.sample(batch, sequence), sequence_length=sequence)


def measure_costs(spec: ModelSpec, inputs: Mapping[str, Array], assets: AssetStore) -> Costs:
    """Return what one run with these inputs costs, from the graph alone."""
    import onnx

    from .costs import costs_of

    model = onnx.load(str(assets.path(spec.assets[0].sha256)), load_external_data=False)
    return costs_of(model, {name: value.shape for name, value in inputs.items()})


def with_costs(
    facts: dict[str, Any], spec: ModelSpec, inputs: Mapping[str, Array], costs: Costs
) -> dict[str, Any]:
    """Add the costs of one run to what `inspect` returned, to its blocks too."""
    found = {block.name: block for block in costs.blocks}
    known = {block["name"]: block for block in facts["blocks"]}
    # Blocks are computed in another order than their weights are first used, and some have none.
    names = dict.fromkeys((*known, *found))
    blocks = [
        {
            **known.get(name, {"name": name, "parameters": 0, "size_bytes": 0}),
            "flops": found[name].flops if name in found else 0,
            "moved_bytes": found[name].moved_bytes if name in found else 0,
        }
        for name in names
    ]
    return {
        **facts,
        "blocks": blocks,
        "costs": {
            "dimensions": bind_dimensions(spec, inputs),
            "shapes": {name: list(value.shape) for name, value in inputs.items()},
            "flops": costs.flops,
            "flops_by_operator": dict(costs.operators),
            "moved_bytes": costs.moved_bytes,
            "weights_bytes": costs.weights_bytes,
            "activations_bytes": costs.activations_bytes,
            "memory_bytes": costs.weights_bytes + costs.activations_bytes,
            "uncounted_operators": list(costs.uncounted),
        },
    }
