# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `reports` family: showing what a run found, and what many runs mean."""

from collections.abc import Sequence
from typing import Any

from ..markers import hookspec
from ..protocols import Context, Records, Report
from ..types import RunSummary


@hookspec(firstresult=True)
def report_create(settings: Any, ctx: Context) -> Report:  # type: ignore[empty-body]
    """Return the report; ConfigError when its settings make no sense. Writes nothing yet."""


@hookspec(firstresult=True)
def performance_report(  # type: ignore[empty-body]
    store: Records, days: float, output_format: str, ctx: Context
) -> bytes:
    """Return a report about the last `days` of stored runs, as its file would hold it.

    ConfigError for an `output_format` that the plugin does not write.
    """


@hookspec
def run_notes(summary: RunSummary, store: Records) -> Sequence[str]:  # type: ignore[empty-body]
    """Return what to say of a stored run against its history, a sentence each."""
