# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from accelerate_duckdb.store import DuckDbStore

from accelerate_core.protocols import Store
from accelerate_core.testing import StoreContract


class TestDuckDb(StoreContract):
    @pytest.fixture
    def open_store(self) -> Callable[[Path], Store]:
        return DuckDbStore.open
