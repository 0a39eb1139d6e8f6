# SPDX-License-Identifier: Apache-2.0
"""Run, test and benchmark AI models on real browsers and native hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["Accelerator", "AsyncAccelerator", "__version__", "hookimpl"]

if TYPE_CHECKING:
    from .api import Accelerator, AsyncAccelerator
    from .markers import hookimpl


def __getattr__(name: str) -> Any:
    # Lazy, so that plugins and `accel --help` can import the package without its weight.
    if name == "hookimpl":
        from .markers import hookimpl

        return hookimpl
    if name in ("Accelerator", "AsyncAccelerator"):
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
