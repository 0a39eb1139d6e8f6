# SPDX-License-Identifier: Apache-2.0
"""Tables as lines of JSON, without losing types: decimals, dates, lists and structs survive.

One request line `{"token", "sql", "parameters"}`; answered by `{"columns": [...]}`, any number of
`{"rows": [...]}` and `{"end": true}`, or by `{"error": {...}}`. Values JSON does not have travel
as `{"$": kind, "v": text}`.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from accelerate_core.errors import AccelerateError, ErrorInfo, StoreError
from accelerate_core.protocols import Table
from accelerate_core.serial import from_plain, to_plain

_ROWS_PER_LINE = 500

# datetime is a date too: it comes first.
_PACK: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (
    (datetime, "datetime", datetime.isoformat),
    (date, "date", date.isoformat),
    (time, "time", time.isoformat),
    (timedelta, "timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    (Decimal, "decimal", str),
    (UUID, "uuid", str),
    (bytes, "bytes", lambda value: b64encode(value).decode("ascii")),
    (Mapping, "dict", lambda value: [[pack(k), pack(v)] for k, v in value.items()]),
)
_UNPACK: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda value: timedelta(*value),
    "decimal": Decimal,
    "uuid": UUID,
    "bytes": b64decode,
    "dict": lambda value: {unpack(k): unpack(v) for k, v in value},
}


def pack(value: Any) -> Any:
    """Return JSON data for one value of a row."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [pack(item) for item in value]
    for kind, word, convert in _PACK:
        if isinstance(value, kind):
            return {"$": word, "v": convert(value)}
    return str(value)


def unpack(data: Any) -> Any:
    """Rebuild a value from `pack`."""
    if isinstance(data, list):
        return [unpack(item) for item in data]
    if isinstance(data, dict):
        return _UNPACK[data["$"]](data["v"])
    return data


def table_lines(table: Table) -> Iterator[bytes]:
    """Yield a table as lines."""
    yield _line({"columns": list(table.columns)})
    for start in range(0, len(table.rows), _ROWS_PER_LINE):
        yield _line({"rows": pack(table.rows[start : start + _ROWS_PER_LINE])})
    yield _line({"end": True})


def error_line(error: AccelerateError) -> bytes:
    """Return an error as a line."""
    return _line({"error": to_plain(error.info)})


def request_line(token: str, sql: str, parameters: Iterable[Any]) -> bytes:
    """Return a request as a line."""
    return _line({"token": token, "sql": sql, "parameters": pack(list(parameters))})


def read_table(lines: Iterable[bytes]) -> Table | None:
    """Rebuild a table; raises the error that was sent, and returns None when the end is missing."""
    columns: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = []
    for line in lines:
        if not line.endswith(b"\n"):
            return None
        message = json.loads(line)
        if "error" in message:
            raise AccelerateError.from_info(from_plain(message["error"], ErrorInfo))
        if "end" in message:
            return Table(columns, tuple(rows))
        columns = tuple(message.get("columns", columns))
        rows.extend(tuple(unpack(row)) for row in message.get("rows", ()))
    return None


def read_request(line: bytes) -> tuple[str, str, list[Any]]:
    """Return token, SQL and parameters; StoreError for a malformed request."""
    try:
        message = json.loads(line)
        token, sql = message["token"], message["sql"]
        parameters = unpack(message["parameters"])
    except (ValueError, LookupError, TypeError) as error:
        raise StoreError("malformed request") from error
    if not (isinstance(token, str) and isinstance(sql, str) and isinstance(parameters, list)):
        raise StoreError("malformed request")
    return token, sql, parameters


def _line(message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"
