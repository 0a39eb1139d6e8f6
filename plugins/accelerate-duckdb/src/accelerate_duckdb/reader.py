# SPDX-License-Identifier: Apache-2.0
"""Read-only queries: each in a read-only transaction of a connection of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_core.errors import AccelerateError, StoreError
from accelerate_core.protocols import Table

from . import faults, migrations
from .writer import fetch, roll_back

if TYPE_CHECKING:
    import duckdb

# What can be read-only. The transaction enforces it: a SELECT may hide an INSERT in its WITH.
# MULTI is what PIVOT is made of; CALL is out, for it can checkpoint.
_READING = ("SELECT", "EXPLAIN", "PRAGMA", "MULTI")
_ACCEPTED = ("one SELECT, WITH, FROM, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN or PRAGMA statement",)


class Reader:
    """Answer queries from any thread, beside the writer. They see what is committed."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._changed = threading.Condition()
        self._running: set[duckdb.DuckDBPyConnection] = set()
        self._is_closing = False

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Run one read-only statement; StoreError for any other, or when it fails."""
        with self._cursor() as cursor:
            try:
                return self._run(cursor, sql, parameters)
            except AccelerateError:
                raise
            except Exception as error:
                raise migrations.explain(cursor, error, self._path) from error

    def close(self) -> None:
        """Interrupt what runs, wait for it to end, and close the connection."""
        with self._changed:
            self._is_closing = True
            # An interrupt is lost on a query that is just about to begin.
            while self._running:
                for cursor in self._running:
                    cursor.interrupt()
                self._changed.wait(0.05)
        self._connection.close()

    def _run(self, cursor: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any]) -> Table:
        statements = cursor.extract_statements(sql)
        kinds = [statement.type.name for statement in statements]
        if len(kinds) != 1 or kinds[0] not in _READING:
            raise StoreError(
                f"not a read-only query: {' and '.join(kinds) or 'no'} statement",
                where=str(self._path),
                accepted=_ACCEPTED,
                hint="To write, use Store.transaction() in the process that has the store open.",
            )
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        try:
            return fetch(cursor.execute(sql, list(parameters)))
        finally:
            roll_back(cursor)

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._changed:
            if self._is_closing:
                raise faults.closed(self._path)
            cursor = self._connection.cursor()
            self._running.add(cursor)
        try:
            yield cursor
        finally:
            with self._changed:
                self._running.discard(cursor)
                # Before anyone hears of it: an open cursor keeps the file locked.
                cursor.close()
                self._changed.notify_all()
