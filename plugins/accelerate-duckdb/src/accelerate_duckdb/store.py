# SPDX-License-Identifier: Apache-2.0
"""The store: values in, rows committed, values out."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from accelerate_core.errors import StoreError
from accelerate_core.protocols import Table, TableSet, Transaction
from accelerate_core.types import Connection, Measurement, RunInfo

from . import migrations, opening, rows
from .bulk import insert_rows
from .reader import Reader
from .recalling import Recalling
from .server import QueryServer
from .writer import Writer, WriteTransaction

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")


class DuckDbStore(Recalling):
    """Remember runs in one file. Thread-safe; a call returns after its commit."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self._path = path
        self._pid = os.getpid()
        self._local = threading.local()
        self._closing = threading.Lock()
        self._is_closed = False
        self._reader = Reader(connection, path)
        self._server = QueryServer(path, self._reader)
        self._writer = Writer(connection.cursor(), path)
        atexit.register(self.close)

    @classmethod
    def open(
        cls, path: str | Path, *, wait_s: float = 10.0, tables: Sequence[TableSet] = ()
    ) -> DuckDbStore:
        """Open or make the file, and bring it up to date.

        Waits `wait_s` seconds while another process holds it. StoreError when it is locked,
        foreign, damaged, newer, or cannot be written; PluginError for contributed tables that
        break the rules. A file that is refused is left as it was; one that was made is removed.
        """
        migrations.check_contributed(tables)
        path = opening.real_path(path)
        is_new = not path.exists()
        connection = opening.open_writer(path, wait_s)
        try:
            # Another process may have made and filled it while this one waited.
            is_new = is_new and migrations.is_empty(connection)
            migrations.migrate(connection, [migrations.core_tables(), *tables], path)
            return cls(connection, path)
        except BaseException:
            if is_new:
                opening.remove(path)
            connection.close()
            opening.release(path)
            raise

    def save_run(self, run: RunInfo) -> None:
        """Insert or update a run, by id."""
        row = rows.run_row(run)
        self._write(lambda connection: _upsert(connection, "runs", row, ("id",)))

    def save_connection(self, connection: Connection) -> None:
        """Insert or update a worker's life, by run and id."""
        row = rows.connection_row(connection)
        key = ("session_id", "connection_id")
        self._write(lambda database: _upsert(database, "browser_connections", row, key))

    def save_measurement(self, measurement: Measurement) -> int:
        """Insert one measurement and return its row id; StoreError when its id is taken."""
        row, cell = rows.measurement_row(measurement), rows.cell_row(measurement.cell)

        def insert(connection: duckdb.DuckDBPyConnection) -> int:
            row["cell_id"] = _cell_id(connection, cell)
            return _insert(connection, "webnn_webgpu_performance", row)

        return self._write(insert)

    def save_measurements(self, measurements: Sequence[Measurement]) -> int:
        """Insert many measurements as one, in order, and return how many were.

        StoreError when an id is taken; then nothing is stored.
        """
        return self._save_all(measurements)

    def add(self, runs: Sequence[RunInfo], measurements: Sequence[Measurement]) -> int:
        """Insert what is not there yet, as one, and return how many measurements were new."""
        return self._save_all(measurements, runs=runs, conflict="ON CONFLICT DO NOTHING")

    def _save_all(
        self,
        measurements: Sequence[Measurement],
        *,
        runs: Sequence[RunInfo] = (),
        conflict: str = "",
    ) -> int:
        run_rows = [rows.run_row(run) for run in runs]
        found = [rows.measurement_row(one) for one in measurements]
        cells = {
            cell: rows.cell_row(cell) for cell in dict.fromkeys(one.cell for one in measurements)
        }

        def insert(connection: duckdb.DuckDBPyConnection) -> int:
            insert_rows(connection, "runs", run_rows, conflict=conflict)
            insert_rows(
                connection, "cells", list(cells.values()), conflict="ON CONFLICT (key) DO NOTHING"
            )
            keys = [row["key"] for row in cells.values()]
            known = connection.execute(
                "SELECT key, id FROM cells WHERE key IN (SELECT unnest(?))", [keys]
            )
            ids = dict(known.fetchall())
            for one, row in zip(measurements, found, strict=True):
                row["cell_id"] = ids[cells[one.cell]["key"]]
            return insert_rows(connection, "webnn_webgpu_performance", found, conflict=conflict)

        return self._write(insert)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Run one read-only statement on what is committed."""
        return self._reader.query(sql, parameters)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction; commits when the block ends well, else rolls back.

        Other threads' writes wait for its end. `save_*` and transactions of the same thread become
        part of it, and are committed, or rolled back, with it.
        """
        if self._transaction is not None:
            yield self._transaction
            return
        transaction = self._writer.begin()
        self._local.transaction = transaction
        try:
            yield transaction
        except BaseException:
            with contextlib.suppress(StoreError):
                transaction.end(is_commit=False)
            raise
        else:
            transaction.end(is_commit=True)
        finally:
            self._local.transaction = None

    def close(self) -> None:
        """Commit what is queued and let go of the file. Rolls back a transaction still open."""
        with self._closing:
            if self._is_closed or os.getpid() != self._pid:
                return
            self._is_closed = True
            atexit.unregister(self.close)
            # The sidecar goes while the file is still held: the next writer's must stay.
            self._server.close()
            self._writer.close()
            self._reader.close()
            opening.release(self._path)

    @property
    def _transaction(self) -> WriteTransaction | None:
        return getattr(self._local, "transaction", None)

    def _write(self, operation: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        if self._transaction is not None:
            return self._transaction.run(operation)
        return self._writer.submit(operation)


def _insert(connection: duckdb.DuckDBPyConnection, table: str, row: rows.Row) -> int:
    marks = ", ".join("?" for _ in row)
    answer = connection.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks}) RETURNING id", list(row.values())
    )
    (identity,) = answer.fetchall()[0]
    return int(identity)


def _upsert(
    connection: duckdb.DuckDBPyConnection, table: str, row: rows.Row, key: tuple[str, ...]
) -> None:
    marks = ", ".join("?" for _ in row)
    changes = ", ".join(f"{name} = excluded.{name}" for name in row if name not in key)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks}) "
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}",
        list(row.values()),
    )


def _cell_id(connection: duckdb.DuckDBPyConnection, cell: rows.Row) -> int:
    known = connection.execute("SELECT id FROM cells WHERE key = ?", [cell["key"]]).fetchall()
    return int(known[0][0]) if known else _insert(connection, "cells", cell)
