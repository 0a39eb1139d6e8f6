# SPDX-License-Identifier: Apache-2.0
"""Conformance kits for plugin authors, tiny models, a pytest plugin and the `fake` backend.

Subclass a contract, supply its one fixture, and the whole suite runs:

    class TestMyScheduler(SchedulerContract):
        @pytest.fixture
        def scheduler(self):
            return MyScheduler()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backend import BackendContract
    from .connector import ConnectorContract, ServiceContract
    from .model import ModelSourceContract
    from .policies import SchedulerContract
    from .recovery import RecoveryContract
    from .report import ReportContract
    from .sessions import SessionContract
    from .store import StoreContract

__all__ = [
    "BackendContract",
    "ConnectorContract",
    "ModelSourceContract",
    "RecoveryContract",
    "ReportContract",
    "SchedulerContract",
    "ServiceContract",
    "SessionContract",
    "StoreContract",
]

_HOMES = {
    "BackendContract": "backend",
    "ConnectorContract": "connector",
    "ModelSourceContract": "model",
    "RecoveryContract": "recovery",
    "ReportContract": "report",
    "SchedulerContract": "policies",
    "ServiceContract": "connector",
    "SessionContract": "sessions",
    "StoreContract": "store",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that the `fake` backend and the pytest plugin import without the kits.
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
