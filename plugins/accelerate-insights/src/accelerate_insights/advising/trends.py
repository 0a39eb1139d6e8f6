# SPDX-License-Identifier: Apache-2.0
"""Where series go: their level now, its slope, and the changes of level before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import attrs
import numpy as np

from ..detecting import Settings, find
from ..values import Finding, Series
from . import slopes
from .candidates import Estimate
from .history import iso, label_data
from .recommending import number, value_text

_WEEK = timedelta(weeks=1)


@attrs.frozen(kw_only=True)
class Trend:
    """Say where a series is and goes. Numbers are of the level it is at, since its last change."""

    series: Series
    findings: tuple[Finding, ...]  #: changes of level, oldest first
    points: int  #: at this level
    level: Estimate  #: median, in the metric's unit
    spread: float | None  #: relative; None of one point
    per_week: Estimate | None  #: change of the value in a week; None: not enough data

    @property
    def is_moving(self) -> bool | None:
        """Whether the slope is another than none; None when there is not enough data."""
        slope = self.per_week
        if slope is None or slope.low is None or slope.high is None:
            return None
        return slope.low > 0 or slope.high < 0

    def __str__(self) -> str:
        """Return a sentence."""
        unit = self.series.metric.unit
        text = f"{self.series.label}: {self.series.metric.label} {value_text(self.level, unit)}"
        if self.findings:
            last = self.findings[-1].change
            at = self.series.points[last.index].at
            text += f" since {at:%Y-%m-%d}, {last.relative:+.0%}"
        if self.per_week is None:
            return f"{text}; not enough data for a slope ({self.points} points)"
        if not self.is_moving:
            return f"{text}; steady"
        return f"{text}; {signed(self.per_week.value)} {unit} a week"


@attrs.frozen(kw_only=True)
class Trends:
    """Hold the trend of every series of a time."""

    time_range: str
    trends: tuple[Trend, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data; times are ISO 8601 and UTC."""
        return {
            "time_range": self.time_range,
            "trends": [_trend_data(one) for one in self.trends],
        }

    def to_json(self) -> str:
        """Return the same as text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        """Return a line for each series."""
        if not self.trends:
            return f"not enough data: nothing was measured within {self.time_range}"
        return "\n".join(str(one) for one in self.trends)


def trends(series: Sequence[Series], *, min_effect: float = 0.05) -> list[Trend]:
    """Return the trend of each series; changes below `min_effect` are none.

    Values that are no finite numbers are left out.
    """
    clean = [_finite(one) for one in series]
    clean = [one for one in clean if one.points]
    found: dict[tuple[str, str, str], list[Finding]] = {}
    for one in find(clean, Settings(min_effect=min_effect)):
        found.setdefault(_identity(one.series), []).append(one)
    return [_trend(one, tuple(found.get(_identity(one), ()))) for one in clean]


def signed(value: float) -> str:
    """Return a short number with its sign."""
    return f"{'+' if value > 0 else ''}{number(value)}"


def _trend(series: Series, findings: tuple[Finding, ...]) -> Trend:
    points = series.points[findings[-1].change.index if findings else 0 :]
    values = np.array([one.value for one in points])
    times = np.array([(one.at - points[0].at) / _WEEK for one in points])
    return Trend(
        series=series,
        findings=findings,
        points=len(points),
        level=slopes.median(values),
        spread=slopes.spread(values),
        per_week=slopes.slope(times, values),
    )


def _identity(series: Series) -> tuple[str, str, str]:
    return series.key, series.machine, series.metric.name


def _finite(series: Series) -> Series:
    return attrs.evolve(
        series, points=tuple(one for one in series.points if abs(one.value) < float("inf"))
    )


def _trend_data(trend: Trend) -> dict[str, Any]:
    series = trend.series
    return {
        "series_key": series.key,
        "machine": series.machine,
        "metric": series.metric.name,
        "unit": series.metric.unit,
        **label_data(series.label),
        "points": len(series.points),
        "points_at_level": trend.points,
        "level": attrs.asdict(trend.level),
        "spread": trend.spread,
        "per_week": trend.per_week and attrs.asdict(trend.per_week),
        "is_moving": trend.is_moving,
        "is_enough_data": trend.per_week is not None,
        "changes": [
            {
                "id": one.id,
                "at": iso(series.points[one.change.index].at),
                "commit": series.points[one.change.index].commit,
                "before": one.change.before,
                "after": one.change.after,
                "relative": one.change.relative,
                "low": one.change.low,
                "high": one.change.high,
                "severity": str(one.severity),
                "is_worse": one.is_worse,
            }
            for one in trend.findings
        ],
    }
