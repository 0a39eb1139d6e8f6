# SPDX-License-Identifier: Apache-2.0
"""What a family is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from ..config import ModelConfig
from ..graph import GraphBuilder


@attrs.frozen(kw_only=True)
class Family:
    """Tie a `model_type` to the function that builds its graph."""

    model_type: str
    task: str
    #: What a checkpoint with a task head puts before the names of the base model: "bert.".
    prefix: str
    #: Adds inputs, nodes and outputs; returns JSON facts for `ModelSpec.metadata`, among them
    #: `hidden_size`, `layers` and `max_positions`. ModelError when config or weights do not fit.
    build: Callable[[GraphBuilder, ModelConfig], Mapping[str, Any]]
