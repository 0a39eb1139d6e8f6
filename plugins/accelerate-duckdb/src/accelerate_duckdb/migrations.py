# SPDX-License-Identifier: Apache-2.0
"""Bring a database forward: the store's own tables, and those other plugins contribute.

Each migration runs once, in a transaction of its own that also writes its line into
`schema_versions`. Everything is checked before the first one runs: a file from a newer version,
or one whose applied migrations were edited since, is refused untouched.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from accelerate_core.errors import PluginError, StoreError
from accelerate_core.protocols import Migration, TableSet

from . import faults
from .writer import roll_back

if TYPE_CHECKING:
    import duckdb

    Applied: TypeAlias = dict[tuple[str, int], str]  # (namespace, version) -> checksum

CORE = "core"

_VERSIONS_TABLE = """
CREATE TABLE schema_versions (
    namespace VARCHAR NOT NULL,
    version INTEGER NOT NULL,
    applied_at TIMESTAMP NOT NULL,
    checksum VARCHAR NOT NULL,
    PRIMARY KEY (namespace, version)
)
"""

#: What a migration may be made of. No transaction control, no other files, no settings.
_ALLOWED = frozenset(
    ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE_INTO", "CREATE", "ALTER", "DROP")
)

_CATALOGUE = """
SELECT table_name, 'table ' || schema_name || sql FROM duckdb_tables() WHERE NOT internal
UNION ALL SELECT view_name, 'view ' || schema_name || sql FROM duckdb_views() WHERE NOT internal
UNION ALL SELECT index_name, 'index ' || coalesce(sql, '') FROM duckdb_indexes()
UNION ALL SELECT sequence_name, 'sequence ' || sql FROM duckdb_sequences()
UNION ALL SELECT type_name, 'type ' || schema_name FROM duckdb_types() WHERE NOT internal
UNION ALL SELECT schema_name, 'schema' FROM duckdb_schemas() WHERE NOT internal
"""


def core_tables() -> TableSet:
    """Return the store's own migrations: `schema/0001.sql`, `schema/0002.sql`, ..."""
    folder = resources.files(__package__) / "schema"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return TableSet(
        namespace=CORE,
        migrations=tuple(
            Migration(version=int(f.name.removesuffix(".sql")), sql=f.read_text("utf-8"))
            for f in files
        ),
    )


def _core_sql() -> str:
    return "\n".join(migration.sql for migration in core_tables().migrations)


def checksum(sql: str) -> str:
    """Return the SHA-256 of a migration; line endings and outer space do not count."""
    lines = (line.rstrip() for line in sql.strip().splitlines())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def check_contributed(tables: Iterable[TableSet]) -> None:
    """Refuse contributed tables that break the rules, before a file is touched: PluginError."""
    seen: set[str] = {CORE}
    own = ["schema_versions", *re.findall(r"CREATE (?:TABLE|VIEW) (\w+)", _core_sql())]
    for table_set in tables:
        name = table_set.namespace
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise PluginError(
                f"{name!r} is not a namespace for tables",
                accepted=("lower-case letters, digits and _, a letter first",),
            )
        for other in seen:
            if f"{name}_".startswith(f"{other}_") or f"{other}_".startswith(f"{name}_"):
                raise PluginError(
                    f"the table namespaces {name!r} and {other!r} overlap",
                    hint="Disable one of the plugins, or rename one namespace.",
                )
        seen.add(name)
        if covered := [table for table in own if table.startswith(f"{name}_")]:
            raise PluginError(f"the table namespace {name!r} covers {covered[0]}, the store's own")
        versions = [migration.version for migration in table_set.migrations]
        if versions != list(range(1, len(versions) + 1)):
            raise PluginError(
                f"the migrations of tables {name!r} have versions {versions}",
                accepted=("1, 2, 3, ... in order, none left out",),
            )


def migrate(connection: duckdb.DuckDBPyConnection, tables: Sequence[TableSet], path: Path) -> None:
    """Apply what is missing; `tables[0]` is the store's own.

    StoreError for a file that is foreign, newer, or whose history was edited; PluginError for a
    contributed migration that fails or leaves its namespace.
    """
    import duckdb

    try:
        applied = _applied(connection, path)
    except duckdb.Error as error:  # its first block can be read, and others are missing
        raise faults.explain(error, path) from error
    for table_set in tables:
        _check_history(table_set, applied, path)
    for table_set in tables:
        for migration in table_set.migrations:
            if (table_set.namespace, migration.version) not in applied:
                _apply(connection, table_set.namespace, migration, path)


