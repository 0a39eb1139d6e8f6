# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from accelerate_duckdb import DuckDbPlugin, DuckDbSettings

from accelerate_core.protocols import Context, Store
from accelerate_core.testing import StoreContract


class TestDuckDb(StoreContract):
    @pytest.fixture
    def open_store(self) -> Callable[[Path], Store]:
        def open_store(path: Path) -> Store:
            settings = DuckDbSettings(path=str(path))
            return DuckDbPlugin().store_create(settings, cast(Context, None), ())

        return open_store
