# SPDX-License-Identifier: Apache-2.0
"""Query a database file: through the process that writes it, or else directly."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate_core.protocols import Table

from . import faults, opening, sidecar, wire
from .reader import Reader

_POLL_S = 0.1


def query(
    path: str | Path, sql: str, parameters: Sequence[Any] = (), *, wait_s: float = 10.0
) -> Table:
    """Run one read-only statement on the last committed state.

    Asks the running writer if there is one. ConfigError when the file is missing; StoreError when
    it is no database, is held for `wait_s` seconds by a process that does not answer, or when the
    query fails.
    """
    path = opening.real_path(path)
    deadline = time.monotonic() + wait_s
    # A writer may begin or end between the two attempts; then one of them works the next time.
    while True:
        if (table := _ask_writer(path, sql, parameters)) is not None:
            return table
        opening.existing(path)
        connection, pid = opening.try_reader(path)
        if connection is not None:
            break
        if time.monotonic() >= deadline:
            raise faults.locked(path, pid, wait_s)
        time.sleep(_POLL_S)
    reader = Reader(connection, path)
    try:
        sidecar.remove_stale(path)
        return reader.query(sql, parameters)
    finally:
        reader.close()
        opening.release(path)


def _ask_writer(path: Path, sql: str, parameters: Sequence[Any]) -> Table | None:
    """Return the writer's answer; None when there is no writer, or it ended meanwhile."""
    address = sidecar.read(path)
    if address is None:
        return None
    try:
        with address.connect() as connection:
            connection.sendall(wire.request_line(address.token, sql, parameters))
            with connection.makefile("rb") as lines:
                return wire.read_table(lines)
    except OSError:
        return None
