# SPDX-License-Identifier: Apache-2.0
"""What pictures and reports are made of, out of a database. All sums are done in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from accelerate_core.texts import one_line

from ..reading import LABEL_COLUMNS, Results, label
from ..values import METRICS, Label, Metric
from .ratings import NATIVE, Speed

#: A series of more points than this is drawn as its median and quantiles.
MAX_POINTS = 240
#: Into this many groups of equally many points.
BUCKETS = 120
#: Of this many measurements, the latest, the samples are drawn.
_LATEST = 20
#: By this many measurements, the latest, targets are judged.
_JUDGED = 5
#: Of a metric, in the order of the fields of `Line`.
_SUMMARY = """
    count(*) FILTER (isfinite({0})),
    quantile_cont({0}, [0.25, 0.5, 0.75]) FILTER (isfinite({0})),
    median({0}) FILTER (isfinite({0}) AND is_first),
    median({0}) FILTER (isfinite({0}) AND is_last)"""


@attrs.frozen(kw_only=True)
class Line:
    """Sum up one metric of one thing on one machine."""

    key: str
    machine: str
    metric: Metric
    label: Label
    family: str | None
    count: int
    median: float
    first: float  #: median in the first third of all the time; of all, where nothing was there
    last: float  #: median in the last third
    variation: float  #: half of what the middle half of the points spans, over the median

    @property
    def id(self) -> tuple[str, str, str]:
        """What no other line has."""
        return self.key, self.machine, self.metric.name

    @property
    def relative(self) -> float:
        """last / first - 1; 0 where nothing was there."""
        return self.last / self.first - 1 if self.first else 0.0


@attrs.frozen(kw_only=True)
class Spot:
    """One point of a line, or many that were close: their median, and 80% of them."""

    at: datetime
    value: float
    low: float
    high: float
    count: int
    first_commit: str | None
    commit: str | None
    browser_version: str | None


def lines(results: Results, since: datetime, metrics: Sequence[str]) -> list[Line]:
    """Return a summary of every series that has a point since then."""
    names = sorted(metrics)
    ((begin, end),) = results.query(
        "SELECT min(timestamp), max(timestamp) FROM webnn_webgpu_performance WHERE timestamp >= ?",
        [since],
    ).rows
    if begin is None:
        return []
    third = (end - begin) // 3
    # Not out of `time_series_performance`: a row for each metric is four times the work.
    table = results.query(
        f"""
        WITH counted AS (
            SELECT *, timestamp <= ? AS is_first, timestamp >= ? AS is_last
            FROM webnn_webgpu_performance JOIN machines USING (run_id)
            WHERE timestamp >= ? AND status = 'ok' AND NOT coalesce(simulation_mode, false)
        )
        SELECT series_key, machine, max(id), {", ".join(map(_SUMMARY.format, names))}
        FROM counted GROUP BY series_key, machine ORDER BY 1, 2
        """,
        [begin + third, end - third, since],
    )
    labels = _labels(results, {row[2] for row in table.rows})
    found = []
    for key, machine, row_id, *numbers in table.rows:
        label, family = labels[row_id]
        for metric, (count, quartiles, first, last) in zip(
            names, zip(*[iter(numbers)] * 4, strict=True), strict=True
        ):
            if not count:
                continue
            low, middle, high = quartiles
            found.append(
                Line(
                    key=key,
                    machine=machine,
                    metric=METRICS[metric],
                    label=label,
                    family=family,
                    count=count,
                    median=middle,
                    first=middle if first is None else first,
                    last=middle if last is None else last,
                    variation=(high - low) / 2 / abs(middle) if middle else 0.0,
                )
            )
    return found


def _labels(results: Results, rows: set[int]) -> dict[int, tuple[Label, str | None]]:
    """Return what measurements are of, by the number of their row."""
    if not rows:
        return {}
    table = results.query(
        f"SELECT id, model_family, {LABEL_COLUMNS} FROM webnn_webgpu_performance"
        f" WHERE id IN ({', '.join(map(str, rows))})"
    )
    return {row[0]: (label(row[2:]), row[1]) for row in table.rows}


def spots(
    results: Results, since: datetime, chosen: Sequence[Line]
) -> Mapping[tuple[str, str, str], list[Spot]]:
    """Return the points of lines, oldest first; of more than `MAX_POINTS`, groups of them."""
    keys = {line.key for line in chosen}  # few rows are left before the metrics are told apart
    table = results.query(
        f"""
        WITH numbered AS (
            SELECT *, row_number() OVER each - 1 AS number, count(*) OVER alike AS total
            FROM time_series_performance
            WHERE timestamp >= ? AND isfinite(value)
                AND series_key IN ({_marks(keys)})
                AND (series_key, machine, metric) IN ({_rows(chosen, 3)})
            WINDOW alike AS (PARTITION BY series_key, machine, metric),
                each AS (PARTITION BY series_key, machine, metric ORDER BY timestamp, row_id)
        )
        SELECT series_key, machine, metric, quantile_disc(timestamp, 0.5), median(value),
            quantile_cont(value, 0.1), quantile_cont(value, 0.9), count(*),
            arg_min(project_commit, number), arg_max(project_commit, number),
            arg_max(browser_version, number)
        FROM numbered
        GROUP BY series_key, machine, metric,
            CASE WHEN total <= {MAX_POINTS} THEN number ELSE number * {BUCKETS} // total END
        ORDER BY 1, 2, 3, min(number)
        """,
        [since, *keys, *(part for line in chosen for part in line.id)],
    )
    found: dict[tuple[str, str, str], list[Spot]] = {line.id: [] for line in chosen}
    for row in table.rows:
        found[row[0], row[1], row[2]].append(
            Spot(
                at=row[3],
                value=row[4],
                low=row[5],
                high=row[6],
                count=row[7],
                first_commit=row[8],
                commit=row[9],
                browser_version=row[10],
            )
        )
    return found


def quantiles(
    results: Results, since: datetime, chosen: Sequence[Line], at: Sequence[float]
) -> Mapping[tuple[str, str, str], tuple[int, list[float]]]:
    """Return how many samples the latest measurements of each line have, and their quantiles.

    A metric without samples has the measurements themselves.
    """
    keys = {line.key for line in chosen}  # few rows are left before the metrics are told apart
    table = results.query(
        f"""
        WITH recent AS (
            SELECT series_key, machine, metric,
                CASE WHEN len(samples) > 0 THEN samples ELSE [value] END AS samples
            FROM time_series_performance
            WHERE timestamp >= ? AND isfinite(value)
                AND series_key IN ({_marks(keys)})
                AND (series_key, machine, metric) IN ({_rows(chosen, 3)})
            QUALIFY row_number() OVER (
                PARTITION BY series_key, machine, metric ORDER BY timestamp DESC, row_id DESC
            ) <= {_LATEST}
        ), each AS (SELECT series_key, machine, metric, unnest(samples) AS sample FROM recent)
        SELECT series_key, machine, metric, count(*), quantile_cont(sample, {list(at)})
        FROM each WHERE isfinite(sample) GROUP BY ALL
        """,
        [since, *keys, *(part for line in chosen for part in line.id)],
    )
    return {(row[0], row[1], row[2]): (row[3], list(row[4])) for row in table.rows}


def speeds(results: Results, since: datetime) -> list[Speed]:
    """Return how everything did that was asked for since then, by its latest measurements.

    What was simulated was not asked for.
    """
    table = results.query(
        f"""
        WITH hosts AS (
            SELECT id AS run, concat_ws('|', host->>'system', host->>'processor', host->>'cores')
                AS machine FROM runs
        ), recent AS (
            SELECT machine, cell_id, series_key, coalesce(is_software, false) AS is_software,
                max(id) AS id, arg_max(
                    {{'status': status, 'ms': latency_ms, 'id': id}}, timestamp, {_JUDGED}
                ) AS latest
            FROM webnn_webgpu_performance JOIN hosts ON run = run_id
            WHERE timestamp >= ? AND NOT coalesce(simulation_mode, false)
            GROUP BY ALL
        ), each AS (
            SELECT machine, is_software, id, unnest(latest) AS one FROM recent
        ), judged AS (
            SELECT machine, is_software, id, count(*) FILTER (one.status = 'ok') AS ok,
                count(*) FILTER (one.status IN ('failed', 'mismatch')) AS failed,
                median(one.ms) FILTER (one.status = 'ok' AND isfinite(one.ms) AND one.ms > 0) AS ms,
                max(one.id) FILTER (one.status IN ('failed', 'mismatch')) AS failed_id
            FROM each GROUP BY machine, is_software, id
        )
        SELECT machine, p.model_name, p.precision, p.batch_size, p.sequence_length,
            coalesce(p.model_family, p.model_type, 'unknown type'), p.platform, p.engine, p.browser,
            judged.is_software, ok, failed, ms, bad.error->>'message'
        FROM judged JOIN webnn_webgpu_performance AS p ON p.id = judged.id
        LEFT JOIN webnn_webgpu_performance AS bad ON bad.id = failed_id
        ORDER BY ALL
        """,
        [since],
    )
    return [
        Speed(
            thing=tuple(str(part) for part in row[:5]),
            model_type=one_line(row[5]),
            backend=one_line(f"{row[6]}/{row[7]}" if row[7] else row[6]),
            browser=one_line(row[8] or NATIVE),
            is_software=row[9],
            ok=row[10],
            failed=row[11],
            latency_ms=row[12],
            error=one_line(row[13]) if row[13] else None,
        )
        for row in table.rows
    ]


def _marks(values: Collection[Any]) -> str:
    return ", ".join("?" for _ in values)


def _rows(values: Sequence[Any], width: int) -> str:
    return ", ".join(f"({', '.join('?' * width)})" for _ in values)
