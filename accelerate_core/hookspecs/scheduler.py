# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `schedulers` family: which worker takes a job, and what it knows of the past."""

from collections.abc import Mapping
from typing import Any

from ..markers import hookspec
from ..protocols import Context, Scheduler, Store


@hookspec(firstresult=True)
def scheduler_create(settings: Any, ctx: Context) -> Scheduler:  # type: ignore[empty-body]
    """Return the scheduler: one object with `pick(job, fleet)`."""


@hookspec(firstresult=True)
def scheduler_history(store: Store, run_id: str) -> Mapping[str, Any]:  # type: ignore[empty-body]
    """Return what models took before on the machine of a stored run, for `FleetView.history`.

    SHA-256 of a model -> target as text -> plain values: `run_ns` and, where known, `load_ns`
    (medians), `count` (measurements), `browser_version`, `engine_version`.
    """
