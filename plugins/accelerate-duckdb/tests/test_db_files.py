# SPDX-License-Identifier: Apache-2.0
"""`accel db export`, `prune`, `merge`, `info`: what is copied is equal, what is deleted is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from accelerate_duckdb.client import query
from accelerate_duckdb.db import app
from accelerate_duckdb.merging import merge
from accelerate_duckdb.pruning import prune
from accelerate_duckdb.store import DuckDbStore
from typer.testing import CliRunner

from accelerate_core.errors import ConfigError, StoreError
from accelerate_core.protocols import Migration, TableSet
from accelerate_core.testing import samples

FINDING = """
INSERT INTO performance_regressions BY NAME SELECT
    ? AS id, TIMESTAMP '2026-11-22' AS detected_at, ?::TIMESTAMP AS updated_at, 'k' AS series_key,
    'm' AS machine, 'latency_ms' AS metric, 'x' AS model_name, 'wasm' AS platform,
    'fp32' AS precision, 1 AS batch_size, TIMESTAMP '2026-11-22' AS changed_at, 1 AS before,
    2 AS after, 1 AS change, 0.9 AS confidence, true AS is_worse, 'major' AS severity,
    ? AS status, ? AS first_bad_run, false AS was_measured_again, '{}' AS evidence
"""
POOL = """
INSERT INTO resource_pool_metrics BY NAME SELECT
    TIMESTAMP '2026-11-22' AS timestamp, ? AS session_id, 2 AS size, 2 AS ready, 1 AS active,
    0 AS queued, '{}' AS by_browser, '{}' AS by_platform, '{}' AS by_model, 1 AS jobs, 0 AS errors,
    1 AS attempts
