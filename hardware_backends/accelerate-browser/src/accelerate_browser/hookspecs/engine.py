# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `engines` family: JavaScript modules that run a model inside a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from accelerate_core.markers import hookspec
from accelerate_core.protocols import Context
from accelerate_core.types import ModelSpec, WorkerInfo


@attrs.frozen
class Prepared:
    """A model as a page loads it.

    When no dimension of its inputs is free it is for these sizes only, and another is prepared
    for others.
    """

    spec: ModelSpec
    details: Mapping[str, Any] = attrs.field(factory=dict)  #: JSON, for `ModelHandle.details`


#: Turn a model into what a page loads, for sizes of its free dimensions. Runs in a thread. Raises
#: ModelError or Unsupported for what cannot be turned.
Prepare: TypeAlias = Callable[[ModelSpec, Mapping[str, int], WorkerInfo, Context], Prepared]


@attrs.frozen(kw_only=True)
class EngineModule:
    """Tell the bridge which files make an engine. Served at `/engines/<name>/`."""

    name: str  #: "<engine>-<backend>", e.g. "ort-webgpu"
    folder: Path  #: every file in it is served
    entry: str = "engine.js"
    needs_gpu: bool = False  #: the page runtime opens a GPUDevice for it
    options: Mapping[str, Any] = attrs.field(factory=dict)  #: JSON, handed to `create(ctx)`
    formats: tuple[str, ...] = ("onnx",)  #: of models that the page's module loads
    prepare: Prepare | None = None  #: None: the page loads models as they are
    #: How many of a model's sizes stay loaded in a page, for an engine that prepares.
    keep_sizes: int = 4


@hookspec(firstresult=True)
def engine_create(settings: Any, ctx: Context) -> EngineModule:  # type: ignore[empty-body]
    """Return the engine's files; PluginError when they were not built."""
