# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerate_duckdb.store import DuckDbStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[DuckDbStore]:
    store = DuckDbStore.open(path, wait_s=0)
    yield store
    store.close()
