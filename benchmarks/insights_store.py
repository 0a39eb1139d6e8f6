# SPDX-License-Identifier: Apache-2.0
"""The store with a million measurements: the history of a model, and how fast many rows get in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import duckdb
from accelerate_duckdb import bulk, rows
from accelerate_duckdb.merging import merge
from accelerate_duckdb.store import DuckDbStore
from accelerate_insights.reading import Database, Where, read_series

from accelerate_core.testing import samples

from ._measure import Figure, median
from ._world import Options, conditions, new_folder

_TABLE = "webnn_webgpu_performance"
#: A year of runs; each measures 100 models on 10 targets.
_CELLS = 1000
_DAYS = 365
_END = datetime(2027, 1, 1)
_RUNS = f"""
INSERT INTO runs BY NAME SELECT r.* EXCLUDE (sequence) REPLACE (
    'run-' || i AS id, TIMESTAMP '{_END}' - to_days({_DAYS}) * (1 - i / $runs) AS started_at,
    'commit-' || i AS project_commit
) FROM runs AS r, range($runs) AS t(i) WHERE id = 'seed'
"""
_ROWS = f"""
INSERT INTO {_TABLE} BY NAME SELECT p.* EXCLUDE (id) REPLACE (
    TIMESTAMP '{_END}' - to_days({_DAYS}) * (1 - i // {_CELLS} / $runs) AS timestamp,
    'run-' || i // {_CELLS} AS run_id, 'run-' || i // {_CELLS} AS session_id,
    'm-' || i AS measurement_id, 'model-' || i % {_CELLS} // 10 AS model_name,
    ['webgpu', 'wasm', 'webnn', 'cpu', 'wgpu'][1 + i % 5] AS platform,
    ['chromium', 'firefox'][1 + i % 10 // 5] AS browser,
    md5(CAST(i % {_CELLS} AS VARCHAR)) AS series_key, 10 + random() AS latency_ms,
    [10 + random(), 10 + random(), 10 + random()] AS samples_ms,
    replace(record, '12.5', CAST(10 + random() AS VARCHAR)) AS record
) FROM {_TABLE} AS p, range($runs * {_CELLS}) AS t(i) WHERE run_id = 'seed'
"""


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield the time of history queries, then rows a second of three ways in."""
    with new_folder() as folder:
        place = folder / "many.duckdb"
        runs = options.length(1_000_000, 50_000) // _CELLS
        await asyncio.to_thread(_fill, place, runs)
        about = {"measurements": runs * _CELLS, "file_mib": place.stat().st_size >> 20}
        for days in (30, 90):
            taken, points = await asyncio.to_thread(_history, place, days)
            yield Figure(
                figure=f"insights_history_{days}_days_p50_s",
                value=median(taken),
                unit="s",
                at_most=0.2,
                conditions=conditions(**about, points=points, worst_s=max(taken)),
            )
        taken = await asyncio.to_thread(_merge, place, folder / "merged.duckdb")
        yield _rate("insights_merge_rows_per_second", taken)
    count = options.count(100_000, 5_000)
    for name, way in _WAYS.items():
        with new_folder() as folder:
            yield _rate(name, await asyncio.to_thread(way, folder / "new.duckdb", count))


@attrs.frozen
class _Taken:
    rows: int
    seconds: float
    cpu_s: float  #: of all threads of this process: what it takes however busy the machine is


def _timed(work: Callable[[], int]) -> _Taken:
    began, began_cpu = time.perf_counter(), time.process_time()
    rows = work()
    return _Taken(rows, time.perf_counter() - began, time.process_time() - began_cpu)


def _rate(name: str, taken: _Taken) -> Figure:
    return Figure(
        figure=name,
        value=taken.rows / taken.seconds,
        unit="rows/s",
        at_least=100_000,
        conditions=conditions(
            rows=taken.rows, taken_s=round(taken.seconds, 3), cpu_s=round(taken.cpu_s, 3)
        ),
    )


def _fill(place: Path, runs: int) -> None:
    store = DuckDbStore.open(place)
    host = {"system": "Linux", "processor": "x", "cores": 2}
    store.save_run(samples.run_info("seed", host=host))
    store.save_measurement(samples.measurement(1, "seed"))
    store.close()
    with duckdb.connect(place) as connection:
        connection.execute(_RUNS, {"runs": runs})
        connection.execute(_ROWS, {"runs": runs})
        connection.execute(f"DELETE FROM {_TABLE} WHERE run_id = 'seed'")


def _history(place: Path, days: int) -> tuple[list[float], int]:
    """Return the seconds of each of some queries, one of another model each, and the points."""
    taken, points = [], 0
    for number in range(11):
        where = Where(model=f"model-{7 * number}", since=_END - timedelta(days=days))
        began = time.perf_counter()
        found = read_series(Database(place), where, metrics=("latency_ms",))
        taken.append(time.perf_counter() - began)
        points = sum(len(series.points) for series in found)
    return taken[1:], points  # the first one reads the file from the disk


def _merge(place: Path, target: Path) -> _Taken:
    return _timed(lambda: merge(target, [place])[0].added[_TABLE])


def _values(place: Path, count: int) -> _Taken:
    """Hand over measurements: making their rows and records is part of it."""
    measurements = [
        samples.measurement(1, "run", id=f"m-{number}") for number in range(count // 10)
    ]
    store = DuckDbStore.open(place)
    try:
        return _timed(lambda: store.save_measurements(measurements))
    finally:
        store.close()


def _columns(place: Path, count: int) -> _Taken:
    """Hand over the columns of wide rows, of which a few differ from row to row."""
    row = rows.measurement_row(samples.measurement(1, "run")) | {"cell_id": 1}
    columns = {name: [value] * count for name, value in row.items()}
    columns["measurement_id"] = [f"m-{number}" for number in range(count)]
    columns["latency_ms"] = [10 + number / count for number in range(count)]
    columns["record"] = [row["record"].replace("run-1", name) for name in columns["measurement_id"]]
    return _insert(place, _TABLE, columns, count)


def _narrow(place: Path, count: int) -> _Taken:
    """Hand over looks at a pool."""
    columns: dict[str, list[object]] = {
        "timestamp": [_END + timedelta(seconds=number) for number in range(count)],
        "session_id": ["run"] * count,
        **{name: list(range(count)) for name in ("size", "ready", "active", "queued")},
        **{name: ['{"firefox": 2}'] * count for name in ("by_browser", "by_platform", "by_model")},
        **{name: list(range(count)) for name in ("jobs", "errors", "attempts")},
    }
    return _insert(place, "resource_pool_metrics", columns, count)


def _insert(place: Path, table: str, columns: dict[str, list[object]], count: int) -> _Taken:
    DuckDbStore.open(place).close()

    def insert() -> int:
        connection.execute("BEGIN")
        for start in range(0, count, bulk.CHUNK):
            part = {name: values[start : start + bulk.CHUNK] for name, values in columns.items()}
            bulk.insert_columns(connection, table, part)
        connection.execute("COMMIT")
        return count

    with duckdb.connect(place) as connection:
        return _timed(insert)


_WAYS: dict[str, Callable[[Path, int], _Taken]] = {
    "insights_insert_pool_columns_rows_per_second": _narrow,
    "insights_insert_measurement_columns_rows_per_second": _columns,
    "insights_insert_measurements_rows_per_second": _values,
}
