# SPDX-License-Identifier: Apache-2.0
"""Databases of several machines into one. A row that is here already is not copied again.

What makes a row the same comes from the catalogue: its first unique key, or, without one, all it
says. A number that a sequence gives is not part of it: the row gets a new one here, and rows that
name it by that number follow.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from accelerate_core.errors import ConfigError, StoreError
from accelerate_core.protocols import TableSet

from . import faults, opening
from .store import DuckDbStore
from .writer import roll_back

if TYPE_CHECKING:
    import duckdb

#: How the other database is called meanwhile. Ours is called as its file is.
_OTHER = "accelerate_merges_this"
#: Columns that name a row of another table by its number; plugins say theirs in `TableSet`.
_REFERENCES = {"webnn_webgpu_performance.cell_id": "cells.id"}
#: Where the row of another machine may be newer than ours: the later of this column counts.
_NEWER = {"runs": "finished_at", "performance_regressions": "updated_at"}
_COLUMNS = """
SELECT table_name, column_name, if(column_default LIKE 'nextval(%', column_default, NULL)
FROM duckdb_columns() JOIN duckdb_tables() USING (database_name, table_name)
WHERE database_name = ? AND table_name <> 'schema_versions' ORDER BY table_name, column_index
"""
_KEYS = """
SELECT table_name, constraint_column_names FROM duckdb_constraints()
WHERE database_name = ? AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')
ORDER BY table_name, constraint_index
"""

#: Of a table that no sequence numbers: the column, and the next value.
_NO_NUMBER = (None, None)


@attrs.frozen
class Shape:
    """What a table is made of."""

    name: str
    columns: tuple[str, ...]  #: without `number`
    number: str | None  #: the column a sequence fills
    next_number: str | None  #: SQL for its next value
    key: tuple[str, ...]  #: what makes rows the same


@attrs.frozen
class Merged:
    """What came from one database."""

    path: Path
    added: dict[str, int]  #: table -> rows
    updated: dict[str, int]
    unknown: tuple[str, ...]  #: tables of plugins that are not installed here


def merge(
    path: Path, others: Sequence[Path], *, tables: Sequence[TableSet] = (), wait_s: float = 10.0
) -> list[Merged]:
    """Copy what other databases hold into `path`, which is made if it is not there.

    `tables` are those that plugins contribute. All or nothing of each other database, which stays
    as it is. ConfigError when one is not there or is the target itself; StoreError when a file
    cannot be used.
    """
    path = opening.real_path(path)
    places = [opening.existing(other) for other in others]
    for place in places:
        if place == path:
            raise ConfigError("a database cannot be merged into itself", where=str(place))
    with tempfile.TemporaryDirectory(prefix="accel-merge-") as made:
        folder = Path(made).resolve()
        copies = [_copy(one, folder / f"{number}") for number, one in enumerate(places)]
        for copy, place in zip(copies, places, strict=True):
            try:
                DuckDbStore.open(copy, tables=tables).close()
            except StoreError as error:  # not where the copy lies
                message, hint = (
                    text and text.replace(str(copy), str(place))
                    for text in (error.info.message, error.info.hint)
                )
                raise StoreError(message or "", where=str(place), hint=hint) from error
        DuckDbStore.open(path, wait_s=wait_s, tables=tables).close()
        connection = opening.open_writer(path, wait_s, folder=folder)
        references = dict(_REFERENCES)
        for table_set in tables:
            references.update(table_set.references)
        try:
            return [
                _merge(connection, copy, place, references)
                for copy, place in zip(copies, places, strict=True)
            ]
        finally:
            connection.close()
            opening.release(path)


def _copy(place: Path, copy: Path) -> Path:
    """Copy a database while no process writes it: the copy may have to be brought up to date."""
    connection = opening.open_writer(place, 0)
    try:
        connection.execute("CHECKPOINT")
        shutil.copyfile(place, copy)
    except OSError as error:
        raise faults.explain(error, place) from error
    finally:
        connection.close()
        opening.release(place)
    return copy


def _merge(
    connection: duckdb.DuckDBPyConnection, copy: Path, place: Path, references: Mapping[str, str]
) -> Merged:
    import duckdb

    text = str(copy).replace("'", "''")
    try:
        ((ours,),) = connection.execute("SELECT current_database()").fetchall()
        connection.execute(f"ATTACH '{text}' AS {_OTHER} (READ_ONLY)")
        here, there = _shapes(connection, ours), _shapes(connection, _OTHER)
        connection.execute("BEGIN")
        try:
            added, updated = {}, {}
            for shape in _ordered(here, references):
                if shape.name in there:
                    updated[shape.name] = _update(connection, shape)
                    added[shape.name] = _add(connection, shape, references)
            connection.execute("COMMIT")
        except BaseException:
            roll_back(connection)
            raise
        connection.execute(f"DETACH {_OTHER}")
    except duckdb.Error as error:
        raise faults.explain(error, place) from error
    return Merged(place, added, updated, tuple(sorted(set(there) - set(here))))


def _shapes(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, Shape]:
    columns: dict[str, list[str]] = {}
    numbers: dict[str, tuple[str | None, str | None]] = {}
    for table, column, next_number in connection.execute(_COLUMNS, [database]).fetchall():
        if next_number:
            numbers[table] = column, next_number
            columns.setdefault(table, [])
        else:
            columns.setdefault(table, []).append(column)
    keys: dict[str, tuple[str, ...]] = {}
    for table, names in connection.execute(_KEYS, [database]).fetchall():
        if numbers.get(table, _NO_NUMBER)[0] not in names:
            keys.setdefault(table, tuple(names))
    return {
        table: Shape(
            table,
            tuple(own),
            *numbers.get(table, _NO_NUMBER),
            keys.get(table, tuple(own)),
        )
        for table, own in columns.items()
    }


def _ordered(shapes: Mapping[str, Shape], references: Mapping[str, str]) -> list[Shape]:
    """Return tables that are named by number before those that name them."""
    naming = {reference.partition(".")[0] for reference in references}
    return sorted(shapes.values(), key=lambda shape: (shape.name in naming, shape.name))


def _shift(connection: duckdb.DuckDBPyConnection, shape: Shape) -> int:
    """Return what is added to numbers of theirs; our sequence goes on behind them."""
    ((first, span),) = connection.execute(
        f"SELECT coalesce(min({shape.number}), 0),"
        f" coalesce(max({shape.number}) - min({shape.number}) + 1, 0) FROM {_OTHER}.{shape.name}"
    ).fetchall()
    if not span:
        return 0
    ((begin,),) = connection.execute(
        f"SELECT min({shape.next_number}) FROM range(?)", [span]
    ).fetchall()
    return int(begin) - int(first)


def _update(connection: duckdb.DuckDBPyConnection, shape: Shape) -> int:
    if (moment := _NEWER.get(shape.name)) is None:
        return 0
    changes = ", ".join(f"{name} = o.{name}" for name in shape.columns if name not in shape.key)
    same = " AND ".join(f"t.{name} = o.{name}" for name in shape.key)
    answer = connection.execute(
        f"UPDATE {shape.name} AS t SET {changes} FROM {_OTHER}.{shape.name} AS o"
        f" WHERE {same} AND o.{moment} > coalesce(t.{moment}, TIMESTAMP '-infinity')"
    )
    ((count,),) = answer.fetchall()
    return int(count)


def _add(connection: duckdb.DuckDBPyConnection, shape: Shape, references: Mapping[str, str]) -> int:
    terms = {name: f"o.{name}" for name in shape.columns}
    joins = []
    for reference, target in references.items():
        table, _, column = reference.partition(".")
        if table == shape.name:
            named, _, number = target.partition(".")
            joins.append(f"JOIN numbers_{named} AS n_{named} ON n_{named}.theirs = o.{column}")
            terms[column] = f"n_{named}.ours"
            assert number
    same = " AND ".join(f"t.{name} IS NOT DISTINCT FROM {terms[name]}" for name in shape.key)
    if shape.number:
        # Theirs moved behind ours: they keep their order however many threads insert, unsorted.
        terms[shape.number] = f"o.{shape.number} + {_shift(connection, shape)}"
    answer = connection.execute(
        f"INSERT INTO {shape.name} ({', '.join(terms)})"
        f" SELECT {', '.join(terms.values())} FROM {_OTHER}.{shape.name} AS o {' '.join(joins)}"
        f" WHERE NOT EXISTS (SELECT 1 FROM {shape.name} AS t WHERE {same})"
    )
    ((count,),) = answer.fetchall()
    if any(target == f"{shape.name}.{shape.number}" for target in references.values()):
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE numbers_{shape.name} AS"
            f" SELECT o.{shape.number} AS theirs, any_value(t.{shape.number}) AS ours"
            f" FROM {_OTHER}.{shape.name} AS o JOIN {shape.name} AS t ON {same} GROUP BY ALL"
        )
    return int(count)
