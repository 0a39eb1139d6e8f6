# SPDX-License-Identifier: Apache-2.0
"""The plugin by which the core asks what many runs mean. Everything is imported when asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accelerate_core import hookimpl
from accelerate_core.events import Attachment, Event, Regression, RunFinished
from accelerate_core.protocols import Context, Store
from accelerate_core.types import RunSummary


class InsightsPlugin:
    """Say what changed, in reports of one run and of many."""

    name = "insights"

    @hookimpl
    def run_notes(self, summary: RunSummary, store: Store) -> tuple[str, ...]:
        """Return what a run changed against its history."""
        from .picturing.notes import run_notes

        return run_notes(summary, store)

    @hookimpl
    def event_attachments(self, event: Event, store: Store) -> Sequence[Attachment]:
        """Return a picture of a regression's series, or of a run's cells."""
        if isinstance(event, Regression):
            from .picturing.attaching import of_regression

            return of_regression(event, store)
        if isinstance(event, RunFinished):
            from .picturing.attaching import of_run

            return of_run(event.summary)
        return ()

    @hookimpl
    def scheduler_history(self, store: Store, run_id: str) -> Mapping[str, Any]:
        """Return medians of the last 30 days."""
        from .routing import read_history

        return read_history(store, run_id)

    @hookimpl
    def performance_report(
        self, store: Store, days: float, output_format: str, ctx: Context
    ) -> bytes:
        """Return a report about the last `days`."""
        from .picturing.report import generate

        return generate(store, days, output_format, cache_dir=ctx.cache_dir)
