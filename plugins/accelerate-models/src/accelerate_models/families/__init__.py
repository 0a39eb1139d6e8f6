# SPDX-License-Identifier: Apache-2.0
"""The registry: `model_type` of a config.json -> the family that builds its graph.

A new family is one module with a `FAMILY`, and one line here.
"""

from __future__ import annotations

from accelerate_core.errors import ModelError

from ..config import ModelConfig
from . import bert, distilbert, roberta
from .family import Family

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (bert.FAMILY, distilbert.FAMILY, roberta.FAMILY, roberta.XLM_FAMILY)
}


def family_of(config: ModelConfig) -> Family:
    """Return the family of a config.json; ModelError names the supported ones."""
    model_type = config.values.get("model_type")
    family = FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        raise ModelError(
            f"no builder for model_type {model_type!r}" if model_type else "it has no model_type",
            where=str(config.path),
            accepted=sorted(FAMILIES),
            hint="Any model runs from its ONNX export: use file:PATH/model.onnx.",
        )
    return family
