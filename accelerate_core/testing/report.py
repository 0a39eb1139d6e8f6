# SPDX-License-Identifier: Apache-2.0
"""The contract of reports."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

import pytest

from ..protocols import Report
from . import samples
from .contract import Contract

MakeReport = Callable[[Path], Report]

_SUMMARIES = samples.summaries()


class ReportContract(Contract):
    """What every report keeps. Supply the fixture `make_report`: a function of a path.

    A report for the terminal ignores the path and sets `is_file` to False.
    """

    #: Suffix of the file it writes.
    suffix: ClassVar[str] = ".txt"
    is_file: ClassVar[bool] = True

    @pytest.fixture
    def make_report(self) -> MakeReport:
        """Return a function that makes a report which writes to a path."""
        raise NotImplementedError("supply the fixture `make_report`")

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Return where the report of a test goes: into a folder of its own."""
        folder = tmp_path / "out"
        folder.mkdir()
        return folder / f"report{self.suffix}"

    @pytest.mark.parametrize("kind", [*_SUMMARIES])
    def test_writes_every_kind_of_run(
        self, make_report: MakeReport, path: Path, kind: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        summary = _SUMMARIES[kind]
        written = make_report(path).write(summary)
        if not self.is_file:
            assert written is None
            assert not list(path.parent.iterdir()), "a report for the terminal writes no file"
            text = capsys.readouterr().out
            assert "\x1b[31mred" not in text, "a model's name must not command the terminal"
        else:
            assert written is not None and written.resolve() == path.resolve()
            assert [*path.parent.iterdir()] == [path], "it leaves other files behind"
            text = path.read_text(encoding="utf-8")
        assert text.strip()
        if kind != "empty":
            assert "webgpu" in text, "it does not say where the model ran"
        if kind == "failed":
            assert "BackendUnavailable" in text or "no context" in text, "it hides why"

    def test_hostile_words_stay_words(self, make_report: MakeReport, path: Path) -> None:
        make_report(path).write(_SUMMARIES["hostile"])
        if self.is_file:
            _READERS.get(self.suffix, _read_text)(path)

    def test_writing_again_replaces(self, make_report: MakeReport, path: Path) -> None:
        report = make_report(path)
        report.write(_SUMMARIES["hostile"])
        first = path.read_bytes() if self.is_file else b""
        report.write(_SUMMARIES["ok"])
        if self.is_file:
            assert path.read_bytes() != first
            make_report(path).write(_SUMMARIES["hostile"])
            assert len(path.read_bytes()) == len(first), "an old report shows through"

    def test_replaces_whole_or_not_at_all(
        self, make_report: MakeReport, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not self.is_file:
            return
        path.write_bytes(b"the report of yesterday")
        with monkeypatch.context() as patch:
            for function in ("replace", "rename"):
                patch.setattr(os, function, _no_space)
            # Path keeps its own references in some versions of Python.
            for function in ("replace", "rename"):
                patch.setattr(Path, function, _no_space)
            with pytest.raises(Exception, match="no space"):
                make_report(path).write(_SUMMARIES["ok"])
        assert path.read_bytes() == b"the report of yesterday", "half a report was written"
        assert [*path.parent.iterdir()] == [path], "the unfinished file is left behind"

    @pytest.fixture(autouse=True)
    def _elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        folder = tmp_path / "cwd"
        folder.mkdir()
        monkeypatch.chdir(folder)
        yield
        assert not list(folder.iterdir()), "it wrote to the working directory"


def _no_space(*_: object, **__: object) -> None:
    raise OSError(28, "no space left on device")


def _read_text(path: Path) -> None:
    path.read_text(encoding="utf-8")


def _read_json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


def _read_xml(path: Path) -> None:
    ElementTree.parse(path)


def _read_html(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "<script>alert(1)</script>" not in text, "a model's name became a script"


def _read_csv(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert len(rows) == len(_SUMMARIES["hostile"].measurements), "a line break became a row"
    assert {len(row) for row in rows} == {len(header)}
    cells = [cell for row in rows for cell in row]
    assert not any(cell.startswith("=") for cell in cells), "a model's name became a formula"


_READERS: dict[str, Callable[[Path], None]] = {
    ".json": _read_json,
    ".xml": _read_xml,
    ".html": _read_html,
    ".csv": _read_csv,
}
