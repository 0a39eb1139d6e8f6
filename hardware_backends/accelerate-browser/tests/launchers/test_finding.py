# SPDX-License-Identifier: Apache-2.0
"""Finding browsers, and saying how to get the others."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from accelerate_browser import browsers, install, places
from accelerate_browser.browsers import BrowserFound, BrowserMissing, find_browser
from accelerate_browser.commands import app
from accelerate_browser.hookspecs.launcher import Gone, LaunchRequest
from accelerate_browser.install import System
from accelerate_browser.launchers.auto import AutoLauncher
from accelerate_browser.launchers.process import ProcessLauncher, ProcessSettings
from accelerate_browser.launchers.selenium import SeleniumLauncher, SeleniumSettings
from typer.testing import CliRunner

from accelerate_core.errors import BackendUnavailable, ConfigError
from accelerate_core.types import BROWSERS

_DEBIAN_ROOT = System(kind="debian", is_root=True, has_shell_package=True)
_SYSTEMS = [
    System(kind=kind, is_root=is_root, has_shell_package=kind not in ("darwin", "win32"))
    for kind in ("debian", "ubuntu", "fedora", "arch", "linux", "darwin", "win32")
    for is_root in (True, False)
]


def _script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_the_browsers_of_this_machine_are_found_with_versions(browser_cache: Path) -> None:
    found = {one.browser: one for one in browsers.find_browsers(browser_cache)}
    assert {"chromium", "chromium-headless-shell", "firefox", "webkitgtk"} <= found.keys()
    for one in found.values():
        assert one.version and one.version[0].isdigit() and "." in one.version, one
    assert found["chromium"].driver and found["webkitgtk"].driver
    missing = {one.browser for one in browsers.missing_browsers(browser_cache)}
    assert found.keys() | missing == set(BROWSERS) and not found.keys() & missing


def test_an_override_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = _script(tmp_path / "mine", "#!/bin/sh\necho My Browser 9.8.7\n")
    monkeypatch.setenv("ACCELERATE_CHROMIUM", str(mine))
    found = find_browser("chromium", tmp_path)
    assert isinstance(found, BrowserFound) and (found.path, found.version) == (mine, "9.8.7")
    mine.chmod(0o644)
    missing = find_browser("chromium", tmp_path)
    assert isinstance(missing, BrowserMissing) and "not an executable" in missing.reason


def test_a_browser_that_does_not_say_its_version_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsers, "_VERSION_TIMEOUT_S", 0.2)
    monkeypatch.setenv("ACCELERATE_EDGE", str(_script(tmp_path / "e", "#!/bin/sh\nexec sleep 9\n")))
    found = find_browser("edge", tmp_path)
    assert isinstance(found, BrowserFound) and found.version is None


def test_nothing_on_path_means_missing_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(install, "look", lambda: _DEBIAN_ROOT)
    for name in ("chromium", "chromium-headless-shell", "firefox"):
        missing = find_browser(name, tmp_path)
        assert isinstance(missing, BrowserMissing)
        assert missing.remedy == f"accel browsers install {name}"


def test_a_snap_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _script(tmp_path / "chromium", '#!/bin/sh\nexec /snap/bin/chromium "$@"\n')
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = find_browser("chromium", tmp_path)
    assert isinstance(missing, BrowserMissing) and "snap" in missing.reason


@pytest.mark.parametrize("system", _SYSTEMS, ids=str)
def test_advice_is_a_way_that_exists(system: System) -> None:
    kind = system.kind if system.kind in places.SEARCHES else "linux"
    for name in places.SEARCHES[kind]:
        advice = install.advise(name, system)
        if advice and advice.startswith("accel browsers install "):
            # what it says it can install, it can
            asked = advice.removeprefix("accel browsers install ")
            assert install.choose([asked], system) == (asked,)
        elif name in ("chromium", "firefox") and system.kind != "linux":
            assert advice, name
    assert set(install.choose([], system)) <= set(BROWSERS)
    if system.kind in ("darwin", "win32"):
        assert install.choose([], system) == ()


def test_what_cannot_be_installed_is_refused_before_anything_happens() -> None:
    with pytest.raises(ConfigError, match="no browser is called") as unknown:
        install.choose(["chromium", "firefx"], _DEBIAN_ROOT)
    assert unknown.value.info.hint == "Did you mean 'firefox'?"
    user = System(kind="debian", is_root=False, has_shell_package=True)
    with pytest.raises(BackendUnavailable) as refused:
        install.choose(["firefox"], user)
    assert refused.value.info.hint == "sudo apt-get install firefox-esr mesa-vulkan-drivers"
    assert install.choose([], user) == ("chromium-headless-shell",)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ID=debian\n", "debian"),
        ('ID=ubuntu\nID_LIKE="debian"\n', "ubuntu"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "ubuntu"),
        ('ID="fedora"\n', "fedora"),
        ("ID=void\n", "linux"),
        ("", "linux"),
    ],
)
def test_the_distribution_is_recognised(text: str, kind: str) -> None:
    assert install._distribution(text) == kind


def test_auto_takes_the_first_that_can(tmp_path: Path) -> None:
    process = ProcessLauncher(ProcessSettings(), tmp_path)
    selenium = SeleniumLauncher(SeleniumSettings(), tmp_path)
    auto = AutoLauncher([process, selenium])
    driver = Path(sys.executable)
    assert auto.choose(BrowserFound(browser="firefox", path=driver)) is process
    assert auto.choose(BrowserFound(browser="safari", path=driver, driver=driver)) is selenium
    lost = BrowserFound(browser="safari", path=driver)
    obstacle = auto.obstacle(lost)
    assert auto.choose(lost) is None and obstacle and "Safari" in obstacle.reason
    with pytest.raises(BackendUnavailable):
        AutoLauncher([]).require(lost)


def test_selenium_downloads_no_driver_unless_allowed(tmp_path: Path) -> None:
    firefox = BrowserFound(browser="firefox", path=Path("/usr/bin/firefox"))
    strict = SeleniumLauncher(SeleniumSettings(), tmp_path).obstacle(firefox)
    assert strict and "geckodriver" in strict.reason and strict.remedy
    assert SeleniumLauncher(SeleniumSettings(allow_download=True), tmp_path).supports(firefox)


def test_a_profile_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    request = LaunchRequest(
        browser=BrowserFound(browser="chromium", path=Path("/usr/bin/chromium")),
        url="http://127.0.0.1:9/",
        profile=tmp_path / "file" / "profile",
    )
    for launcher in (
        ProcessLauncher(ProcessSettings(), tmp_path),
        SeleniumLauncher(SeleniumSettings(allow_download=True), tmp_path),
    ):
        with pytest.raises(BackendUnavailable, match="no folder"):
            asyncio.run(launcher.launch(request))
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_last_words_become_advice() -> None:
    gone = Gone(browser="chromium", exit_code=-6, stderr="FATAL: No usable sandbox!")
    error = gone.to_error()
    assert "signal 6" in str(error) and "No usable sandbox!" in str(error)
    assert error.info.hint and "sandbox = false" in error.info.hint


def test_the_command_lists_every_browser(
    browser_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_CACHE_DIR", str(browser_cache))
    result = CliRunner().invoke(app, ["list", "--json"])
    rows = {row["browser"]: row for row in json.loads(result.stdout)}
    assert result.exit_code == 0 and list(rows) == list(BROWSERS)
    assert rows["chromium"]["is_found"] and rows["chromium"]["version"]
    assert not rows["safari"]["is_found"] and "macOS" in rows["safari"]["reason"]
    plain = CliRunner().invoke(app, ["list"]).stdout
    assert all(name in plain.replace("\n", "") for name in ("chromium", "webkitgtk"))
