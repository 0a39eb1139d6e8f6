# SPDX-License-Identifier: Apache-2.0
"""Which run a run continues: the latest of the same configuration that did not end.

A store belongs to one process at a time, so whoever has it open knows that the process of an
open run is dead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from ..config import Config
from ..errors import ConfigError
from ..protocols import Store
from ..serial import to_plain
from ..types import CellStatus, RunSummary

#: How many runs are looked through.
_HISTORY = 1_000
#: What of a configuration does not change what is measured.
_AROUND = frozenset(("store", "reports", "connectors", "listeners", "analyses"))


def fingerprint(config: Config, only: Sequence[str]) -> str:
    """Return the hash of what a run measures and how."""
    plain = {
        name: value for name, value in to_plain(config).items() if name not in _AROUND | {"path"}
    }
    text = json.dumps([plain, list(only)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def check_store(config: Config) -> None:
    """Refuse a durable run that has nowhere to be kept."""
    if config.store is None:
        raise ConfigError(
            "a durable run needs a store: what is measured must outlive the process",
            where=f"{config.path} [store]",
            hint='Add [store] use = "duckdb" path = "results.duckdb".',
        )


def find(store: Store, wanted: str) -> RunSummary | None:
    """Return the run with this fingerprint that did not end, with what it measured.

    One that Ctrl-C ended and that was not durable has ended: its other cells are SKIPPED.
    """
    for run in store.runs(_HISTORY):
        if run.fingerprint != wanted:
            continue
        if run.finished_at is not None and not run.is_interrupted:
            return None
        found = store.summary(run.id)
        is_over = any(one.status is CellStatus.SKIPPED for one in found.measurements)
        return None if is_over else found
    return None
