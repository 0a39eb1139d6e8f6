# SPDX-License-Identifier: Apache-2.0
"""What there is to know about a resolved model, as plain data."""

from __future__ import annotations

from typing import Any

from accelerate_core.serial import to_plain
from accelerate_core.types import ModelSpec


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
