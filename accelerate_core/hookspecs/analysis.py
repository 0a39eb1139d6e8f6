# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `analyses` family: judging a run against what the store remembers."""

from typing import Any

from ..markers import hookspec
from ..protocols import Analysis, Context


@hookspec(firstresult=True)
def analysis_create(settings: Any, ctx: Context) -> Analysis:  # type: ignore[empty-body]
    """Return the analysis; it is asked at the end of every run that has a store."""
