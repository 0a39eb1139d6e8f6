# SPDX-License-Identifier: Apache-2.0
"""What a database file holds, asked through the process that writes it or directly."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import attrs

from . import opening
from .client import query

_TABLES = "SELECT table_name FROM duckdb_tables() WHERE NOT internal ORDER BY table_name"


@attrs.frozen
class Look:
    """Size, rows, span and versions of a file."""

    path: str
    size: int  #: bytes, with its log
    duckdb: str
    versions: dict[str, int]  #: namespace of tables -> newest migration
    rows: dict[str, int]  #: table -> rows
    first: datetime | None  #: start of the first run, UTC
    last: datetime | None


def look(path: Path) -> Look:
    """Return what the file holds; StoreError as the query's."""
    path = opening.real_path(path)
    tables = [name for (name,) in query(path, _TABLES).rows]
    counts = ", ".join(f"(SELECT count(*) FROM {name})" for name in tables)
    (rows,) = query(path, f"SELECT {counts}").rows
    versions = query(path, "SELECT namespace, max(version) FROM schema_versions GROUP BY namespace")
    (span,) = query(path, "SELECT min(started_at), max(started_at), version() FROM runs").rows
    return Look(
        path=str(path),
        size=opening.size(path),
        duckdb=span[2],
        versions=dict(sorted(versions.rows)),
        rows=dict(zip(tables, rows, strict=True)),
        first=span[0],
        last=span[1],
    )
