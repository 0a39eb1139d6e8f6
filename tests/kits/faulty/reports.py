# SPDX-License-Identifier: Apache-2.0
"""Reports that break the contract, each in its own way."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest

from accelerate_core.serial import to_plain
from accelerate_core.testing import ReportContract


def write_whole(path: Path, text: str) -> Path:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    try:
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


class _Kit(ReportContract):
    suffix = ".json"

    @pytest.fixture
    def make_report(self) -> Any:
        def make(path: Path) -> Any:
            class Made:
                def write(self, summary: Any) -> Any:
                    return type(test).write(path, summary)

            return Made()

        test = self
        return make

    @staticmethod
    def write(path: Path, summary: Any) -> Any:
        return write_whole(path, json.dumps(to_plain(summary)))


class TestHonest(_Kit):
    """Keeps the contract."""


class FailsOnFailures(_Kit):
    caught_by = ("test_writes_every_kind_of_run",)

    @staticmethod
    def write(path: Path, summary: Any) -> Any:
        return write_whole(path, f"{sum(one.latency_ms for one in summary.measurements)} webgpu")


class HidesWhy(_Kit):
    caught_by = ("test_writes_every_kind_of_run",)

    @staticmethod
    def write(path: Path, summary: Any) -> Any:
        return write_whole(path, "webgpu failed")


class WritesElsewhere(_Kit):
    caught_by = ("test_writes_every_kind_of_run",)

    @staticmethod
    def write(path: Path, summary: Any) -> Any:
        return _Kit.write(path.with_suffix(".other"), summary)


class WritesInPlace(_Kit):
    caught_by = ("test_replaces_whole_or_not_at_all",)

    @staticmethod
    def write(path: Path, summary: Any) -> Any:
        path.write_text(json.dumps(to_plain(summary)), encoding="utf-8")
        return path


class LeavesThePart(_Kit):
    caught_by = ("test_replaces_whole_or_not_at_all",)

    @staticmethod
    def write(path: Path, summary: Any) -> Any:
        part = path.with_name(f".{path.name}.part")
        part.write_text(json.dumps(to_plain(summary)), encoding="utf-8")
        return part.replace(path)


class Appends(_Kit):
    caught_by = ("test_writing_again_replaces",)

    @staticmethod
    def write(path: Path, summary: Any) -> Any:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        return write_whole(path, before + json.dumps(to_plain(summary)))


class PastesHtml(_Kit):
    caught_by = ("test_hostile_words_stay_words",)
    suffix = ".html"

    @staticmethod
    def write(path: Path, summary: Any) -> Any:
        return write_whole(path, "".join(f"<p>{one.cell}" for one in summary.measurements))


class PastesXml(_Kit):
    caught_by = ("test_hostile_words_stay_words",)
    suffix = ".xml"

    @staticmethod
    def write(path: Path, summary: Any) -> Any:
        # Escaped as HTML would have it; XML forbids control characters altogether.
        words = "".join(html.escape(str(one.cell)) for one in summary.measurements)
        return write_whole(path, f"<a>{words}</a>")


class PastesCsv(_Kit):
    caught_by = ("test_hostile_words_stay_words",)
    suffix = ".csv"

    @staticmethod
    def write(path: Path, summary: Any) -> Any:
        lines = ["model,target", *(f"{m.cell.model},{m.cell.target}" for m in summary.measurements)]
        return write_whole(path, "\n".join(lines))


class PastesJson(_Kit):
    caught_by = ("test_hostile_words_stay_words",)

    @staticmethod
    def write(path: Path, summary: Any) -> Any:
        return write_whole(path, "".join(f'"{one.cell}"' for one in summary.measurements))


class CommandsTheTerminal(_Kit):
    caught_by = ("test_writes_every_kind_of_run",)
    is_file = False

    @staticmethod
    def write(path: Path, summary: Any) -> Any:
        print("webgpu", *(f"{one.cell.model}: {one.error}" for one in summary.measurements))
