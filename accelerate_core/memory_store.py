# SPDX-License-Identifier: Apache-2.0
"""The store of a run without `[store]`: results stay in memory, for its reports."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

from .errors import StoreError, Unsupported
from .protocols import Table, Transaction
from .types import Connection, Measurement, RunInfo, RunSummary


class MemoryStore:
    """Keep runs and measurements until the process ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, RunInfo] = {}
        self._connections: dict[str, Connection] = {}
        self._measurements: list[Measurement] = []

    def save_run(self, run: RunInfo) -> None:
        """Insert or update a run, by id."""
        with self._lock:
            self._runs[run.id] = run

    def save_connection(self, connection: Connection) -> None:
        """Insert or update a worker's life, by id."""
        with self._lock:
            self._connections[connection.id] = connection

    def save_measurement(self, measurement: Measurement) -> int:
        """Insert one measurement and return its row id, from 1."""
        with self._lock:
            self._measurements.append(measurement)
            return len(self._measurements)

    def runs(self, limit: int = 20) -> Sequence[RunInfo]:
        """Return the latest runs, newest first."""
        with self._lock:
            return sorted(self._runs.values(), key=lambda run: run.started_at, reverse=True)[:limit]

    def summary(self, run_id: str) -> RunSummary:
        """Return one run with all its measurements, in the order they were saved."""
        with self._lock:
            if run_id not in self._runs:
                raise StoreError(f"no run {run_id}", accepted=tuple(self._runs))
            mine = tuple(
                one for one in self._measurements if one.run_id == run_id and one.again_of is None
            )
            return RunSummary(run=self._runs[run_id], measurements=mine)

    def query(self, sql: str, parameters: Sequence[object] = ()) -> Table:
        """Refuse: there is no database."""
        raise Unsupported(
            "results in memory cannot be queried",
            hint='Keep them: [store] use = "duckdb" (pip install accelerate-duckdb)',
        )

    def transaction(self) -> contextlib.AbstractContextManager[Transaction]:
        """Refuse: there is no database."""
        raise Unsupported("results in memory have no transactions")

    def close(self) -> None:
        """Do nothing: what is in memory stays for reports."""
