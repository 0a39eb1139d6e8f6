# SPDX-License-Identifier: Apache-2.0
"""Files move forward, never back; contributed tables stay in their namespace."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import duckdb
import pytest
from accelerate_duckdb import migrations
from accelerate_duckdb.bulk import insert_rows
from accelerate_duckdb.client import query
from accelerate_duckdb.db import app
from accelerate_duckdb.migrations import CORE
from accelerate_duckdb.pruning import prune
from accelerate_duckdb.rows import measurement_row
from accelerate_duckdb.store import DuckDbStore
from typer.testing import CliRunner

from accelerate_core.errors import PluginError, StoreError
from accelerate_core.protocols import Migration, TableSet

from . import values

V1 = Migration(version=1, sql="CREATE TABLE energy_samples (id INTEGER, joules DOUBLE);")
V2 = Migration(
    version=2,
    sql="ALTER TABLE energy_samples ADD COLUMN source VARCHAR;\n"
    "UPDATE energy_samples SET source = 'rapl';",
)


def energy(*migrations: Migration) -> TableSet:
    return TableSet(namespace="energy", migrations=migrations)


def refused(path: Path, *tables: TableSet) -> tuple[type[Exception], str]:
    before = path.read_bytes() if path.exists() else None
    with pytest.raises((StoreError, PluginError)) as caught:
        DuckDbStore.open(path, wait_s=0, tables=tables).close()
    after = path.read_bytes() if path.exists() else None
    # Opening a file for writing may touch its header; what it holds must stay.
    assert (before is None) == (after is None)
    return type(caught.value), str(caught.value)


def test_a_version_1_file_moves_forward_and_keeps_its_rows(path: Path) -> None:
    store = DuckDbStore.open(path, tables=[energy(V1)])
    with store.transaction() as transaction:
        transaction.execute("INSERT INTO energy_samples VALUES (?, ?)", [7, 1.5])
    store.close()

    store = DuckDbStore.open(path, tables=[energy(V1, V2)])
    try:
        assert store.query("FROM energy_samples").rows == ((7, 1.5, "rapl"),)
        history = store.query("SELECT namespace, version FROM schema_versions ORDER BY ALL")
        assert history.rows == (
            *(("core", number) for number in (1, 2, 3, 4)),
            ("energy", 1),
            ("energy", 2),
        )
    finally:
        store.close()


def test_looking_at_an_older_file_says_how_to_bring_it_forward_and_writes_nothing(
    path: Path,
) -> None:
    first = TableSet(namespace=CORE, migrations=migrations.core_tables().migrations[:1])
    with duckdb.connect(path) as connection:
        migrations.migrate(connection, [first], path)
    before = path.read_bytes()
    for ask in (
        lambda: query(path, "FROM time_series_performance"),
        lambda: query(path, "SELECT scenario FROM webnn_webgpu_performance"),
        lambda: prune(path, datetime(2026, 1, 1), is_dry_run=True),
    ):
        with pytest.raises(StoreError, match=r"has version 1 .* version 4") as caught:
            ask()
        assert caught.value.info.hint is not None
        assert f"accel db upgrade --db {path}" in caught.value.info.hint
    with pytest.raises(StoreError) as caught:  # what no version has is no matter of versions
        query(path, "SELECT 1 / 'x'")
    assert "has version" not in str(caught.value)
    assert path.read_bytes() == before
    done = CliRunner().invoke(app, ["upgrade", "--db", str(path), "--json"])
    assert done.exit_code == 0, done.output
    assert (json.loads(done.output)["before"], json.loads(done.output)["after"]["core"]) == (
        {"core": 1},
        4,
    )
    assert query(path, "FROM time_series_performance").rows == ()


def test_moving_forward_changes_nothing_of_what_was_measured(path: Path) -> None:
    older = TableSet(namespace=CORE, migrations=migrations.core_tables().migrations[:3])
    rows = "SELECT * FROM webnn_webgpu_performance ORDER BY id"
    shape = "DESCRIBE webnn_webgpu_performance"
    with duckdb.connect(path) as connection:
        migrations.migrate(connection, [older], path)
        many = [
            {**measurement_row(values.measurement(number)), "cell_id": 1} for number in range(3)
        ]
        insert_rows(connection, "webnn_webgpu_performance", many)
        before = [connection.execute(sql).fetchall() for sql in (rows, shape)]
    store = DuckDbStore.open(path)
    assert [list(store.query(sql).rows) for sql in (rows, shape)] == before
    assert store.save_measurement(values.measurement(7)) == 4
    with pytest.raises(StoreError):
        store.save_measurement(values.measurement(7))
    store.close()


def test_pruning_brings_an_older_file_forward(path: Path) -> None:
    with duckdb.connect(path) as connection:
        first = TableSet(namespace=CORE, migrations=migrations.core_tables().migrations[:1])
        migrations.migrate(connection, [first], path)
    assert prune(path, datetime(2026, 1, 1)).rows["runs"] == 0
    assert query(path, "FROM time_series_performance").rows == ()


def test_a_file_opens_without_the_plugin_that_added_tables(path: Path) -> None:
    DuckDbStore.open(path, tables=[energy(V1)]).close()
    store = DuckDbStore.open(path)
    assert store.query("SELECT count(*) FROM energy_samples").rows == ((0,),)
    store.close()


def test_newer_contributed_tables_are_refused(path: Path) -> None:
    DuckDbStore.open(path, tables=[energy(V1, V2)]).close()
    kind, message = refused(path, energy(V1))
    assert kind is StoreError
    assert "'energy' of this file have version 2, and only 1 is known" in message
    assert "Upgrade the plugin that owns 'energy'" in message


def test_a_newer_file_is_refused_whole(path: Path) -> None:
    store = DuckDbStore.open(path)
    store.save_run(values.RUN)
    with store.transaction() as transaction:
        transaction.execute("INSERT INTO schema_versions VALUES ('core', 99, '2027-01-01', 'x')")
    store.close()
    kind, message = refused(path, energy(V1))
    assert kind is StoreError
    assert "version 99" in message
    assert "pip install -U accelerate-duckdb" in message
    with duckdb.connect(path) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchall() == [(1,)]
        tables = database.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        assert ("energy_samples",) not in tables


def test_an_edited_migration_is_refused(path: Path) -> None:
    DuckDbStore.open(path, tables=[energy(V1)]).close()
    edited = Migration(version=1, sql=V1.sql.replace("DOUBLE", "FLOAT"))
    kind, message = refused(path, energy(edited))
    assert kind is StoreError
    assert "migration 1 of the tables 'energy' was edited" in message


def test_line_endings_are_no_edit(path: Path) -> None:
    lines = Migration(version=1, sql="CREATE TABLE energy_a (\n  id INTEGER\n);\n")
    DuckDbStore.open(path, tables=[energy(lines)]).close()
    windows = Migration(version=1, sql=lines.sql.replace("\n", "\r\n"))
    DuckDbStore.open(path, tables=[energy(windows)]).close()


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("CREATE TABLE joules (id INTEGER)", "joules"),
        ("CREATE TABLE energy_a (id INTEGER); CREATE INDEX fast ON energy_a (id)", "fast"),
        ("CREATE VIEW latest AS SELECT 1", "latest"),
        ("ALTER TABLE runs ADD COLUMN joules DOUBLE", "runs"),
        ("DROP TABLE cells", "cells"),
        ("CREATE SCHEMA other; CREATE TABLE other.energy_a (id INTEGER)", "other"),
        ("COMMIT", "TRANSACTION statement"),
        ("ATTACH 'elsewhere.duckdb'", "ATTACH statement"),
        ("CREATE TABLE energy_a (id NOSUCHTYPE)", "failed"),
        ("CREATE TABL energy_a", "failed"),
    ],
)
def test_contributed_sql_outside_its_rules_is_refused(path: Path, sql: str, named: str) -> None:
    kind, message = refused(path, energy(Migration(version=1, sql=sql)))
    assert kind is PluginError
    assert "migration 1 of the tables 'energy'" in message
    assert named in message
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "tables",
    [
        [TableSet(namespace="Energy", migrations=(V1,))],
        [TableSet(namespace="core", migrations=(V1,))],
        [energy(V1), energy(V1)],
        [energy(V1), TableSet(namespace="energy_fine", migrations=())],
        [energy(V2)],
        [energy(V1, V1)],
    ],
)
def test_table_sets_that_break_the_rules_touch_no_file(path: Path, tables: list[TableSet]) -> None:
    kind, _ = refused(path, *tables)
    assert kind is PluginError
    assert not path.exists()


@pytest.mark.parametrize("namespace", ["browser", "webnn", "webnn_webgpu", "schema"])
def test_a_namespace_may_not_cover_the_stores_own_tables(path: Path, namespace: str) -> None:
    kind, message = refused(path, TableSet(namespace=namespace, migrations=()))
    assert kind is PluginError
    assert "the store's own" in message
