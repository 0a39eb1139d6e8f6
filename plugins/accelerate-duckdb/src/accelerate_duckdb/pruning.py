# SPDX-License-Identifier: Apache-2.0
"""Retention: old runs go and the file becomes smaller. Contributed tables stay."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from . import faults, migrations, opening
from .writer import roll_back

if TYPE_CHECKING:
    import duckdb

#: Runs that go: begun before the cut, not among the latest, and named by no open finding.
_OLD = """
CREATE TEMP TABLE old_runs AS
SELECT id FROM runs
WHERE started_at < $cut
    AND id NOT IN (SELECT id FROM runs ORDER BY started_at DESC, sequence DESC LIMIT $keep)
    AND id NOT IN (
        SELECT unnest([first_bad_run, coalesce(last_good_run, '')]) FROM performance_regressions
        WHERE status IN ('open', 'acknowledged')
    )
"""
#: Table -> which of its rows go.
_GOING = {
    "webnn_webgpu_performance": "run_id IN (FROM old_runs)",
    "browser_connections": "session_id IN (FROM old_runs)",
    "resource_pool_metrics": "session_id IN (FROM old_runs)",
    "resource_pool_events": "session_id IN (FROM old_runs)",
    "runs": "id IN (FROM old_runs)",
    "cells": "id NOT IN (SELECT cell_id FROM webnn_webgpu_performance)",
    "performance_regressions": "status IN ('fixed', 'wont_fix') AND updated_at < $cut",
    "browser_recommendations": "created_at < $cut",
}


@attrs.frozen
class Pruned:
    """What went, or would go."""

    rows: dict[str, int]  #: table -> rows
    size_before: int  #: bytes
    size_after: int  #: bytes; as before where nothing was done


def prune(
    path: Path,
    before: datetime,
    *,
    keep_runs: int = 0,
    is_dry_run: bool = False,
    wait_s: float = 10.0,
) -> Pruned:
    """Delete runs that began before a time (UTC), with what belongs to them, and compact the file.

    The latest `keep_runs` stay whatever their age, and so do runs that an open finding names.
    ConfigError when there is no such file, StoreError when it cannot be written; what is deleted
    goes as one.
    """
    import duckdb

    path = opening.existing(path)
    size_before = opening.size(path)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
            connection = opening.open_writer(path, wait_s, folder=Path(folder))
            try:
                if not is_dry_run:
                    migrations.migrate(connection, [migrations.core_tables()], path)
                rows = _delete(connection, before, keep_runs, is_dry_run=is_dry_run)
                if not is_dry_run:
                    _compact(connection, path, Path(folder) / "compacted.duckdb")
            except duckdb.Error as error:
                raise migrations.explain(connection, error, path) from error
            finally:
                connection.close()
                opening.release(path)
    except OSError as error:
        raise faults.explain(error, path) from error
    return Pruned(rows, size_before, size_before if is_dry_run else opening.size(path))


def _delete(
    connection: duckdb.DuckDBPyConnection, before: datetime, keep_runs: int, *, is_dry_run: bool
) -> dict[str, int]:
    connection.execute("BEGIN")
    try:
        connection.execute(_OLD, {"cut": before, "keep": keep_runs})
        rows = {}
        for table, condition in _GOING.items():
            values = {"cut": before} if "$cut" in condition else None
            answer = connection.execute(f"DELETE FROM {table} WHERE {condition}", values)
            ((rows[table],),) = answer.fetchall()
        connection.execute("DROP TABLE old_runs")
    except BaseException:
        roll_back(connection)
        raise
    connection.execute("ROLLBACK" if is_dry_run else "COMMIT")
    return rows


def _compact(connection: duckdb.DuckDBPyConnection, path: Path, copy: Path) -> None:
    """Put a copy in the file's place: DuckDB gives no space back to the system."""
    connection.execute("CHECKPOINT")
    ((name,),) = connection.execute("SELECT current_database()").fetchall()
    connection.execute(f"ATTACH {_quoted(copy)} AS accelerate_compacts")
    connection.execute(f'COPY FROM DATABASE "{name}" TO accelerate_compacts')
    connection.execute("DETACH accelerate_compacts")
    copy.replace(path)  # before the lock goes: another process would write to the old file


def _quoted(path: Path) -> str:
    text = str(path).replace("'", "''")
    return f"'{text}'"
