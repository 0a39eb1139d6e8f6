# SPDX-License-Identifier: Apache-2.0
"""From a change to a finding: is it worse, how bad, and a name that stays. Pure."""

from __future__ import annotations

import hashlib

from ..values import Change, Finding, Metric, Series, Severity

#: Least slow-down of each severity, and the confidence it needs; with less it is one lower.
_LEVELS = ((Severity.CRITICAL, 0.30, 0.999), (Severity.MAJOR, 0.10, 0.99))


def loss(change: Change, metric: Metric) -> float:
    """Return by how much it is worse: 1.0 is twice the latency, or half the throughput."""
    ratio = change.after / change.before
    return (ratio if metric.is_lower_better else 1 / ratio) - 1


def severity(change: Change, metric: Metric) -> Severity:
    """Judge a change by its effect and its confidence: docs/insights.md has the table."""
    worse = loss(change, metric)
    if worse <= 0:
        return Severity.IMPROVEMENT
    for level, effect, confidence in _LEVELS:
        if worse >= effect and change.confidence >= confidence:
            return level
    return Severity.MINOR


def finding(series: Series, change: Change) -> Finding:
    """Return the finding of a change; it was detected when the last point it needed was stored."""
    first_bad = series.points[change.index]
    seen = change.evidence.get("seen_index", len(series.points) - 1)
    name = "|".join((series.key, series.machine, series.metric.name, first_bad.run_id))
    return Finding(
        id=hashlib.sha256(name.encode()).hexdigest()[:16],
        series=series,
        change=change,
        is_worse=loss(change, series.metric) > 0,
        severity=severity(change, series.metric),
        detected_at=series.points[seen].at,
    )
