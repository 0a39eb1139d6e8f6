# SPDX-License-Identifier: Apache-2.0
"""The analysis `insights`. What it needs is imported when a run has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs import validators

from accelerate_core import hookimpl
from accelerate_core.protocols import Context, Store

if TYPE_CHECKING:
    from .analysis import Watch


@attrs.frozen(kw_only=True)
class WatchSettings:
    """Configure which changes are looked for, and whether one fails a run."""

    #: Metrics that are looked at; docs/insights.md lists them.
    metrics: tuple[str, ...] = ("latency_ms", "inference_time_ms", "memory_usage_mb")
    #: Least change that matters, relative.
    min_effect: float = attrs.field(
        default=0.05, validator=[validators.ge(0.005), validators.le(1.0)]
    )
    #: What finds changes: a plugin of the group `accelerate_insights.detectors`.
    detector: str = "shift"
    #: Least severity of a new regression that makes the run's exit code 1.
    fail_on: Literal["never", "minor", "major", "critical"] = "never"


class WatchPlugin:
    """Compares a run with its history: change points, confirmed by measuring again."""

    name = "insights"
    settings = WatchSettings

    @hookimpl
    def analysis_create(self, settings: WatchSettings | None, ctx: Context) -> Watch:
        """Return the analysis; ConfigError for a metric or a detector nobody knows."""
        from ..detecting.choosing import choose
        from ..reading import check_metrics
        from .analysis import Watch

        settings = settings or WatchSettings()
        where = "[analyses.insights] key"
        check_metrics(settings.metrics, where=f"{where} metrics")
        detector = choose(
            ctx.plugins, settings.detector, settings.min_effect, where=f"{where} detector"
        )
        return Watch(settings, detector)

    @hookimpl
    def store_listener(self, store: Store) -> Mapping[str, Callable[[Any], None]]:
        """Return what keeps the history of the resource pool."""
        from .pool import PoolHistory

        return PoolHistory(store).keepers()
