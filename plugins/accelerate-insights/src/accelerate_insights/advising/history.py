# SPDX-License-Identifier: Apache-2.0
"""What was measured over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs

from ..reading import Results, Where, check_metrics, read_series
from ..values import Label, Series
from .asking import check_names, since


@attrs.frozen(kw_only=True)
class History:
    """Hold series, and what was asked for."""

    series: tuple[Series, ...]
    metrics: tuple[str, ...]
    time_range: str

    @property
    def points(self) -> int:
        """How many there are in all series."""
        return sum(len(one.points) for one in self.series)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data: series with their points, times in ISO 8601 and UTC."""
        return {
            "time_range": self.time_range,
            "metrics": list(self.metrics),
            "series": [series_data(one) for one in self.series],
        }

    def to_json(self) -> str:
        """Return the same as text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        """Return a line for each series."""
        if not self.series:
            return f"nothing was measured within {self.time_range}"
        return "\n".join(
            f"{one.label}: {one.metric.label}, {len(one.points)} points,"
            f" last {one.points[-1].value:g} {one.metric.unit}"
            for one in self.series
        )


def history(
    results: Results,
    *,
    task: str | None,
    model: str | None,
    browser: str | None,
    time_range: str,
    metrics: Sequence[str],
) -> History:
    """Read it; ConfigError for a metric, a range or a name that nobody knows."""
    names = check_metrics(metrics)
    begin = since(time_range)
    check_names(results, model=model, task=task, browser=browser)
    where = Where(model=model, task=task, browser=browser, since=begin)
    return History(
        series=tuple(read_series(results, where, names)), metrics=names, time_range=time_range
    )


def series_data(series: Series) -> dict[str, Any]:
    """Return a series as JSON data."""
    return {
        "series_key": series.key,
        "machine": series.machine,
        "metric": series.metric.name,
        "unit": series.metric.unit,
        "is_lower_better": series.metric.is_lower_better,
        **label_data(series.label),
        "points": [
            {
                "at": iso(point.at),
                "run_id": point.run_id,
                "value": point.value,
                "commit": point.commit,
                "browser_version": point.browser_version,
                "engine_version": point.engine_version,
            }
            for point in series.points
        ],
    }


def label_data(label: Label) -> dict[str, Any]:
    """Return what a series measures as JSON data."""
    return attrs.asdict(label)


def iso(moment: datetime) -> str:
    """Return a stored time (UTC, without a zone) as ISO 8601 says it."""
    return f"{moment.isoformat()}Z"
