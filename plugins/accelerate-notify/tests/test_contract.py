# SPDX-License-Identifier: Apache-2.0
"""Rules keep what every connector keeps; what they reach is the store."""

from __future__ import annotations

from typing import get_args

import pytest
from accelerate_duckdb.store import DuckDbStore
from accelerate_notify.notifier import Notifier
from accelerate_notify.rendering import Renderer
from accelerate_notify.settings import Kind

from accelerate_core.testing.connector import ConnectorContract

from .office import Recorder, settings


def made(store: DuckDbStore) -> Notifier:
    notifier = Notifier(settings({"on": list(get_args(Kind))}), Renderer())
    notifier.meet("notify", {"slack": Recorder()})
    notifier.attach(store)
    return notifier


class TestNotifier(ConnectorContract):
    @pytest.fixture
    def connector(self, database: DuckDbStore) -> Notifier:
        return made(database)

    @pytest.fixture
    def unreachable(self, own: DuckDbStore) -> Notifier:
        notifier = made(own)
        own.close()
        return notifier
