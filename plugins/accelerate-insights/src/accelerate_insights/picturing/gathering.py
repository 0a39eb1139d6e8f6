# SPDX-License-Identifier: Apache-2.0
"""What pictures and reports are made of, out of a database. All sums are done in SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
from accelerate_reports.rows import one_line

from ..reading import Results
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
    first: float  #: median of the first third of the time
    last: float  #: median of the last third
    variation: float  #: median distance from the median, over the median

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


_LABEL = (
    "model_name, model_type, platform, engine, browser, precision, batch_size, sequence_length,"
    " device_type, is_software, adapter_info, model_family"
)


def lines(results: Results, since: datetime, metrics: Sequence[str]) -> list[Line]:
    """Return a summary of every series that has a point since then."""
    labels = ", ".join(f"arg_max({name}, row_id)" for name in _LABEL.split(", "))
    table = results.query(
        f"""
        WITH chosen AS (
            SELECT *, epoch_us(timestamp) AS us FROM time_series_performance
            WHERE timestamp >= ? AND metric IN ({_marks(metrics)}) AND isfinite(value)
        ), spans AS (
            SELECT series_key, machine, metric, min(us) AS begun,
                (max(us) - min(us)) // 3 AS third FROM chosen GROUP BY ALL
        )
        SELECT series_key, machine, metric, count(*), median(value), mad(value),
            median(value) FILTER (us <= begun + third),
            median(value) FILTER (us >= begun + 2 * third),
            {labels}
        FROM chosen JOIN spans USING (series_key, machine, metric)
        GROUP BY series_key, machine, metric ORDER BY ALL
        """,
        [since, *metrics],
    )
    return [
        Line(
            key=row[0],
            machine=row[1],
            metric=METRICS[row[2]],
            count=row[3],
            median=row[4],
            variation=row[5] / abs(row[4]) if row[4] else 0.0,
            first=row[6],
            last=row[7],
            label=_label(row[8:]),
            family=row[19],
        )
        for row in table.rows
    ]


def spots(
    results: Results, since: datetime, chosen: Sequence[Line]
) -> Mapping[tuple[str, str, str], list[Spot]]:
    """Return the points of lines, oldest first; of more than `MAX_POINTS`, groups of them."""
    table = results.query(
        f"""
        WITH numbered AS (
            SELECT *, row_number() OVER each - 1 AS number, count(*) OVER alike AS total
            FROM time_series_performance
            WHERE timestamp >= ? AND isfinite(value)
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
        [since, *(part for line in chosen for part in line.id)],
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
    table = results.query(
        f"""
        WITH recent AS (
            SELECT series_key, machine, metric,
                CASE WHEN len(samples) > 0 THEN samples ELSE [value] END AS samples
            FROM time_series_performance
            WHERE timestamp >= ? AND isfinite(value)
                AND (series_key, machine, metric) IN ({_rows(chosen, 3)})
            QUALIFY row_number() OVER (
                PARTITION BY series_key, machine, metric ORDER BY timestamp DESC, row_id DESC
            ) <= {_LATEST}
        ), each AS (SELECT series_key, machine, metric, unnest(samples) AS sample FROM recent)
        SELECT series_key, machine, metric, count(*), quantile_cont(sample, {list(at)})
        FROM each WHERE isfinite(sample) GROUP BY ALL
        """,
        [since, *(part for line in chosen for part in line.id)],
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
            SELECT * FROM webnn_webgpu_performance JOIN hosts ON run = run_id
            WHERE timestamp >= ? AND NOT coalesce(simulation_mode, false)
            QUALIFY row_number() OVER (
                PARTITION BY machine, cell_id ORDER BY timestamp DESC, id DESC
            ) <= {_JUDGED}
        )
        SELECT machine, model_name, precision, batch_size, sequence_length,
            coalesce(model_family, model_type, 'unknown type'), platform, engine, browser,
            coalesce(is_software, false), count(*) FILTER (status = 'ok'),
            count(*) FILTER (status IN ('failed', 'mismatch')),
            median(latency_ms) FILTER (status = 'ok' AND isfinite(latency_ms) AND latency_ms > 0),
            arg_max(error->>'message', id) FILTER (status IN ('failed', 'mismatch'))
        FROM recent GROUP BY ALL ORDER BY ALL
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


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" for _ in values)


def _rows(values: Sequence[Any], width: int) -> str:
    return ", ".join(f"({', '.join('?' * width)})" for _ in values)


def _label(row: Sequence[Any]) -> Label:
    adapter = json.loads(row[10]) if row[10] else {}
    parts = [adapter.get(name) for name in ("vendor", "architecture")]
    return Label(
        model=row[0],
        task=row[1],
        backend=row[2],
        engine=row[3],
        browser=row[4],
        precision=row[5],
        batch_size=row[6],
        sequence_length=row[7],
        device_type=row[8],
        is_software=row[9],
        adapter=" ".join(part for part in parts if part) or None,
    )
