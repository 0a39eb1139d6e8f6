# SPDX-License-Identifier: Apache-2.0
"""Made-up events: to try templates and rules with, before anything has happened."""

from __future__ import annotations

from datetime import UTC, datetime

from accelerate_core.errors import ErrorInfo
from accelerate_core.events import Regression, WorkerGone
from accelerate_core.types import Target

_BEFORE_MS = 10.0


def regression(
    *,
    model: str = "bert",
    target: str = "webgpu:chromium",
    metric: str = "latency_ms",
    severity: str = "major",
    change: float = 0.5,
) -> Regression:
    """Return a regression of which everything is known."""
    return Regression(
        run_id="test",
        at=datetime.now(UTC),
        series_key="test",
        metric=metric,
        before=_BEFORE_MS,
        after=_BEFORE_MS * (1 + change),
        severity=severity,
        id="test",
        label=f"{metric} of {model} on {target}",
        model=model,
        target=target,
        change=change,
        change_low=change * 0.9,
        change_high=change * 1.1,
        cause_kind="commit",
        cause="between commits 0123456 and 89abcde",
        cause_id="test",
        first_bad_run="test",
        see="accel regressions show test",
    )


def lost_worker() -> WorkerGone:
    """Return the loss of a worker."""
    return WorkerGone(
        run_id="test",
        at=datetime.now(UTC),
        worker_id="webgpu-1",
        epoch=1,
        target=Target("webgpu", browser="chromium"),
        error=ErrorInfo(kind="WorkerLost", message="the browser crashed"),
    )
