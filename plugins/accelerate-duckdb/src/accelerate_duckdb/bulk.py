# SPDX-License-Identifier: Apache-2.0
"""Many rows in one statement: columns go to DuckDB as arrays, not value by value.

`executemany` plans and binds once a row, which is a hundred times slower for a wide table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import duckdb

_NAME = "incoming_rows"
#: So many rows at once, so that a million do not stand in memory three times. DuckDB reads fewer
#: than 100,000 on one thread, which is why they get their numbers in order without a sort.
CHUNK = 20_000
_TYPED = {float: np.dtype(np.float64), bool: np.dtype(np.bool_), int: np.dtype(np.int64)}
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


def insert_rows(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    conflict: str = "",
) -> int:
    """Insert rows with equal keys, in order, and return how many were; names are not quoted.

    `conflict` is an ON CONFLICT clause. Runs in the transaction that is open, if one is.
    """
    names = tuple(rows[0]) if rows else ()
    inserted = 0
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        columns = {name: list(map(itemgetter(name), part)) for name in names}
        inserted += insert_columns(connection, table, columns, conflict=conflict)
    return inserted


def insert_columns(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Mapping[str, Sequence[Any]],
    *,
    conflict: str = "",
) -> int:
    """Insert columns of equal length, at most `CHUNK`, and return how many rows were."""
    import duckdb

    length = len(next(iter(columns.values())))
    # At least one array says how many rows there are.
    arrays: dict[str, npt.NDArray[Any]] = {"bulk_row": np.arange(length)}
    terms, constants = [], []
    for name, values in columns.items():
        # What all rows share, most of a wide row, is bound once.
        if values.count(values[0]) == length:
            terms.append("?")
            constants.append(values[0])
        else:
            terms.append(f"i.{name}")
            arrays[name] = _array(values)
    connection.register(_NAME, arrays)
    try:
        answer = connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(terms)}"
            f" FROM {_NAME} AS i {conflict}",
            constants,
        )
        (count,) = answer.fetchall()[0]
    finally:
        # Refused in a transaction that failed; the next rows take its place then.
        with contextlib.suppress(duckdb.Error):
            connection.unregister(_NAME)
    return int(count)


def _array(values: Sequence[Any]) -> npt.NDArray[Any]:
    kinds = set(map(type, values))
    kind = kinds.pop() if len(kinds) == 1 else None
    # DuckDB looks at each value of an object array, and numpy reads a datetime through its text.
    if kind is datetime and all(one.tzinfo is None for one in values):
        since = [(one - _EPOCH) // _MICROSECOND for one in values]
        return np.array(since, dtype=np.int64).view("datetime64[us]")
    if kind in _TYPED:
        return np.array(values, dtype=_TYPED[kind])
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
