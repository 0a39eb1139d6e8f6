# SPDX-License-Identifier: Apache-2.0
"""Series out of a database: the one place that asks `time_series_performance` for points."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import attrs

from accelerate_core.errors import ConfigError, did_you_mean
from accelerate_core.protocols import Table

from .values import METRICS, Label, Point, Series


class Results(Protocol):
    """Answer queries: an open store, or a `Database`."""

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Run a read-only query."""
        ...


@attrs.frozen
class Database:
    """A database file, asked through the process that writes it, or directly."""

    path: Path = attrs.field(converter=Path)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Run a read-only query; ConfigError when there is no such file."""
        from accelerate_duckdb.client import query

        return query(self.path, sql, parameters)


@attrs.frozen(kw_only=True)
class Where:
    """Choose measurements; what is None or empty chooses all."""

    model: str | None = None
    task: str | None = None
    backend: str | None = None
    browser: str | None = None
    since: datetime | None = None  #: UTC, without a zone
    until: datetime | None = None
    series_keys: tuple[str, ...] = ()

    def clause(self) -> tuple[str, list[Any]]:
        """Return a condition in SQL on `time_series_performance`, and its parameters."""
        columns = {
            "model_name": self.model,
            "model_type": self.task,
            "platform": self.backend,
            "browser": self.browser,
        }
        terms = [f"{column} = ?" for column, value in columns.items() if value is not None]
        values: list[Any] = [value for value in columns.values() if value is not None]
        if self.since is not None:
            terms.append("timestamp >= ?")
            values.append(self.since)
        if self.until is not None:
            terms.append("timestamp < ?")
            values.append(self.until)
        if self.series_keys:
            terms.append(f"series_key IN ({', '.join('?' for _ in self.series_keys)})")
            values += self.series_keys
        return " AND ".join(terms) or "true", values


def check_metrics(names: Sequence[str], where: str = "metrics") -> tuple[str, ...]:
    """Return the names of known metrics; ConfigError for one nobody knows."""
    for name in names:
        if name not in METRICS:
            raise ConfigError(
                f"there is no metric {name!r}",
                where=where,
                accepted=tuple(METRICS),
                hint=did_you_mean(name, METRICS),
            )
    return tuple(dict.fromkeys(names))


#: Column by what a label says.
_LABEL = {
    "model": "model_name",
    "task": "model_type",
    "backend": "platform",
    "engine": "engine",
    "browser": "browser",
    "precision": "precision",
    "batch_size": "batch_size",
    "sequence_length": "sequence_length",
    "device_type": "device_type",
    "is_software": "is_software",
    "adapter": "adapter_info",
    "scenario": "scenario",
}
#: What `label` makes a label of, in its order.
LABEL_COLUMNS = ", ".join(_LABEL.values())
_POINT_COLUMNS = """
    series_key, machine, metric, timestamp, run_id, measurement_id, value, samples, project_commit,
    browser_version, engine_version, system, again_of"""
_COLUMNS = f"{_POINT_COLUMNS}, {LABEL_COLUMNS}"
#: Rows that make so many points at least: what was measured again is no point of its own.
_LATEST = """
    QUALIFY count(*) FILTER (again_of IS NULL) OVER (
        PARTITION BY series_key, machine, metric ORDER BY timestamp DESC, row_id DESC
    ) <= ?"""
_LABEL_AT = _POINT_COLUMNS.count(",") + 1


def read_series(
    results: Results,
    where: Where | None = None,
    metrics: Sequence[str] = ("latency_ms",),
    *,
    with_samples: bool = False,
    latest: int | None = None,
) -> list[Series]:
    """Return every series that has a point there, each oldest first; or its `latest` points.

    Points of equal time keep the order in which they were stored. A row of a fallback belongs to
    the series of what really ran. A cell that was measured again in its run is one point there: the
    mean of the medians, with the samples of all. ConfigError for an unknown metric; StoreError as
    the query's.
    """
    names = check_metrics(metrics)
    condition, values = (where or Where()).clause()
    columns = _COLUMNS if with_samples else _COLUMNS.replace("samples", "[]")
    table = results.query(
        f"SELECT {columns} FROM time_series_performance"
        f" WHERE {condition} AND metric IN ({', '.join('?' for _ in names)})"
        f" {'' if latest is None else _LATEST}"
        " ORDER BY series_key, machine, metric, timestamp, row_id",
        [*values, *names, *([] if latest is None else [latest])],
    )
    found = []
    for (key, machine, metric), rows in groupby(table.rows, key=lambda row: row[:3]):
        alike = list(rows)
        found.append(
            Series(
                key=key,
                machine=machine,
                metric=METRICS[metric],
                label=label(alike[-1][_LABEL_AT:]),
                points=_points(alike)[-latest if latest else 0 :],
            )
        )
    return found


def _points(rows: Sequence[tuple[Any, ...]]) -> tuple[Point, ...]:
    points: dict[str, list[Point]] = {}
    for row in rows:
        points.setdefault(row[12] or row[5], []).append(_point(row))
    return tuple(alike[0] if len(alike) == 1 else _pooled(alike) for alike in points.values())


def _pooled(points: Sequence[Point]) -> Point:
    return attrs.evolve(
        points[0],
        value=statistics.fmean(point.value for point in points),
        samples=tuple(sample for point in points for sample in point.samples),
    )


def _point(row: tuple[Any, ...]) -> Point:
    return Point(
        at=row[3],
        run_id=row[4],
        measurement_id=row[5],
        value=row[6],
        samples=tuple(row[7] or ()),
        commit=row[8],
        browser_version=row[9],
        engine_version=row[10],
        system=row[11],
    )


def label(row: Sequence[Any]) -> Label:
    """Return what `LABEL_COLUMNS` of a measurement say."""
    known = dict(zip(_LABEL, row, strict=True))
    adapter = json.loads(known["adapter"] or "{}")
    parts = [adapter.get(name) for name in ("vendor", "architecture")]
    return Label(**known | {"adapter": " ".join(part for part in parts if part) or None})
