# SPDX-License-Identifier: Apache-2.0
"""RoBERTa and XLM-RoBERTa: BERT whose positions count only real tokens, after the padding row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from ..blocks.layers import embedding
from ..config import ModelConfig
from ..graph import GraphBuilder, Value
from ..hookspecs.builder import Builder, Part
from .bert import build_encoder


def build(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build RoBERTa."""
    facts = build_encoder(g, config, _positions)
    usable = config.size("max_position_embeddings") - config.integer("pad_token_id", 1) - 1
    if usable < 1:
        raise config.fault("max_position_embeddings", "more than pad_token_id + 1")
    return {**facts, "max_positions": usable}


def _positions(g: GraphBuilder, config: ModelConfig, ids: Value, hidden: int) -> Value:
    """Count tokens other than padding from `pad_token_id + 1`; padding itself gets that id."""
    padding = config.integer("pad_token_id", 1)
    with g.scope("position_ids"):
        is_padding = g.op("Equal", ids, g.constant(np.array(padding, np.int64)))
        # int32: more providers sum and multiply it than int64.
        is_token = g.op("Cast", g.op("Not", is_padding), to=TensorProto.INT32)
        count = g.op("CumSum", is_token, g.constant(np.array(1, np.int64)))
        positions = g.op(
            "Add", g.op("Mul", count, is_token), g.constant(np.array(padding, np.int32))
        )
    rows = config.size("max_position_embeddings")
    return embedding(g, positions, "embeddings.position_embeddings", rows, hidden)


_PARTS = {"model": Part(task="text_embedding", processor="text_embedding", build=build)}
BUILDERS = [
    Builder(model_type="roberta", prefix="roberta.", parts=_PARTS),
    Builder(model_type="xlm-roberta", prefix="roberta.", parts=_PARTS),
]
