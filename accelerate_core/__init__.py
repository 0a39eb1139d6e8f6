# SPDX-License-Identifier: Apache-2.0
"""Run, test and benchmark AI models on real browsers and native hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["Accelerator", "AsyncAccelerator", "__version__", "hookimpl"]

if TYPE_CHECKING:
    from .api import AsyncAccelerator
    from .blocking import Accelerator
    from .markers import hookimpl


def __getattr__(name: str) -> Any:
    # Lazy, so that plugins and `accel --help` can import the package without its weight.
    if name == "hookimpl":
        from .markers import hookimpl

        return hookimpl
    if name == "AsyncAccelerator":
        from .api import AsyncAccelerator

        return AsyncAccelerator
    if name == "Accelerator":
        from .blocking import Accelerator

        return Accelerator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
