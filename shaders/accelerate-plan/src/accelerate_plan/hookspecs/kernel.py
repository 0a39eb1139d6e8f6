# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `kernels` family: where WGSL kernels lie."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate_core.markers import hookspec
from accelerate_core.protocols import Context


@hookspec(firstresult=True)
def kernel_sources(settings: Any, ctx: Context) -> Sequence[Path]:  # type: ignore[empty-body]
    """Return folders that hold one folder per operation, each with a `kernel.toml`.

    An operation that another plugin defines is extended by more variants: its `kernel.toml` then
    has `operation` and `[variants.*]` only.
    """
