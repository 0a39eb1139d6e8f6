# SPDX-License-Identifier: Apache-2.0
"""Connectors that break the contract, each in its own way."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from accelerate_core.errors import ConnectorError
from accelerate_core.serial import to_plain
from accelerate_core.testing import ConnectorContract


class FileConnector:
    """Append events to a file: enough to keep the contract."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_closed = False

    def deliver(self, event: Any) -> None:
        if self.is_closed:
            raise ConnectorError("closed", retryable=False)
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(to_plain(event)) + "\n")
        except OSError as error:
            raise ConnectorError(str(error), retryable=True) from error

    def check(self) -> list[str]:
        return [] if self.path.parent.is_dir() else [f"{self.path.parent} is no folder"]

    def close(self) -> None:
        self.is_closed = True


class _Kit(ConnectorContract):
    connector_class: type[FileConnector] = FileConnector

    @pytest.fixture
    def connector(self, tmp_path: Path) -> Any:
        return self.connector_class(tmp_path / "events")

    @pytest.fixture
    def unreachable(self, tmp_path: Path) -> Any:
        return self.connector_class(tmp_path / "no" / "events")


class TestHonest(_Kit):
    """Keeps the contract."""


class KnowsMeasurementsOnly(_Kit):
    caught_by = ("test_delivers_every_event",)

    class connector_class(FileConnector):
        def deliver(self, event: Any) -> None:
            super().deliver(event.measurement)


class AsciiOnly(_Kit):
    caught_by = ("test_any_text_can_be_told",)

    class connector_class(FileConnector):
        def deliver(self, event: Any) -> None:
            str(event).encode("ascii")
            super().deliver(event)


class BoundToItsThread(_Kit):
    caught_by = ("test_delivers_from_a_thread_of_its_own",)

    class connector_class(FileConnector):
        def deliver(self, event: Any) -> None:
            assert threading.current_thread() is threading.main_thread()


class AlwaysComplains(_Kit):
    caught_by = ("test_check_is_empty_when_all_is_well",)

    class connector_class(FileConnector):
        def check(self) -> list[str]:
            return ["who knows"]


class DeliversAfterClose(_Kit):
    caught_by = ("test_close_is_final",)

    class connector_class(FileConnector):
        def close(self) -> None:
            pass


class UntypedError(_Kit):
    caught_by = ("test_unreachable_is_a_typed_error",)

    class connector_class(FileConnector):
        def deliver(self, event: Any) -> None:
            self.path.read_bytes()


class DoesNotSayWhetherToRetry(_Kit):
    caught_by = ("test_unreachable_is_a_typed_error",)

    class connector_class(FileConnector):
        def deliver(self, event: Any) -> None:
            raise ConnectorError("no")


class NeverComplains(_Kit):
    caught_by = ("test_unreachable_is_found_by_check",)

    class connector_class(FileConnector):
        def check(self) -> list[str]:
            return []


class LeavesAThread(_Kit):
    caught_by = ("test_leaves_no_thread",)

    class connector_class(FileConnector):
        def deliver(self, event: Any) -> None:
            threading.Timer(6, print).start()
