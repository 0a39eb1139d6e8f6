# SPDX-License-Identifier: Apache-2.0
"""The project's own kernels: data, and the one hook that says where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accelerate_core.markers import hookimpl

__all__ = ["ShadersPlugin"]


class ShadersPlugin:
    """Offer the kernels in this package."""

    name = "shaders"

    @hookimpl
    def kernel_sources(self) -> Sequence[Path]:
        """Return the folder that holds one folder per operation."""
        return (Path(__file__).parent / "kernels",)