def explain(connection: duckdb.DuckDBPyConnection, error: Exception, path: Path) -> StoreError:
    """Return the error for a statement that failed; of an older file it says how old it is."""
    import duckdb

    newest = core_tables().migrations[-1].version
    if isinstance(error, _catalog_error()):
        with contextlib.suppress(duckdb.Error):  # a file of another program
            ((version,),) = connection.execute(
                "SELECT max(version) FROM schema_versions WHERE namespace = ?", [CORE]
            ).fetchall()
            if version is not None and version < newest:
                return faults.older(error, path, version, newest)
    return faults.explain(error, path)


def _catalogue(connection: duckdb.DuckDBPyConnection) -> set[tuple[str, str]]:
    return set(connection.execute(_CATALOGUE).fetchall())


def is_empty(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the database holds nothing at all."""
    return not _catalogue(connection)


def _applied(connection: duckdb.DuckDBPyConnection, path: Path) -> Applied:
    # The catalogue is asked last: that takes as long as opening the file.
    try:
        rows = connection.execute(
            "SELECT namespace, version, checksum FROM schema_versions"
        ).fetchall()
    except _catalog_error() as error:
        if is_empty(connection):
            connection.execute(_VERSIONS_TABLE)
            return {}
        raise StoreError(
            "this is a DuckDB database of another program; it was left as it is",
            where=str(path),
            hint='Give the store a file of its own: [store] path = "results.duckdb".',
        ) from error
    return {(namespace, version): digest for namespace, version, digest in rows}


def _catalog_error() -> tuple[type[Exception], ...]:
    import duckdb

    return duckdb.CatalogException, duckdb.BinderException


def _check_history(table_set: TableSet, applied: Applied, path: Path) -> None:
    known = {migration.version: migration for migration in table_set.migrations}
    newest = max(known, default=0)
    for (namespace, version), digest in sorted(applied.items()):
        if namespace != table_set.namespace:
            continue
        owner = "accelerate-duckdb" if namespace == CORE else f"the plugin that owns {namespace!r}"
        if version > newest:
            raise StoreError(
                f"the tables {namespace!r} of this file have version {version}, and only "
                f"{newest} is known here; it was left as it is",
                where=str(path),
                hint=f"Upgrade {owner}, e.g. pip install -U accelerate-duckdb"
                if namespace == CORE
                else f"Upgrade {owner}.",
            )
        if checksum(known[version].sql) != digest:
            raise StoreError(
                f"migration {version} of the tables {namespace!r} was edited after this file "
                "applied it; it was left as it is",
                where=str(path),
                hint=f"Install the version of {owner} that wrote the file; "
                "changes belong into a new migration.",
            )


def _apply(
    connection: duckdb.DuckDBPyConnection, namespace: str, migration: Migration, path: Path
) -> None:
    import duckdb

    label = f"migration {migration.version} of the tables {namespace!r}"
    connection.execute("BEGIN")
    try:
        is_contributed = namespace != CORE
        before = _catalogue(connection) if is_contributed else set()
        for statement in connection.extract_statements(migration.sql):
            if statement.type.name not in _ALLOWED:
                raise PluginError(
                    f"{label} has a {statement.type.name} statement",
                    accepted=sorted(_ALLOWED),
                )
            connection.execute(statement)
        if is_contributed:
            _check_names(label, namespace, before ^ _catalogue(connection))
        connection.execute(
            "INSERT INTO schema_versions VALUES (?, ?, ?, ?)",
            [
                namespace,
                migration.version,
                datetime.now(UTC).replace(tzinfo=None),
                checksum(migration.sql),
            ],
        )
        connection.execute("COMMIT")
    except duckdb.Error as error:
        roll_back(connection)
        if namespace == CORE or isinstance(error, duckdb.OperationalError):  # a full disk, say
            raise faults.explain(error, path) from error
        raise PluginError(f"{label} failed: {error}", where=str(path)) from error
    except BaseException:
        roll_back(connection)
        raise


def _check_names(label: str, namespace: str, changed: set[tuple[str, str]]) -> None:
    strangers = sorted({name for name, _ in changed if not name.startswith(f"{namespace}_")})
    if strangers:
        raise PluginError(
            f"{label} makes or changes {', '.join(strangers)}",
            accepted=(f"names that start with {namespace}_",),
        )
