# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `backends` family: ways to execute a model."""

from collections.abc import Sequence
from typing import Any

from ..markers import hookspec
from ..protocols import Backend, Context, DoctorCheck


@hookspec(firstresult=True)
def backend_create(settings: Any, ctx: Context) -> Backend:  # type: ignore[empty-body]
    """Return the backend; starts nothing."""


@hookspec
def doctor_checks(ctx: Context) -> Sequence[DoctorCheck]:  # type: ignore[empty-body]
    """Return checks for `accel doctor`, beyond starting the backend and running a model."""
