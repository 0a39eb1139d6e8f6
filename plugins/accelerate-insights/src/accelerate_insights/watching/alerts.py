# SPDX-License-Identifier: Apache-2.0
"""Stored findings as people read them: those with one cause are one alert."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import attrs

from accelerate_core.errors import ConfigError
from accelerate_core.types import RunSummary

from ..reading import Results
from ..values import METRICS, Finding, Series, Status
from . import keeping

#: Of what people still have to look at.
PENDING = (Status.OPEN, Status.ACKNOWLEDGED)
#: So many characters of an id are shown, and enough to name it.
SHORT = 8


@attrs.frozen(kw_only=True)
class Stored:
    """A row of `performance_regressions`."""

    id: str
    detected_at: datetime
    updated_at: datetime
    series_key: str
    machine: str
    metric: str
    model_name: str
    platform: str
    engine: str | None
    browser: str | None
    precision: str
    batch_size: int
    changed_at: datetime
    before: float
    after: float
    change: float
    change_low: float | None
    change_high: float | None
    confidence: float
    is_worse: bool
    severity: str
    status: Status = attrs.field(converter=Status)
    last_good_run: str | None
    first_bad_run: str
    last_good_commit: str | None
    first_bad_commit: str | None
    cause_kind: str | None
    cause: str | None
    cause_id: str | None
    was_measured_again: bool
    note: str | None
    evidence: dict[str, Any] = attrs.field(converter=json.loads)

    @property
    def what(self) -> str:
        """Say what became worse: metric, model, target, precision and batch."""
        metric = METRICS[self.metric].label if self.metric in METRICS else self.metric
        where = self.platform + (f"/{self.engine}" if self.engine else "")
        where += f":{self.browser}" if self.browser else ""
        return f"{metric} of {self.model_name} on {where} {self.precision} batch {self.batch_size}"

    @property
    def unit(self) -> str:
        """Return the metric's unit."""
        return METRICS[self.metric].unit if self.metric in METRICS else ""

    @property
    def why(self) -> str:
        """Return the cause in words, or between which commits or runs it happened."""
        if self.cause:
            return self.cause
        if self.last_good_commit != self.first_bad_commit and self.first_bad_commit:
            good = (self.last_good_commit or "unknown")[:9]
            return f"between commits {good} and {self.first_bad_commit[:9]}"
        return f"since run {self.first_bad_run[:SHORT]}"


@attrs.frozen
class Alert:
    """Findings with one cause, worst first."""

    findings: tuple[Stored, ...]

    @property
    def why(self) -> str:
        """Return the cause in words."""
        return self.findings[0].why


def read(
    results: Results,
    *,
    statuses: Sequence[Status] = PENDING,
    since: datetime | None = None,
    with_better: bool = False,
) -> list[Alert]:
    """Return alerts, the newest first: findings with these statuses, detected since then."""
    names = ", ".join(field.name for field in attrs.fields(Stored))
    table = results.query(
        f"SELECT {names} FROM performance_regressions"
        f" WHERE status IN ({', '.join('?' for _ in statuses)}) AND detected_at >= ?"
        f"{'' if with_better else ' AND is_worse'}"
        " ORDER BY detected_at DESC, abs(change) DESC, id",
        [*map(str, statuses), since or datetime.min],
    )
    return _grouped(Stored(**dict(zip(table.columns, row, strict=True))) for row in table.rows)


def told(results: Results, series: Series) -> list[Stored]:
    """Return what people think is worse about a series, as far as they want to hear of it."""
    names = ", ".join(field.name for field in attrs.fields(Stored))
    table = results.query(
        f"SELECT {names} FROM performance_regressions WHERE told = ? AND status <> ?"
        " AND series_key = ? AND machine = ? AND metric = ? ORDER BY changed_at",
        [
            str(Status.OPEN),
            str(Status.WONT_FIX),
            series.key,
            series.machine,
            series.metric.name,
        ],
    )
    return [Stored(**dict(zip(table.columns, row, strict=True))) for row in table.rows]


def open_in(results: Results, summary: RunSummary) -> list[Stored]:
    """Return what people were told to be worse about a run's series, and nobody answered."""
    names = ", ".join(field.name for field in attrs.fields(Stored))
    table = results.query(
        f"SELECT {names} FROM performance_regressions WHERE told = ? AND status = ?"
        " AND list_contains(?, series_key)"
        " AND machine = (SELECT machine FROM machines WHERE run_id = ?)"
        " ORDER BY abs(change) DESC, id",
        [
            str(Status.OPEN),
            str(Status.OPEN),
            sorted({one.series_key for one in summary.measurements}),
            summary.run.id,
        ],
    )
    return [Stored(**dict(zip(table.columns, row, strict=True))) for row in table.rows]


def of(findings: Iterable[Finding]) -> list[Alert]:
    """Return alerts of findings that nobody stored, the newest first."""
    newest = sorted(findings, key=lambda one: one.detected_at, reverse=True)
    return _grouped(Stored(**keeping.row(one)) for one in newest)


def _grouped(findings: Iterable[Stored]) -> list[Alert]:
    groups: dict[str, list[Stored]] = {}
    for one in findings:
        groups.setdefault(one.cause_id or one.id, []).append(one)
    return [
        Alert(tuple(sorted(group, key=lambda one: -abs(one.change)))) for group in groups.values()
    ]


def find(results: Results, prefix: str) -> Stored:
    """Return the one finding whose id begins so; ConfigError when there is none, or several."""
    names = ", ".join(field.name for field in attrs.fields(Stored))
    table = results.query(
        f"SELECT {names} FROM performance_regressions ORDER BY starts_with(id, ?) DESC,"
        " detected_at DESC LIMIT 10",
        [prefix],
    )
    rows = [Stored(**dict(zip(table.columns, row, strict=True))) for row in table.rows]
    fitting = [one for one in rows if prefix and one.id.startswith(prefix)]
    if len(fitting) == 1:
        return fitting[0]
    raise ConfigError(
        f"several findings begin with {prefix!r}"
        if fitting
        else f"no finding is called {prefix!r}",
        where="accel regressions",
        accepted=[one.id for one in fitting or rows] or ["none is stored"],
        hint="accel regressions list --all shows them.",
    )
