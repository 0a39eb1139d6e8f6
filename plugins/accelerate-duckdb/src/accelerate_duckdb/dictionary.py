# SPDX-License-Identifier: Apache-2.0
"""The data dictionary: every table, view and column with its type, unit and meaning."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

import attrs

from accelerate_core.protocols import TableSet

from . import migrations

#: Beside the columns of a table: what it is itself, and the table its other columns are those of.
_ITSELF, _LIKE = _RESERVED = "*", "like"


@attrs.frozen
class Column:
    """Describe a column; `meaning` is None where nobody said it."""

    name: str
    type: str
    unit: str | None
    meaning: str | None


@attrs.frozen
class Described:
    """Describe a table or view; `meaning` is None where nobody said it."""

    name: str
    namespace: str  #: whose it is: core, or a plugin's
    is_view: bool
    meaning: str | None
    columns: tuple[Column, ...]


def describe(contributed: Sequence[TableSet] = ()) -> list[Described]:
    """Return the store's own tables and views, then those that plugins contribute.

    They are read from a new database in memory, so types are what DuckDB made of the migrations.
    """
    import duckdb

    meanings = core_meanings()
    for table_set in contributed:
        meanings.update(table_set.meanings)
    with duckdb.connect() as connection:
        tables = [migrations.core_tables(), *contributed]
        migrations.migrate(connection, tables, Path(":memory:"))
        views = {name for (name,) in connection.execute(_VIEWS).fetchall()}
        columns = connection.execute(_COLUMNS).fetchall()
    found: dict[str, list[Column]] = {}
    for table, name, kind in columns:
        text, unit = _unit(meanings.get(f"{table}.{name}"))
        found.setdefault(table, []).append(Column(name, kind, unit, text))
    described = [
        Described(
            name,
            _namespace(name, contributed),
            name in views,
            meanings.get(name),
            tuple(own),
        )
        for name, own in found.items()
    ]
    # As they were written down: a table that a migration made anew would be the last.
    order = {name: number for number, name in enumerate(meanings)}
    return sorted(
        described,
        key=lambda one: (
            one.namespace != migrations.CORE,
            one.namespace,
            order.get(one.name, len(order)),
        ),
    )


def core_meanings() -> dict[str, str]:
    """Return what each `table` and `table.column` of the store's own means."""
    text = (resources.files(__package__) / "schema" / "dictionary.toml").read_text("utf-8")
    written: Mapping[str, Mapping[str, str]] = tomllib.loads(text)
    meanings: dict[str, str] = {}
    for table in written:
        meanings[table] = written[table][_ITSELF]
        for name, meaning in _lineage(written, table):
            meanings.setdefault(f"{table}.{name}", meaning)
    return meanings


def _lineage(
    written: Mapping[str, Mapping[str, str]], table: str | None
) -> Iterator[tuple[str, str]]:
    """Yield the columns of a table, then those of the table it is like, and so on."""
    while table:
        yield from ((key, text) for key, text in written[table].items() if key not in _RESERVED)
        table = written[table].get(_LIKE)


def _namespace(table: str, contributed: Sequence[TableSet]) -> str:
    owners = (one.namespace for one in contributed if table.startswith(f"{one.namespace}_"))
    return next(owners, migrations.CORE)


def _unit(meaning: str | None) -> tuple[str | None, str | None]:
    """Return a meaning without the unit at its end, and the unit."""
    if meaning and meaning.endswith("]"):
        text, _, unit = meaning[:-1].rpartition(" [")
        return text, unit
    return meaning, None


_VIEWS = "SELECT view_name FROM duckdb_views() WHERE NOT internal"
_COLUMNS = """
SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal
ORDER BY table_oid, column_index
"""
