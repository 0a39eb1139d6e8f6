# SPDX-License-Identifier: Apache-2.0
"""Find the browsers of this system, their drivers and versions. Starts no page, fetches nothing."""

from __future__ import annotations

import functools
import json
import os
import plistlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from accelerate_core.types import BROWSERS

from . import headless_shell
from .install import remedy
from .places import SEARCHES, Search

CHROMIUM_FAMILY = frozenset({"chrome", "chromium", "chromium-headless-shell", "edge"})
HEADLESS_SHELL = headless_shell.NAME
_VERSION_TIMEOUT_S = 20.0


@attrs.frozen(kw_only=True)
class BrowserFound:
    """Name one installed browser."""

    browser: str  #: one of accelerate_core.types.BROWSERS
    path: Path
    version: str | None = None  #: as the browser says it; None when it would not say
    driver: Path | None = None  #: its WebDriver executable, where one was found
    environment: Mapping[str, str] = attrs.field(factory=dict)  #: what it needs set to run

    @property
    def is_chromium(self) -> bool:
        """Whether it takes Chromium's command line."""
        return self.browser in CHROMIUM_FAMILY


@attrs.frozen(kw_only=True)
class BrowserMissing:
    """Name a browser that cannot be used here, why, and how to get it."""

    browser: str
    reason: str
    remedy: str | None = None  #: the exact command; None where there is no way


def variable(browser: str) -> str:
    """Return the environment variable that overrides where a browser lies."""
    return "ACCELERATE_" + browser.upper().replace("-", "_")


def look(cache_dir: Path) -> list[BrowserFound | BrowserMissing]:
    """Return what is known of every browser, in the order of `BROWSERS`."""
    with ThreadPoolExecutor() as pool:  # each may ask a program for its version
        return list(pool.map(lambda browser: find_browser(browser, cache_dir), BROWSERS))


def find_browsers(cache_dir: Path) -> list[BrowserFound]:
    """Return the browsers that can be used here."""
    return [one for one in look(cache_dir) if isinstance(one, BrowserFound)]


def missing_browsers(cache_dir: Path) -> list[BrowserMissing]:
    """Return the other browsers, each with the reason and the command that gets it."""
    return [one for one in look(cache_dir) if isinstance(one, BrowserMissing)]


def find_browser(browser: str, cache_dir: Path) -> BrowserFound | BrowserMissing:
    """Look for one browser: its override, then the cache folder, then the system."""
    search = SEARCHES.get(_system(), {}).get(browser)
    override = os.environ.get(variable(browser))
    if search is None and not override:
        where = {"safari": "macOS", "webkitgtk": "Linux"}.get(browser, "other systems")
        return BrowserMissing(browser=browser, reason=f"{browser} exists only on {where}")
    search = search or Search()
    if override and not os.access(override, os.X_OK):
        return BrowserMissing(
            browser=browser,
            reason=f"{variable(browser)}={override} is not an executable file",
            remedy=f"unset {variable(browser)}",
        )
    candidates = [Path(override)] if override else list(_candidates(browser, search, cache_dir))
    if snaps := [path for path in candidates if _is_snap(path)]:
        candidates = [path for path in candidates if path not in snaps]
    if not candidates:
        reason = "not found"
        if snaps:
            reason = f"{snaps[0]} is a snap package, which cannot use a profile folder of ours"
        return BrowserMissing(browser=browser, reason=reason, remedy=remedy(browser))
    path = candidates[0]
    environment = bundled_environment(path)
    return BrowserFound(
        browser=browser,
        path=path,
        version=_version(browser, path, environment),
        driver=next(_drivers(search), None),
        environment=environment,
    )


def _system() -> str:
    return "linux" if sys.platform.startswith("linux") else sys.platform


def _candidates(browser: str, search: Search, cache_dir: Path) -> Iterator[Path]:
    if browser == HEADLESS_SHELL and (shell := headless_shell.installed(cache_dir)) is not None:
        yield shell
    yield from _on_path(search.names)
    yield from _in_places(search.places)


def _drivers(search: Search) -> Iterator[Path]:
    yield from _on_path(search.drivers)
    yield from _in_places(search.driver_places)


def _on_path(names: Sequence[str]) -> Iterator[Path]:
    for name in names:
        if found := shutil.which(name):
            yield Path(found)


def _in_places(patterns: Sequence[str]) -> Iterator[Path]:
    for pattern in patterns:
        expanded = re.sub(
            r"%([^%]+)%", lambda match: os.environ.get(match[1], ""), pattern
        ).replace("~", str(Path.home()), 1)
        root = Path(Path(expanded).anchor)
        if not root.is_absolute():
            continue  # a variable that is not set on this system
        for path in sorted(root.glob(str(Path(expanded).relative_to(root))), reverse=True):
            if os.access(path, os.X_OK):
                yield path


def _is_snap(path: Path) -> bool:
    """Whether a path leads into a snap, as the script chromium-browser of Ubuntu does."""
    if "/snap/" in f"{path}" or path.resolve().name == "snap":
        return True
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError:
        return False
    return start.startswith(b"#!") and b"/snap/bin/" in start


def bundled_environment(path: Path) -> dict[str, str]:
    """Return what a browser of the cache folder needs where the system lacks libraries."""
    note = path.parent / headless_shell.NOTE
    try:
        return dict(json.loads(note.read_text())["environment"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _version(browser: str, path: Path, environment: Mapping[str, str]) -> str | None:
    try:
        stamp = path.stat().st_mtime_ns
    except OSError:
        return None
    return _version_of(browser, path, stamp, tuple(sorted(environment.items())))


@functools.lru_cache
def _version_of(
    browser: str, path: Path, stamp: int, environment: tuple[tuple[str, str], ...]
) -> str | None:
    if sys.platform == "darwin":
        return _bundle_version(path)
    if sys.platform == "win32":
        # `chrome.exe --version` opens a window; the installer names a folder by version.
        names = (entry.name for entry in path.parent.iterdir() if entry.is_dir())
        return max(filter(re.compile(r"\d+(\.\d+){3}").fullmatch, names), default=None)
    if browser == "webkitgtk":
        return _webkit_version(path)
    return _number(_output([str(path), "--version"], environment))


def _output(command: Sequence[str], environment: tuple[tuple[str, str], ...] = ()) -> str:
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_VERSION_TIMEOUT_S,
            env={**os.environ, **dict(environment)},
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _number(text: str) -> str | None:
    match = re.search(r"\d+(?:\.\d+)+", text)
    return match[0] if match else None


def _bundle_version(path: Path) -> str | None:
    try:
        with (path.parent.parent / "Info.plist").open("rb") as file:
            return str(plistlib.load(file)["CFBundleShortVersionString"])
    except (OSError, KeyError, ValueError):
        return None


def _webkit_version(path: Path) -> str | None:
    """Ask the library: MiniBrowser opens a display before it answers `--version`."""
    name = path.parent.name  # webkit2gtk-4.1, webkitgtk-6.0
    code = (
        "import ctypes, sys; lib = ctypes.CDLL(sys.argv[1]); "
        "print('.'.join(str(getattr(lib, f'webkit_get_{part}_version')())"
        " for part in ('major', 'minor', 'micro')))"
    )
    for soname in (f"lib{name}.so.0", f"lib{name}.so.4", f"lib{name}.so.37"):
        if version := _number(_output([sys.executable, "-c", code, soname])):
            return version
    return None
