# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `engines` family: JavaScript modules that run a model inside a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from accelerate_core.markers import hookspec
from accelerate_core.protocols import Context


@attrs.frozen(kw_only=True)
class EngineModule:
    """Tell the bridge which files make an engine. Served at `/engines/<name>/`."""

    name: str  #: "<engine>-<backend>", e.g. "ort-webgpu"
    folder: Path  #: every file in it is served
    entry: str = "engine.js"
    needs_gpu: bool = False  #: the page runtime opens a GPUDevice for it
    options: Mapping[str, Any] = attrs.field(factory=dict)  #: JSON, handed to `create(ctx)`


@hookspec(firstresult=True)
def engine_create(settings: Any, ctx: Context) -> EngineModule:  # type: ignore[empty-body]
    """Return the engine's files; PluginError when they were not built."""