"""
OF_RUNS = (
    ("runs", "id"),
    ("webnn_webgpu_performance", "run_id"),
    ("browser_connections", "session_id"),
    ("resource_pool_metrics", "session_id"),
)
SPANS = TableSet(
    namespace="span",
    migrations=(
        Migration(
            version=1,
            sql="CREATE SEQUENCE span_ids; CREATE TABLE span_rows (id BIGINT DEFAULT"
            " nextval('span_ids'), name VARCHAR); CREATE TABLE span_parts (row_id BIGINT, n INT)",
        ),
    ),
    references={"span_parts.row_id": "span_rows.id"},
)


def fill(path: Path, *days: int, machine: str = "a", tables: tuple[TableSet, ...] = ()) -> None:
    """Add a run for each day before START, with a measurement, a worker and a look at the pool."""
    store = DuckDbStore.open(path, tables=tables)
    with store.transaction() as transaction:  # one commit: each writes to the disk
        for day in days:
            run, at = f"{machine}-{day}", samples.START - timedelta(days=day)
            store.save_run(samples.run_info(run, started_at=at, host={"processor": machine}))
            store.save_connection(samples.connection(run))
            store.save_measurement(samples.measurement(day + 1, run, started_at=at))
            transaction.execute(POOL, [run])
    store.close()


def add_finding(path: Path, name: str, status: str, run: str, at: str = "2026-11-22") -> None:
    store = DuckDbStore.open(path)
    with store.transaction() as transaction:
        transaction.execute(FINDING, [name, at, status, run])
    store.close()


def run(*words: str | Path) -> Any:
    result = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def column(path: Path, sql: str) -> list[Any]:
    return [row[0] for row in query(path, sql).rows]


def everything(path: Path) -> dict[str, list[str]]:
    with duckdb.connect(path, read_only=True) as database:
        tables = database.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        return {
            table: sorted(map(str, database.execute(f"FROM {table}").fetchall()))
            for (table,) in tables
        }


def test_an_export_reads_back_equal(path: Path, tmp_path: Path) -> None:
    fill(path, 1, 2)
    add_finding(path, "f", "open", "a-1")
    counts = run("export", tmp_path / "out" / "all", "--db", path)
    assert counts["webnn_webgpu_performance"] == 2
    with duckdb.connect(path) as database:
        for table, count in counts.items():
            files = f"'{tmp_path}/out/all/{table}.parquet'"
            for this, that in ((table, files), (files, table)):
                apart = f"SELECT count(*) FROM (SELECT * FROM {this} EXCEPT ALL FROM {that})"
                assert database.execute(apart).fetchall() == [(0,)], table
            assert database.execute(f"SELECT count(*) FROM {files}").fetchall() == [(count,)]
    assert sorted(place.name for place in (tmp_path / "out").iterdir()) == ["all"]


def test_an_export_overwrites_nothing_and_leaves_nothing(path: Path, tmp_path: Path) -> None:
    fill(path, 1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(ConfigError, match="not empty"):
        run("export", tmp_path / "full", "--db", path)
    with pytest.raises(ConfigError, match="no such database"):
        run("export", tmp_path / "new", "--db", tmp_path / "none.duckdb")
    path.with_name("torn.duckdb").write_bytes(path.read_bytes()[:9000])
    with pytest.raises(StoreError):
        run("export", tmp_path / "new", "--db", path.with_name("torn.duckdb"))
    assert not [place for place in tmp_path.iterdir() if "new" in place.name]


def test_pruning_deletes_old_runs_with_all_that_is_theirs_and_says_so_before(path: Path) -> None:
    fill(path, 0, 50, 100, 150)
    cut = (samples.START - timedelta(days=90)).replace(tzinfo=None)
    told = prune(path, cut, is_dry_run=True)
    assert len(column(path, "SELECT id FROM runs")) == 4
    done = prune(path, cut)
    assert done.rows == told.rows
    assert {table: count for table, count in done.rows.items() if count} == dict.fromkeys(
        (
            "webnn_webgpu_performance",
            "browser_connections",
            "resource_pool_metrics",
            "runs",
            "cells",
        ),
        2,
    )
    for table, name in OF_RUNS:
        assert sorted(column(path, f"SELECT {name} FROM {table}")) == ["a-0", "a-50"]
    fill(path, 7)  # ids go on, constraints hold
    assert len(set(column(path, "SELECT id FROM webnn_webgpu_performance"))) == 3
    assert len(column(path, "SELECT DISTINCT run_id FROM time_series_performance")) == 3
    assert [place.name for place in path.parent.iterdir()] == [path.name]


def test_the_latest_runs_and_what_open_findings_name_are_kept(path: Path) -> None:
    fill(path, 100, 110, 120, 130)
    add_finding(path, "open", "open", "a-120")
    add_finding(path, "closed", "fixed", "a-130", at="2026-01-01")
    prune(path, samples.START.replace(tzinfo=None), keep_runs=1)
    assert sorted(column(path, "SELECT id FROM runs")) == ["a-100", "a-120"]
    assert column(path, "SELECT id FROM performance_regressions") == ["open"]


def test_a_pruned_file_is_smaller(path: Path) -> None:
    fill(path, 0)
    store = DuckDbStore.open(path)
    noise = [samples.measurement(n, "old", text=os.urandom(3000).hex()) for n in range(1, 301)]
    store.add([samples.run_info("old", started_at=samples.START - timedelta(days=99))], noise)
    store.close()
    done = prune(path, samples.START.replace(tzinfo=None) - timedelta(days=9))
    assert done.size_after < done.size_before / 2
    assert done.size_after == path.stat().st_size
    assert column(path, "SELECT run_id FROM webnn_webgpu_performance") == ["a-0"]


@pytest.mark.parametrize("age", ["90", "d", "-3d", "90 days", "101y"])
def test_an_age_that_is_none_is_refused(path: Path, age: str) -> None:
    with pytest.raises(ConfigError, match="--older-than"):
        run("prune", f"--older-than={age}", "--db", path)
    with pytest.raises(ConfigError, match="no such database"):
        run("prune", "--older-than=9d", "--db", path)


def test_merging_takes_everything_once(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.duckdb"
    fill(path, 1, 2)
    fill(other, 3, 1, machine="b")  # its numbers and ours overlap
    add_finding(other, "f", "open", "b-3")
    before = other.read_bytes()
    (told,) = run("merge", other, "--db", path)
    assert told["added"]["webnn_webgpu_performance"] == 2
    assert other.read_bytes() == before
    once = everything(path)
    (again,) = run("merge", other, "--db", path)
    assert not any(again["added"].values())
    assert not any(again["updated"].values())
    assert everything(path) == once
    assert len(column(path, "SELECT DISTINCT machine FROM time_series_performance")) == 2
    # A measurement still names the cell it is of.
    wrong = (
        "SELECT count(*) FROM webnn_webgpu_performance p LEFT JOIN cells c ON c.id = p.cell_id"
        " WHERE c.batch_size IS DISTINCT FROM p.batch_size"
    )
    assert column(path, wrong) == [0]
    store = DuckDbStore.open(path)
    assert store.summary("b-3").measurements[0].id == "b-3-4"
    store.close()


def test_merged_rows_keep_their_order_and_the_next_one_comes_after_them(
    path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.duckdb"
    fill(path, 1, 2)
    fill(other, 3, 2, 1, machine="b")
    with duckdb.connect(other) as connection:  # lying in another order, with numbers left out
        connection.execute("UPDATE webnn_webgpu_performance SET id = 900 - 100 * id")
    merge(path, [other])
    fill(path, 0)
    by_number = "SELECT run_id FROM webnn_webgpu_performance ORDER BY id"
    assert column(path, by_number) == ["a-1", "a-2", "b-1", "b-2", "b-3", "a-0"]


def test_merging_two_ways_ends_in_the_same(path: Path, tmp_path: Path) -> None:
    places = [tmp_path / f"{name}.duckdb" for name in "xyz"]
    for place, machine in zip(places, "xyz", strict=True):
        fill(place, 1, 2, machine=machine)
    merge(path, places)
    merge(tmp_path / "again.duckdb", [*reversed(places), places[0]])
    for table in ("runs", "webnn_webgpu_performance", "cells", "resource_pool_metrics"):
        number = {"runs": "sequence", "cells": "id", "webnn_webgpu_performance": "id, cell_id"}
        sql = f"SELECT * EXCLUDE ({number.get(table, 'jobs')}) FROM {table}"
        both = [sorted(map(str, query(p, sql).rows)) for p in (path, tmp_path / "again.duckdb")]
        assert both[0] == both[1]


def test_of_a_row_that_changed_the_later_one_counts(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.duckdb"
    add_finding(path, "f", "open", "r", at="2026-11-22")
    add_finding(other, "f", "fixed", "r", at="2026-11-23")
    for place, ended in ((path, None), (other, samples.START)):
        store = DuckDbStore.open(place)
        store.save_run(samples.run_info("r", finished_at=ended))
        store.close()
    merge(path, [other])
    assert column(path, "SELECT status FROM performance_regressions") == ["fixed"]
    assert column(path, "SELECT finished_at IS NULL FROM runs") == [False]
    merge(other, [path])
    assert column(other, "SELECT status FROM performance_regressions") == ["fixed"]


def test_rows_of_plugins_keep_what_they_name(path: Path, tmp_path: Path) -> None:
    places = (path, tmp_path / "other.duckdb")
    for place in places:
        store = DuckDbStore.open(place, tables=(SPANS,))
        with store.transaction() as transaction:
            transaction.execute("INSERT INTO span_rows (name) VALUES (?)", [place.stem])
            transaction.execute("INSERT INTO span_parts VALUES (1, ?)", [len(place.stem)])
        store.close()
    for _ in range(2):
        merge(path, [places[1]], tables=(SPANS,))
        named = query(path, "SELECT name, n FROM span_rows r JOIN span_parts p ON p.row_id = r.id")
        assert sorted(named.rows) == [("other", 5), ("results", 7)]
    (told,) = merge(tmp_path / "new.duckdb", [path])
    assert told.unknown == ("span_parts", "span_rows")


def test_what_cannot_be_merged_is_refused_by_its_own_name(path: Path, tmp_path: Path) -> None:
    fill(path, 1)
    before = path.read_bytes()
    foreign = tmp_path / "foreign.duckdb"
    with duckdb.connect(foreign) as database:
        database.execute("CREATE TABLE weather (rain BOOLEAN)")
    half = tmp_path / "half.duckdb"
    half.write_bytes(before[: len(before) // 2])
    for place, kind in (
        (path, ConfigError),
        (tmp_path / "none.duckdb", ConfigError),
        (foreign, StoreError),
        (half, StoreError),
    ):
        with pytest.raises(kind) as caught:
            run("merge", place, "--db", path)
        assert caught.value.info.where == str(place)
        assert "accel-merge-" not in f"{caught.value} {caught.value.info.hint}"
    assert path.read_bytes() == before


def test_a_file_that_is_in_use_is_not_merged_and_can_be_looked_at(path: Path) -> None:
    fill(path, 1)
    script = (
        "import sys; from accelerate_duckdb.store import DuckDbStore\n"
        "store = DuckDbStore.open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", script, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "open\n"
        with pytest.raises(StoreError, match="holds the database"):
            merge(path.with_name("new.duckdb"), [path])
        looked = run("info", "--db", path)
        process.stdin.close()
    assert looked["rows"]["runs"] == 1
    assert looked["versions"]["core"] >= 3
    assert looked["size"] > 0
    assert datetime.fromisoformat(looked["first"]).year == 2026


def test_tables_for_people(path: Path) -> None:
    fill(path, 1)
    for words in (["info"], ["prune", "--older-than=9d", "--dry-run"]):
        result = CliRunner().invoke(app, [*words, "--db", str(path)], catch_exceptions=False)
        assert "webnn_webgpu_performance" in result.stdout
