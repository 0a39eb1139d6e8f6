# SPDX-License-Identifier: Apache-2.0
"""`Insights`: what users ask of a database, each question one method. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .reading import Database, Results

if TYPE_CHECKING:
    from .advising.history import History
    from .advising.optimizing import Optimization
    from .advising.recommending import Recommendations
    from .advising.trends import Trends


class Insights:
    """Ask a database what its measurements mean, also while a run writes it."""

    def __init__(self, db: str | Path | Results = "results.duckdb") -> None:
        """Take a file, or an open store. Nothing is opened before the first question."""
        self.results: Results = Database(Path(db)) if isinstance(db, str | Path) else db

    def get_performance_history(
        self,
        model_type: str | None = None,
        *,
        model: str | None = None,
        browser: str | None = None,
        time_range: str = "7d",
        metrics: Sequence[str] = ("latency_ms",),
    ) -> History:
        """Return the series of a task (`model_type`), a model or a browser, oldest point first.

        `time_range` is "24h", "7d", "4w" or "all". ConfigError for a metric, a time range or a
        name that nobody knows; ConfigError when there is no such database.
        """
        from .advising.history import history

        return history(
            self.results,
            task=model_type,
            model=model,
            browser=browser,
            time_range=time_range,
            metrics=metrics,
        )

    def analyze_performance_trends(
        self,
        model_type: str | None = None,
        *,
        model: str | None = None,
        browser: str | None = None,
        time_range: str = "30d",
        metrics: Sequence[str] = ("latency_ms",),
    ) -> Trends:
        """Return of every series its level, its slope in a week, its spread and its changes.

        Takes what `get_performance_history` takes. A slope of None means: not enough data.
        """
        from .advising.trends import Trends, trends

        found = self.get_performance_history(
            model_type, model=model, browser=browser, time_range=time_range, metrics=metrics
        )
        return Trends(time_range=time_range, trends=tuple(trends(found.series)))

    def get_browser_recommendations(
        self,
        task: str | None = None,
        *,
        model: str | None = None,
        objective: str = "latency",
        time_range: str = "30d",
    ) -> Recommendations:
        """Return the ways to run models, ranked by what was measured, with what is as good.

        `objective` is latency, throughput, memory, reliability or balanced. An answer without
        choices means that there is not enough data. ConfigError as for the history.
        """
        from .advising.recommending import recommend

        return recommend(
            self.results, task=task, model=model, objective=objective, time_range=time_range
        )

    def apply_performance_optimizations(
        self,
        config: str | Path = "accelerate.toml",
        *,
        dry_run: bool = False,
        time_range: str = "30d",
    ) -> Optimization:
        """Write settings into a pipeline file that were measured as at least 5 % faster.

        What the file was is kept beside it. ConfigError for a file that is none.
        """
        from .advising.optimizing import optimize

        return optimize(self.results, Path(config), time_range=time_range, is_dry=dry_run)

    def create_performance_visualization(
        self,
        metrics: Sequence[str] = ("latency_ms",),
        days: float = 30,
        output_file: str | Path = "performance.html",
    ) -> Path:
        """Draw metrics over time, their distributions, backends by browsers; return the path.

        The ending chooses PNG, SVG or a page that needs no network. ConfigError for a metric or
        an ending nobody knows; StoreError when nothing was measured in that time.
        """
        from .picturing.drawing import create_performance_visualization

        return create_performance_visualization(self.results, metrics, days, output_file)

    def generate_performance_report(
        self,
        days: float = 30,
        output_format: str = "markdown",
        output_file: str | Path | None = None,
    ) -> str | Path:
        """Say what changed, trends, grades, noise and what is missing, over the last `days`.

        The format is markdown, html, json or pdf. Returns the text, or the path of `output_file`.
        ConfigError for a format nobody knows; BackendUnavailable for a PDF without a browser.
        """
        from .picturing.report import generate_performance_report

        return generate_performance_report(self.results, days, output_format, output_file)
