# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import ClassVar

import pytest

from accelerate_core.memory_store import MemoryStore
from accelerate_core.testing import StoreContract
from accelerate_core.testing.store import OpenStore


class TestMemoryStore(StoreContract):
    is_persistent: ClassVar[bool] = False
    has_sql: ClassVar[bool] = False

    @pytest.fixture
    def open_store(self) -> OpenStore:
        return lambda path: MemoryStore()
