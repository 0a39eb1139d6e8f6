# SPDX-License-Identifier: Apache-2.0
"""Quantized matrices as an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from accelerate_models.cache import AssetBatch
from accelerate_models.quantized import Packed, Quantized, pack
from accelerate_models.variants import store_variant
from accelerate_models.variants_bits import rewrite

if TYPE_CHECKING:
    from accelerate_core.assets import AssetStore
    from accelerate_core.types import Array, ModelSpec


def store_quantized(
    spec: ModelSpec, matrices: Mapping[str, Quantized], bits: int, assets: AssetStore
) -> ModelSpec:
    """Return a model whose matrices are packed, its assets in the store.

    Its precision is that of `bits`, which most matrices have.
    """

    def packed(name: str, _matrix: Array) -> Packed:
        return pack(matrices[name])

    with AssetBatch(assets) as batch:
        change = partial(rewrite, quantize=packed)
        return store_variant(spec, f"int{bits}", change, batch, assets)
