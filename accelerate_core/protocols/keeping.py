# SPDX-License-Identifier: Apache-2.0
"""What remembers runs: stores, and the tables plugins add. Synchronous, called in threads."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from ..types import (
    Connection,
    Measurement,
    RunInfo,
    RunSummary,
)

if TYPE_CHECKING:
    pass


@attrs.frozen
class Table:
    """Hold the answer to a query."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@attrs.frozen(kw_only=True)
class Migration:
    """Bring a contributed table set from `version - 1` to `version`."""

    version: int
    sql: str


@attrs.frozen(kw_only=True)
class TableSet:
    """Contribute tables: every table name starts with `namespace + "_"`."""

    namespace: str
    migrations: tuple[Migration, ...]
    #: What each `table` and each `table.column` means, for the data dictionary; a unit stands in
    #: brackets at the end.
    meanings: Mapping[str, str] = attrs.field(factory=dict)
    #: `table.column` that names a row of another table by a number of a sequence -> that table's
    #: `table.column`: rows that are merged into another database get new numbers there.
    references: Mapping[str, str] = attrs.field(factory=dict)


class Transaction(Protocol):
    """Run several statements as one."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Run one statement inside the transaction."""
        ...


class Records(Protocol):
    """Answer what was remembered. Thread-safe. StoreError otherwise."""

    def runs(self, limit: int = 20) -> Sequence[RunInfo]:
        """Return the latest runs, newest first."""
        ...

    def summary(self, run_id: str) -> RunSummary:
        """Return one run with its measurements in the order they were saved.

        Those that repeat another (`again_of`) are left out.
        """
        ...

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Run a read-only query."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class Store(Records, Protocol):
    """Remember runs. Thread-safe; a call returns after its commit. StoreError otherwise."""

    def save_run(self, run: RunInfo) -> None:
        """Insert or update a run, by id."""
        ...

    def save_connection(self, connection: Connection) -> None:
        """Insert or update a worker's life, by id."""
        ...

    def save_measurement(self, measurement: Measurement) -> int:
        """Insert one measurement and return its row id."""
        ...

    def transaction(self) -> contextlib.AbstractContextManager[Transaction]:
        """Open a transaction; commits when the block ends well, else rolls back.

        Within one of the same thread it is part of that.
        """
        ...

    def close(self) -> None:
        """Commit what is queued and let go of the file."""
        ...
