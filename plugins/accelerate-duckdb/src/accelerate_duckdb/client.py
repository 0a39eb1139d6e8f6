# SPDX-License-Identifier: Apache-2.0
"""Query a database file: through the process that writes it, or else directly."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate_core.protocols import Table

from . import faults, opening, sidecar, wire
from .reader import Reader

_POLL_S = 0.1


class Client:
    """Ask the process that writes a file, or else read it: then it is open until `close`."""

    def __init__(self, path: str | Path, wait_s: float = 10.0) -> None:
        self.path = opening.real_path(path)
        self._wait_s = wait_s
        self._reader: Reader | None = None

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Run one read-only statement on the last committed state; errors as those of `query`."""
        deadline = time.monotonic() + self._wait_s
        # A writer may begin or end between the two attempts; then one of them works the next time.
        while self._reader is None:
            if (table := _ask_writer(self.path, sql, parameters)) is not None:
                return table
            opening.existing(self.path)
            connection, pid = opening.try_reader(self.path)
            if connection is not None:
                self._reader = Reader(connection, self.path)
                sidecar.remove_stale(self.path)
            elif time.monotonic() >= deadline:
                raise faults.locked(self.path, pid, self._wait_s)
            else:
                time.sleep(_POLL_S)
        return self._reader.query(sql, parameters)

    def close(self) -> None:
        """Let go of the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
            opening.release(self.path)


def query(
    path: str | Path, sql: str, parameters: Sequence[Any] = (), *, wait_s: float = 10.0
) -> Table:
    """Run one read-only statement on the last committed state.

    Asks the running writer if there is one. ConfigError when the file is missing; StoreError when
    it is no database, is held for `wait_s` seconds by a process that does not answer, or when the
    query fails.
    """
    with contextlib.closing(Client(path, wait_s)) as client:
        return client.query(sql, parameters)


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
