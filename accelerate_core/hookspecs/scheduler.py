# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `schedulers` family: which worker takes a job."""

from typing import Any

from ..markers import hookspec
from ..protocols import Context, Scheduler


@hookspec(firstresult=True)
def scheduler_create(settings: Any, ctx: Context) -> Scheduler:  # type: ignore[empty-body]
    """Return the scheduler: one object with `pick(job, fleet)`."""
