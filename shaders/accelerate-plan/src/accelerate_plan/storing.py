# SPDX-License-Identifier: Apache-2.0
"""A plan as a model that workers load: its files among the assets, and the spec that names them."""

from __future__ import annotations

import hashlib
from typing import Any

import attrs

from accelerate_core.assets import AssetStore
from accelerate_core.types import Asset, ModelSpec, TensorSpec

from .assemble import Assembled
from .plan import Slot, write_plan


def store_weights(assembled: Assembled, assets: AssetStore) -> Asset:
    """Write the weights of a plan as an asset, one at a time: all may be most of the memory."""
    with assets.writer(f"{assembled.plan.name}.weights") as writer:
        for part in assembled.weight_parts():
            writer.write(part)
    return writer.asset


def store_plan(
    assembled: Assembled,
    assets: AssetStore,
    *,
    weights: Asset | None = None,
    source: str,
    **about: Any,
) -> ModelSpec:
    """Write a plan as an asset, and its weights unless they are given.

    Returns the model, with `about` in its spec.
    """
    plan = assembled.plan
    if plan.weights_bytes:
        weights = weights or store_weights(assembled, assets)
        plan = attrs.evolve(plan, weights_sha256=weights.sha256)
    stored = (
        assets.put_bytes(write_plan(plan), f"{plan.name}.plan"),
        *([weights] if weights else []),
    )
    return ModelSpec(
        name=plan.name,
        source=source,
        sha256=hashlib.sha256("".join(one.sha256 for one in stored).encode()).hexdigest(),
        assets=stored,
        inputs=tuple(_described(one) for one in plan.inputs),
        outputs=tuple(_described(one) for one in plan.outputs),
        format="plan",
        **about,
    )


def _described(slot: Slot) -> TensorSpec:
    return TensorSpec(slot.name, slot.dtype, slot.shape)
