# SPDX-License-Identifier: Apache-2.0
"""The database a command works on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..host import Host
    from ..protocols import Records, Store

_STORE = "duckdb"


@contextlib.contextmanager
def opened(host: Host, db: Path) -> Iterator[Store]:
    """Open an existing database for the block; ConfigError when there is none."""
    _check(db)
    store: Store = host.create(
        "stores", _STORE, {"path": str(db)}, where="--db", tables=host.tables()
    )
    with contextlib.closing(store):
        yield store


@contextlib.contextmanager
def looked_at(host: Host, db: Path) -> Iterator[Records]:
    """Look at an existing database for the block, also during a run; ConfigError for none."""
    _check(db)
    with contextlib.closing(host.look(_STORE, {"path": str(db)}, where="--db")) as records:
        yield records


def _check(db: Path) -> None:
    if not db.is_file():
        raise ConfigError(
            "there is no such database",
            where=str(db),
            hint='Name another with --db, or keep results: [store] use = "duckdb", '
            "or accel bench --store results.duckdb",
        )
