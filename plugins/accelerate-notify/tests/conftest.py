# SPDX-License-Identifier: Apache-2.0
"""Stores and offices for tests of rules."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from accelerate_duckdb.store import DuckDbStore
from accelerate_notify.stored import TABLES

from accelerate_core.delivering.outbox import OutboxPlugin
from accelerate_core.memory_store import MemoryStore
from accelerate_core.protocols import Store

from .office import Office

_TABLES = (*OutboxPlugin().store_tables(), TABLES)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty database with the tables of the outbox and of rules."""
    path = tmp_path_factory.mktemp("notify") / "results.duckdb"
    DuckDbStore.open(path, tables=_TABLES).close()
    return path


@pytest.fixture(scope="session")
def shared(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDbStore]:
    """Return a store for all tests: to open one takes ten times as long as to empty it."""
    path = shutil.copy(empty, tmp_path_factory.mktemp("shared") / "results.duckdb")
    store = DuckDbStore.open(path, tables=_TABLES)
    yield store
    store.close()


@pytest.fixture
def database(shared: DuckDbStore) -> DuckDbStore:
    """Return an empty store; it is not to be closed."""
    with shared.transaction() as transaction:
        for table in (
            *("notify_groups", "notify_alerts", "outbox_deliveries", "outbox_events"),
            *("performance_regressions", "runs"),
        ):
            transaction.execute(f"DELETE FROM {table}")
    return shared


@pytest.fixture
def own(empty: Path, tmp_path: Path) -> Iterator[DuckDbStore]:
    """Return an empty store that may be closed."""
    path = shutil.copy(empty, tmp_path / "results.duckdb")
    store = DuckDbStore.open(path, tables=_TABLES)
    yield store
    store.close()


@pytest.fixture(params=["memory", "database"])
def store(request: pytest.FixtureRequest) -> Store:
    """Return a store of each kind."""
    if request.param == "memory":
        return MemoryStore()
    found: Store = request.getfixturevalue("database")
    return found


@pytest.fixture
def office(store: Store) -> Callable[..., Office]:
    """Return a function that opens an office with these rules."""
    return lambda *rules, **more: Office(store, *rules, **more)
