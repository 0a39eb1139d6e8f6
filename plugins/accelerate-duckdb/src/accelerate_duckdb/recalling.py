# SPDX-License-Identifier: Apache-2.0
"""Runs out of a database: out of an open store, or of a file that another process may write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate_core.errors import StoreError
from accelerate_core.protocols import Table, TableSet
from accelerate_core.types import Measurement, RunInfo, RunSummary

from . import client, migrations, rows


class Recalling(ABC):
    """What can be told of runs by asking."""

    _path: Path

    @abstractmethod
    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Run one read-only statement on what is committed."""

    def runs(self, limit: int = 20) -> Sequence[RunInfo]:
        """Return the latest runs, newest first."""
        found = self.query(
            "SELECT record FROM runs ORDER BY started_at DESC, sequence DESC LIMIT ?", [limit]
        )
        return [rows.from_json(record, RunInfo) for (record,) in found.rows]

    def summary(self, run_id: str) -> RunSummary:
        """Return one run with all its measurements, in the order they were saved."""
        run = self.query("SELECT record FROM runs WHERE id = ?", [run_id])
        if not run.rows:
            raise StoreError(
                f"there is no run {run_id!r}",
                where=str(self._path),
                accepted=[known.id for known in self.runs(5)],
                hint='List them: accel query "SELECT id, name, started_at FROM runs"',
            )
        found = self.query(
            "SELECT record FROM webnn_webgpu_performance"
            " WHERE run_id = ? AND again_of IS NULL ORDER BY id",
            [run_id],
        )
        return RunSummary(
            run=rows.from_json(run.rows[0][0], RunInfo),
            measurements=tuple(rows.from_json(record, Measurement) for (record,) in found.rows),
        )


class Recalled(Recalling):
    """Ask the process that writes a file, or read it where there is none."""

    def __init__(self, path: str | Path, wait_s: float) -> None:
        self._client = client.Client(path, wait_s)
        self._path = self._client.path

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Run one read-only statement on what is committed; errors as those of `client.query`."""
        return self._client.query(sql, parameters)

    def close(self) -> None:
        """Let go of the file."""
        self._client.close()

    def lacks(self, tables: Sequence[TableSet]) -> bool:
        """Whether the file is of another version, without some of these, or another program's."""
        names = self.query("SELECT table_name FROM duckdb_tables()").rows
        if ("schema_versions",) not in names:
            return True
        newest = self.query("SELECT namespace, max(version) FROM schema_versions GROUP BY ALL")
        known = dict(newest.rows)
        return any(
            known.get(one.namespace, 0) != len(one.migrations)
            for one in (migrations.core_tables(), *tables)
        )
