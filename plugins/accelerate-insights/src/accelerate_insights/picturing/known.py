# SPDX-License-Identifier: Apache-2.0
"""Changes as reports tell them: those the database keeps, and those a detector finds now."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import attrs
from accelerate_reports.columns import short

from accelerate_core.texts import one_line, short_id

from ..reading import Results
from ..values import METRICS, Finding, Label, Metric, Series, Severity, Status

#: The worst first.
SEVERITIES = (Severity.CRITICAL, Severity.MAJOR, Severity.MINOR, Severity.IMPROVEMENT)


@attrs.frozen(kw_only=True)
class Known:
    """Hold a change with what led to it. Unknown is None."""

    id: str
    series_key: str
    machine: str
    metric: Metric
    label: str
    changed_at: datetime
    before: float
    after: float
    low: float | None  #: of after / before - 1, at 95%
    high: float | None
    confidence: float
    is_worse: bool
    severity: Severity
    status: Status
    last_good_run: str | None
    first_bad_run: str
    last_good_commit: str | None
    first_bad_commit: str | None
    cause: str | None
    cause_id: str | None
    was_measured_again: bool
    note: str | None
    evidence: dict[str, Any]
    is_stored: bool  #: the database keeps it

    @property
    def relative(self) -> float:
        """after / before - 1."""
        return self.after / self.before - 1

    @property
    def size(self) -> str:
        """Before, after and the change with its interval, in words."""
        unit = self.metric.unit
        text = f"{short(self.before)} \N{RIGHTWARDS ARROW} {short(self.after)} {unit}"
        text += f", {self.relative:+.0%}"
        if self.low is None or self.high is None:
            return text
        return f"{text} (95% interval {self.low:+.0%} to {self.high:+.0%})"

    @property
    def since(self) -> str:
        """Where it began: commits where they are known, else runs."""
        bad, good = self.first_bad_commit, self.last_good_commit
        if bad and bad != good:
            return f"commit {bad[:12]}" + (f", after {good[:12]}" if good else "")
        run = f"run {short_id(self.first_bad_run)}"
        return run + (f", after {short_id(self.last_good_run)}" if self.last_good_run else "")


def stored(results: Results, since: datetime, series_keys: Sequence[str] = ()) -> list[Known]:
    """Return the changes that the database keeps, and that happened since then or are open."""
    keys = f" AND series_key IN ({', '.join('?' for _ in series_keys)})" if series_keys else ""
    table = results.query(
        "SELECT id, series_key, machine, metric, changed_at, before, after, change_low,"
        " change_high, confidence, is_worse, severity, status, last_good_run, first_bad_run,"
        " last_good_commit, first_bad_commit, cause, cause_id, was_measured_again, note, evidence,"
        " model_name, platform, engine, browser, precision, batch_size"
        " FROM performance_regressions"
        f" WHERE (changed_at >= ? OR status IN ('open', 'acknowledged')){keys}"
        " ORDER BY changed_at, id",
        [since, *series_keys],
    )
    found = []
    for row in table.rows:
        values = dict(zip(table.columns, row, strict=True))
        if values["metric"] not in METRICS:
            continue
        label = Label(
            model=values["model_name"],
            backend=values["platform"],
            engine=values["engine"],
            browser=values["browser"],
            precision=values["precision"],
            batch_size=values["batch_size"],
        )
        kept = {one.name: values[one.name] for one in attrs.fields(Known) if one.name in values}
        kept |= {
            "metric": METRICS[values["metric"]],
            "low": values["change_low"],
            "high": values["change_high"],
            "severity": Severity(values["severity"]),
            "status": Status(values["status"]),
            "evidence": json.loads(values["evidence"]),
        }
        found.append(Known(**kept, label=one_line(str(label)), is_stored=True))
    return found


def known(findings: Iterable[Finding]) -> list[Known]:
    """Return what a detector found, as reports tell it."""
    return [_known(one) for one in findings]


def merged(kept: Sequence[Known], found: Iterable[Known]) -> list[Known]:
    """Return all changes once, the worst first; what the database keeps has the last word."""
    ids = {one.id for one in kept}
    every = [*kept, *(one for one in found if one.id not in ids)]
    return sorted(every, key=lambda one: (SEVERITIES.index(one.severity), -abs(one.relative)))


def _known(finding: Finding) -> Known:
    series, change = finding.series, finding.change
    bad = series.points[change.index]
    good = series.points[change.index - 1] if change.index else None
    return Known(
        id=finding.id,
        series_key=series.key,
        machine=series.machine,
        metric=series.metric,
        label=one_line(str(series.label)),
        changed_at=bad.at,
        before=change.before,
        after=change.after,
        low=change.low,
        high=change.high,
        confidence=change.confidence,
        is_worse=finding.is_worse,
        severity=finding.severity,
        status=finding.status,
        last_good_run=good.run_id if good else None,
        first_bad_run=bad.run_id,
        last_good_commit=good.commit if good else None,
        first_bad_commit=bad.commit,
        cause=finding.cause,
        cause_id=finding.cause_id,
        was_measured_again=finding.was_measured_again,
        note=finding.note,
        evidence=dict(change.evidence),
        is_stored=False,
    )


def detected(series: Sequence[Series]) -> list[Known]:
    """Return what the detector finds in these series now."""
    from ..detecting import find

    return known(find(series))
