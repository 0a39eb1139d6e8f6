# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `builders` family: from a config.json and weights to graphs, by `model_type`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from accelerate_core.markers import hookspec
from accelerate_core.protocols import Context

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..graph import GraphBuilder


@attrs.frozen(kw_only=True)
class Part:
    """Say how one graph of a model is built: all of it, its encoder, its decoder."""

    task: str  #: one of `accelerate_core.types.TASKS`
    #: Adds inputs, nodes and outputs; returns JSON facts for `ModelSpec.metadata` (`hidden_size`,
    #: `layers`, for text also `max_positions`). ModelError when config or weights do not fit.
    build: Callable[[GraphBuilder, ModelConfig], Mapping[str, Any]]
    #: Kind of processor (see `accelerate_models.processors`); None for a graph that takes tensors.
    processor: str | None = None


@attrs.frozen(kw_only=True)
class Builder:
    """Build the graphs of one `model_type`."""

    model_type: str
    #: By name: `dir:PATH#decoder` asks for one; the first is what `dir:PATH` means.
    parts: Mapping[str, Part]
    #: What a checkpoint with a task head puts before the names of the base model: "bert.".
    prefix: str = ""


@hookspec(firstresult=True)
def builder_create(settings: Any, ctx: Context) -> Builder:  # type: ignore[empty-body]
    """Return the builder; reads nothing. The plugin's name is the `model_type`."""
