# SPDX-License-Identifier: Apache-2.0
"""The one thread that writes. What queues up while it commits goes into the next commit."""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from accelerate_core.errors import AccelerateError, StoreError
from accelerate_core.protocols import Table

from . import faults

if TYPE_CHECKING:
    import duckdb

    Operation: TypeAlias = Callable[[duckdb.DuckDBPyConnection], Any]

T = TypeVar("T")

#: So many operations share a commit at most, so that the first does not wait for ever.
_BATCH = 256

#: What `Transaction.execute` takes: data, not settings, other files or transaction control.
_IN_TRANSACTION = frozenset(
    ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE_INTO", "CREATE", "ALTER", "DROP", "EXPLAIN")
)


class _Job(Generic[T]):
    def __init__(self, operation: Callable[[duckdb.DuckDBPyConnection], T]) -> None:
        self.operation = operation
        self.answer: Future[T] = Future()


class _End:
    def __init__(self, *, is_commit: bool) -> None:
        self.is_commit = is_commit
        self.answer: Future[None] = Future()


class WriteTransaction:
    """Run statements of one thread as one transaction; other writes wait for its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._requests: queue.SimpleQueue[_Job[Any] | _End] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._is_over = False
        self.started: Future[None] = Future()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Run one statement inside the transaction; StoreError when it fails."""
        return self.run(lambda connection: _execute(connection, sql, parameters))

    def run(self, operation: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run an operation inside the transaction."""
        job = _Job(operation)
        self._post(job)
        return job.answer.result()

    def end(self, *, is_commit: bool) -> None:
        """Commit or roll back, and wait for it."""
        end = _End(is_commit=is_commit)
        self._post(end)
        end.answer.result()

    def abandon(self) -> None:
        """Roll back without waiting: the store is closing."""
        with contextlib.suppress(StoreError):
            self._post(_End(is_commit=False))

    def _post(self, request: _Job[Any] | _End) -> None:
        with self._guard:
            if self._is_over:
                raise faults.closed(self._path)
            self._requests.put(request)

    def serve(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Carry out requests until the end; runs on the writer thread."""
        try:
            connection.execute("BEGIN")
        except Exception as error:
            self._finish()
            self.started.set_exception(_typed(error, self._path))
            return
        self.started.set_result(None)
        is_failed = False
        while isinstance(request := self._requests.get(), _Job):
            _answer(request.answer, partial(request.operation, connection), self._path)
            is_failed = is_failed or request.answer.exception() is not None
        self._finish()
        if request.is_commit and not is_failed:
            _answer(request.answer, partial(_commit, connection), self._path)
            return
        roll_back(connection)
        if request.is_commit:
            # DuckDB would answer this COMMIT with success, and store nothing.
            request.answer.set_exception(
                StoreError(
                    "a statement of this transaction failed, so nothing of it was stored",
                    where=str(self._path),
                )
            )
        else:
            request.answer.set_result(None)

    def _finish(self) -> None:
        with self._guard:
            self._is_over = True
        while True:
            try:
                late = self._requests.get_nowait()
            except queue.Empty:
                return
            late.answer.set_exception(faults.closed(self._path))


class Writer:
    """Own the writing connection. Thread-safe; `submit` returns after the commit."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._queue: collections.deque[_Job[Any] | WriteTransaction] = collections.deque()
        self._is_closing = False
        self._open: WriteTransaction | None = None
        self._thread = threading.Thread(target=self._run, name="accelerate-duckdb", daemon=True)
        self._thread.start()

    def submit(self, operation: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run an operation in a transaction and return its result once committed.

        It may run twice: when another operation of its batch fails, each is tried alone.
        """
        job = _Job(operation)
        self._post(job)
        return job.answer.result()

    def begin(self) -> WriteTransaction:
        """Open a transaction; waits until it is this one's turn."""
        transaction = WriteTransaction(self._path)
        self._post(transaction)
        try:
            transaction.started.result()
        except BaseException:
            # Ctrl-C while waiting: its turn must not come and then wait for statements for ever.
            transaction.abandon()
            raise
        return transaction

    def close(self) -> None:
        """Commit what is queued, roll back an open transaction, and end the thread."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
            if self._open:
                self._open.abandon()
        self._thread.join()
        self._connection.close()

    def _post(self, item: _Job[Any] | WriteTransaction) -> None:
        if os.getpid() != self._pid:
            raise StoreError(
                "this store was opened before the process forked; its writer is in the parent",
                where=str(self._path),
                hint="Open the store in the process that uses it.",
            )
        with self._changed:
            if self._is_closing:
                raise faults.closed(self._path)
            self._queue.append(item)
            self._changed.notify()

    def _run(self) -> None:
        while (work := self._take()) is not None:
            if isinstance(work, WriteTransaction):
                work.serve(self._connection)
                self._open = None
            else:
                self._commit(work)

    def _take(self) -> list[_Job[Any]] | WriteTransaction | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closing)
            batch: list[_Job[Any]] = []
            while self._queue and len(batch) < _BATCH:
                if isinstance(item := self._queue[0], _Job):
                    batch.append(item)
                elif batch:
                    break
                elif self._is_closing:
                    item.started.set_exception(faults.closed(self._path))
                else:
                    self._open = item
                    self._queue.popleft()
                    return item
                self._queue.popleft()
            return batch or None

    def _commit(self, batch: list[_Job[Any]]) -> None:
        try:
            results = self._in_transaction(batch)
        except Exception as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(_typed(error, self._path))
                return
            for job in batch:
                self._commit([job])
        else:
            for job, result in zip(batch, results, strict=True):
                job.answer.set_result(result)

    def _in_transaction(self, batch: list[_Job[Any]]) -> list[Any]:
        self._connection.execute("BEGIN")
        try:
            results = [job.operation(self._connection) for job in batch]
            self._connection.execute("COMMIT")
        except BaseException:
            roll_back(self._connection)
            raise
        return results


def roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    """Roll back what is open, if anything: a COMMIT that failed has done so already."""
    import duckdb

    with contextlib.suppress(duckdb.Error):
        connection.execute("ROLLBACK")


def _commit(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def _answer(answer: Future[Any], call: Callable[[], Any], path: Path) -> None:
    try:
        result = call()
    except Exception as error:
        answer.set_exception(_typed(error, path))
    else:
        answer.set_result(result)


def _typed(error: Exception, path: Path) -> AccelerateError:
    if isinstance(error, AccelerateError):
        return error
    typed = faults.explain(error, path)
    typed.__cause__ = error
    return typed


def _execute(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any]) -> Table:
    statements = connection.extract_statements(sql)
    kinds = [statement.type.name for statement in statements]
    if len(kinds) != 1 or kinds[0] not in _IN_TRANSACTION:
        raise StoreError(
            f"a transaction takes one statement at a time, not {' and '.join(kinds) or 'none'}",
            accepted=sorted(_IN_TRANSACTION),
        )
    return fetch(connection.execute(statements[0], list(parameters)))


def fetch(cursor: duckdb.DuckDBPyConnection) -> Table:
    """Return the whole answer of the last statement."""
    columns = tuple(column[0] for column in cursor.description or ())
    return Table(columns, tuple(tuple(row) for row in cursor.fetchall()))
