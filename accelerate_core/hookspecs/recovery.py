# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `recovery` family: what follows a failed attempt."""

from typing import Any

from ..markers import hookspec
from ..protocols import Context, Recovery


@hookspec(firstresult=True)
def recovery_create(settings: Any, ctx: Context) -> Recovery:  # type: ignore[empty-body]
    """Return the strategy: one object with `decide(failed, job, fleet)`."""
