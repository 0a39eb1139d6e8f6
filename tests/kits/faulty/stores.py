# SPDX-License-Identifier: Apache-2.0
"""Stores that break the contract, each in its own way; they start from an honest small one."""

from __future__ import annotations

import contextlib
import pickle
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from accelerate_core.errors import StoreError
from accelerate_core.protocols import Table
from accelerate_core.testing import StoreContract
from accelerate_core.types import RunSummary


class SqliteStore:
    """Keep values pickled in SQLite: enough to keep the contract."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.RLock()
        self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        for table in ("runs", "connections"):
            self.db.execute(f"CREATE TABLE IF NOT EXISTS {table} (id PRIMARY KEY, value)")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS measurements (id INTEGER PRIMARY KEY, run_id, value)"
        )

    def sql(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        try:
            with self.lock:
                return self.db.execute(sql, parameters)
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def save_run(self, run: Any) -> None:
        self.sql("INSERT OR REPLACE INTO runs VALUES (?, ?)", (run.id, pickle.dumps(run)))

    def save_connection(self, one: Any) -> None:
        self.sql("INSERT OR REPLACE INTO connections VALUES (?, ?)", (one.id, pickle.dumps(one)))

    def save_measurement(self, one: Any) -> int:
        insert = "INSERT INTO measurements (run_id, value) VALUES (?, ?)"
        with self.lock:
            return self.sql(insert, (one.run_id, pickle.dumps(one))).lastrowid or 0

    def runs(self, limit: int = 20) -> Any:
        with self.lock:
            runs = [pickle.loads(value) for (value,) in self.sql("SELECT value FROM runs")]
        return sorted(runs, key=lambda run: run.started_at, reverse=True)[:limit]

    def summary(self, run_id: str) -> RunSummary:
        select = "SELECT value FROM measurements WHERE run_id = ? ORDER BY id"
        with self.lock:
            found = self.sql("SELECT value FROM runs WHERE id = ?", (run_id,)).fetchone()
            if found is None:
                raise StoreError(f"no run {run_id}")
            rows = self.sql(select, (run_id,)).fetchall()
        every = [pickle.loads(value) for (value,) in rows]
        kept = tuple(one for one in every if one.again_of is None)
        return RunSummary(run=pickle.loads(found[0]), measurements=kept)

    def query(self, sql: str, parameters: Any = ()) -> Table:
        if not sql.lstrip().upper().startswith("SELECT"):
            raise StoreError("a query only reads")
        with self.lock:
            cursor = self.sql(sql, parameters)
            columns = tuple(column[0] for column in cursor.description)
            return Table(columns, tuple(cursor.fetchall()))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        with self.lock:
            self.sql("BEGIN")
            try:
                yield Transaction(self)
            except BaseException:
                self.sql("ROLLBACK")
                raise
            self.sql("COMMIT")

    def close(self) -> None:
        with self.lock:
            self.db.close()


@attrs.frozen
class Transaction:
    store: SqliteStore

    def execute(self, sql: str, parameters: Any = ()) -> Table:
        self.store.sql(sql, parameters)
        return Table((), ())


class _Kit(StoreContract):
    store_class: type[SqliteStore] = SqliteStore

    @pytest.fixture
    def open_store(self) -> Any:
        return self.store_class


class TestHonest(_Kit):
    """Keeps the contract."""


class LosesFields(_Kit):
    caught_by = (
        "test_run_and_measurements_come_back",
        "test_any_text_comes_back",
        "test_rows_outlive_the_store",
    )

    class store_class(SqliteStore):
        def save_measurement(self, one: Any) -> int:
            return super().save_measurement(attrs.evolve(one, provenance={}, series_key=""))

        def close(self) -> None:
            if self.lock.acquire(timeout=1):
                with contextlib.suppress(StoreError):
                    self.sql("DELETE FROM measurements")
                self.lock.release()
            super().close()


class UnknownBecomesZero(_Kit):
    caught_by = ("test_unknown_stays_unknown",)

    class store_class(SqliteStore):
        def save_measurement(self, one: Any) -> int:
            return super().save_measurement(attrs.evolve(one, latency_ms=one.latency_ms or 0.0))


class SameIds(_Kit):
    caught_by = ("test_row_ids_are_unique_and_grow", "test_threads_lose_nothing")

    class store_class(SqliteStore):
        def save_measurement(self, one: Any) -> int:
            super().save_measurement(one)
            return 1


class InsertsTwice(_Kit):
    caught_by = ("test_saving_again_updates",)

    class store_class(SqliteStore):
        def save_run(self, run: Any) -> None:
            self.sql("INSERT OR IGNORE INTO runs VALUES (?, ?)", (run.id, pickle.dumps(run)))


class OldestFirst(_Kit):
    caught_by = ("test_runs_are_newest_first_and_limited",)

    class store_class(SqliteStore):
        def runs(self, limit: int = 20) -> Any:
            return super().runs(limit)[::-1]


class MixesRuns(_Kit):
    caught_by = ("test_runs_are_kept_apart",)

    class store_class(SqliteStore):
        def summary(self, run_id: str) -> RunSummary:
            rows = self.sql("SELECT value FROM measurements").fetchall()
            every = tuple(pickle.loads(value) for (value,) in rows)
            return attrs.evolve(super().summary(run_id), measurements=every)


class CountsTwice(_Kit):
    caught_by = ("test_a_second_measurement_is_no_second_row_of_a_run",)

    class store_class(SqliteStore):
        def summary(self, run_id: str) -> RunSummary:
            select = "SELECT value FROM measurements WHERE run_id = ? ORDER BY id"
            rows = self.sql(select, (run_id,)).fetchall()
            every = tuple(pickle.loads(value) for (value,) in rows)
            return attrs.evolve(super().summary(run_id), measurements=every)


class EmptyForUnknown(_Kit):
    caught_by = ("test_unknown_run_is_an_error",)

    class store_class(SqliteStore):
        def summary(self, run_id: str) -> Any:
            try:
                return super().summary(run_id)
            except StoreError:
                return None


class ClosesOnce(_Kit):
    caught_by = ("test_close_twice_is_no_error",)

    class store_class(SqliteStore):
        def close(self) -> None:
            self.sql("SELECT 1")
            super().close()


class NoRollback(_Kit):
    caught_by = ("test_transaction_is_all_or_nothing",)

    class store_class(SqliteStore):
        @contextlib.contextmanager
        def transaction(self) -> Iterator[Any]:
            yield Transaction(self)


class PastesParameters(_Kit):
    caught_by = ("test_parameters_are_values_not_sql",)

    class store_class(SqliteStore):
        def query(self, sql: str, parameters: Any = ()) -> Table:
            for value in parameters:
                sql = sql.replace("?", f"'{value}'", 1)
            return super().query(sql)


class QueriesWrite(_Kit):
    caught_by = ("test_query_only_reads",)

    class store_class(SqliteStore):
        def query(self, sql: str, parameters: Any = ()) -> Table:
            cursor = self.sql(sql, parameters)
            return Table(tuple(c[0] for c in cursor.description or ()), tuple(cursor.fetchall()))
