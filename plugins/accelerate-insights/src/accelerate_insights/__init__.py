# SPDX-License-Identifier: Apache-2.0
"""What stored measurements mean: changes, comparisons, recommendations, pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .facade import Insights

__all__ = ["Insights"]


def __getattr__(name: str) -> Any:
    # Entry points of this package are imported at every start of `accel`.
    if name == "Insights":
        from .facade import Insights

        return Insights
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
