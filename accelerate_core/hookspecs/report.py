# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `reports` family: showing what a run found."""

from typing import Any

from ..markers import hookspec
from ..protocols import Context, Report


@hookspec(firstresult=True)
def report_create(settings: Any, ctx: Context) -> Report:  # type: ignore[empty-body]
    """Return the report; ConfigError when its settings make no sense. Writes nothing yet."""
