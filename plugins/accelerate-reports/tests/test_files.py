# SPDX-License-Identifier: Apache-2.0
"""Files: refused before the run where they cannot be, replaced as a whole after it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from accelerate_reports.files import replace_file, report_path

from accelerate_core.errors import ConfigError, PluginError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_paths_that_no_file_can_have_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    wrong = {
        "": "is not a file name",
        "  ": "is not a file name",
        "a\0b": "is not a file name",
        str(tmp_path): "is a directory",
        f"{tmp_path}/new/": "is a directory",
        f"{tmp_path}/file/report.html": "is a file, not a directory",
        f"{tmp_path}/pipe": "is not a regular file",
        f"{tmp_path}/loop": "cannot be written",
        f"{tmp_path}/{'x' * 300}": "cannot be written",
        "~nobody-of-this-name/report.html": "cannot be written",
    }
    for text, message in wrong.items():
        with pytest.raises(ConfigError, match=message) as caught:
            report_path(text, where="reports.html.path")
        assert caught.value.info.where == "reports.html.path"
    assert names(tmp_path) == ["file", "loop", "pipe"]


def test_a_directory_without_write_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        # Root may write anywhere: only the answer of the system call can be replaced.
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="not writable"):
        report_path(str(tmp_path / "report.html"), where="here")


def test_looking_creates_nothing(tmp_path: Path) -> None:
    path = report_path(str(tmp_path / "a" / "b" / "report.html"), where="here")
    assert path.is_absolute()
    assert list(tmp_path.iterdir()) == []


def test_parents_are_created_and_permissions_are_ordinary(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "report.html"
    replace_file(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    (tmp_path / "ordinary").touch()
    assert path.stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    assert names(path.parent) == ["report.html"]


def test_a_link_goes_on_pointing_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "real.html").write_text("old")
    (tmp_path / "link.html").symlink_to(tmp_path / "real.html")
    replace_file(report_path(str(tmp_path / "link.html"), where="here"), "new")
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "real.html").read_text() == "new"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        replace_file(path, "half of it " * 10_000 + "\ud800")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["report.html"]


def test_what_cannot_be_replaced_is_a_typed_error(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.mkdir()
    with pytest.raises(PluginError, match="could not be written") as caught:
        replace_file(path, "new")
    assert caught.value.info.where == str(path)
    assert "accel report" in (caught.value.info.hint or "")
    assert names(tmp_path) == ["report.html"]
