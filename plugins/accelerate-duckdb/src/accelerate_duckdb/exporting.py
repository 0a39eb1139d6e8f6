# SPDX-License-Identifier: Apache-2.0
"""Every table of a database as a Parquet file, in a folder that appears whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from accelerate_core.errors import ConfigError

from . import faults, opening

_COLUMNS = """
SELECT table_name, column_name, data_type FROM duckdb_columns()
WHERE NOT internal AND table_name IN (SELECT table_name FROM duckdb_tables() WHERE NOT internal)
ORDER BY table_name, column_index
"""


def export(path: Path, folder: Path, *, wait_s: float = 10.0) -> dict[str, int]:
    """Write `TABLE.parquet` for each table of one state, and return the rows of each.

    ConfigError when there is no such database, or the folder is there and not empty; StoreError
    when the database cannot be read, or the files cannot be written.
    """
    path, folder = opening.existing(path), opening.real_path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError("this is there and not empty", where=str(folder), hint="Name another.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise faults.explain(error, folder) from error
    try:
        counts = _write(path, made, wait_s)
        made.chmod(0o755)
        made.replace(folder)
    except OSError as error:
        raise faults.explain(error, folder) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return counts


def _write(path: Path, folder: Path, wait_s: float) -> dict[str, int]:
    import duckdb

    connection = opening.open_writer(path, wait_s, folder=folder)
    try:
        tables: dict[str, list[str]] = {}
        for table, column, kind in connection.execute(_COLUMNS).fetchall():
            # Parquet has no integer of 128 bits; DuckDB would write it as a rounded DOUBLE.
            term = f"{column}::DECIMAL(38, 0) AS {column}" if kind == "HUGEINT" else column
            tables.setdefault(table, []).append(term)
        connection.execute("BEGIN")
        counts = {}
        for table, terms in tables.items():
            select = f"SELECT {', '.join(terms)} FROM {table}"
            place = str(folder / f"{table}.parquet").replace("'", "''")
            answer = connection.execute(f"COPY ({select}) TO '{place}' (FORMAT parquet)")
            ((counts[table],),) = answer.fetchall()
        connection.execute("ROLLBACK")
        return counts
    except duckdb.Error as error:
        raise faults.explain(error, path) from error
    finally:
        connection.close()
        opening.release(path)
