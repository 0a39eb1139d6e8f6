# SPDX-License-Identifier: Apache-2.0
"""Get browsers: system packages where we may, else the headless shell, else say how."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

from accelerate_core.errors import BackendUnavailable, ConfigError, did_you_mean
from accelerate_core.types import BROWSERS

from . import headless_shell
from .headless_shell import Say

#: What a browser takes on Debian. WebGPU in Firefox needs a Vulkan driver, lavapipe at least.
DEBIAN_PACKAGES: dict[str, tuple[str, ...]] = {
    "chromium": ("chromium", "chromium-driver", "chromium-sandbox"),
    "firefox": ("firefox-esr", "mesa-vulkan-drivers"),
    "webkitgtk": ("webkit2gtk-driver", "xvfb"),
}
# Ubuntu's chromium and firefox are snaps, which cannot use a profile folder of ours.
_UBUNTU_PACKAGES = {"webkitgtk": DEBIAN_PACKAGES["webkitgtk"]}

_COMMANDS: dict[str, dict[str, str]] = {
    "fedora": {
        "chromium": "sudo dnf install chromium chromedriver",
        "firefox": "sudo dnf install firefox mesa-vulkan-drivers",
    },
    "arch": {
        "chromium": "sudo pacman -S chromium",
        "firefox": "sudo pacman -S firefox geckodriver vulkan-swrast",
    },
    "darwin": {
        "chrome": "brew install --cask google-chrome",
        "chromium": "brew install --cask chromium",
        "edge": "brew install --cask microsoft-edge",
        "firefox": "brew install --cask firefox",
    },
    "win32": {
        "chrome": "winget install Google.Chrome",
        "chromium": "winget install Hibbiki.Chromium",
        "edge": "winget install Microsoft.Edge",
        "firefox": "winget install Mozilla.Firefox",
    },
}
_PAGES = {
    "chrome": "download it from google.com/chrome",
    "edge": "download it from microsoft.com/edge",
    "firefox": "download it from mozilla.org/firefox (not the snap)",
}
_APT_TIMEOUT_S = 1800


@attrs.frozen(kw_only=True)
class System:
    """Say what kind of system this is, as far as getting browsers goes."""

    kind: str  #: debian, ubuntu, fedora, arch, linux, darwin, win32
    is_root: bool
    has_shell_package: bool  #: whether the npm headless shell is for this machine


def look() -> System:
    """Return the kind of this system."""
    kind = sys.platform
    if sys.platform.startswith("linux"):
        kind = _distribution(_read("/etc/os-release"))
    return System(
        kind=kind,
        is_root=hasattr(os, "geteuid") and os.geteuid() == 0,
        has_shell_package=headless_shell.obstacle() is None,
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _distribution(os_release: str) -> str:
    fields = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    names = [fields.get("ID", ""), *fields.get("ID_LIKE", "").strip('"').split()]
    for name in names:
        if (name := name.strip('"')) in ("ubuntu", "debian", "fedora", "arch"):
            return name
    return "linux"


def packages(browser: str, system: System) -> tuple[str, ...]:
    """Return the system packages that bring a browser; empty where there are none."""
    if system.kind == "debian":
        return DEBIAN_PACKAGES.get(browser, ())
    return _UBUNTU_PACKAGES.get(browser, ()) if system.kind == "ubuntu" else ()


def advise(browser: str, system: System) -> str | None:
    """Return the exact command that gets a browser on a system, or None where there is no way."""
    if browser == headless_shell.NAME:
        return f"accel browsers install {browser}" if system.has_shell_package else None
    if wanted := packages(browser, system):
        if system.is_root:
            return f"accel browsers install {browser}"
        return "sudo apt-get install " + " ".join(wanted)
    if command := _COMMANDS.get(system.kind, {}).get(browser):
        return command
    if browser == "chromium" and system.has_shell_package:
        return f"accel browsers install {headless_shell.NAME}"
    return _PAGES.get(browser)


def remedy(browser: str) -> str | None:
    """Return the exact command that gets a browser on this system, or None."""
    return advise(browser, look())


def choose(names: Sequence[str], system: System) -> tuple[str, ...]:
    """Return which browsers to install: the named ones, else all that can be had here.

    ConfigError for a name that no browser has, BackendUnavailable for a browser that cannot be
    installed by us here, with the command that would.
    """
    for name in names:
        if name not in BROWSERS:
            raise ConfigError(
                f"no browser is called {name!r}",
                accepted=BROWSERS,
                hint=did_you_mean(name, BROWSERS),
            )
        if not _can(name, system):
            raise BackendUnavailable(
                "it cannot be installed from here", where=name, hint=advise(name, system)
            )
    return tuple(names) or tuple(name for name in BROWSERS if _can(name, system))


def _can(browser: str, system: System) -> bool:
    if browser == headless_shell.NAME:
        return system.has_shell_package
    return system.is_root and bool(packages(browser, system))


def install(names: Sequence[str], cache_dir: Path, say: Say) -> None:
    """Install browsers; what is there already is left as it is.

    ConfigError for unknown names; BackendUnavailable, naming the cause and what to do, when one
    cannot be had. What was installed before that stays.
    """
    system = look()
    chosen = choose(names, system)
    wanted = [name for browser in chosen for name in packages(browser, system)]
    if missing := [name for name in wanted if not _is_installed(name)]:
        _apt(missing, say)
    if headless_shell.NAME in chosen:
        headless_shell.install(cache_dir, say)


def _is_installed(package: str) -> bool:
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package],
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() == "installed"


def _apt(names: Sequence[str], say: Say) -> None:
    apt = shutil.which("apt-get")
    if apt is None:
        raise BackendUnavailable("apt-get is not here", hint="apt-get install " + " ".join(names))
    say("updating the list of packages")
    _run([apt, "-q", "update"], "apt-get update")
    say("installing " + ", ".join(names))
    options = ["-qy", "--no-install-recommends", "-oDPkg::Lock::Timeout=120"]
    _run([apt, *options, "install", *names], "apt-get install " + " ".join(names))


def _run(command: Sequence[str], shown: str) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_APT_TIMEOUT_S,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    except subprocess.TimeoutExpired as error:
        raise BackendUnavailable(f"it took over {_APT_TIMEOUT_S} s", where=shown) from error
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
        raise BackendUnavailable(
            " ".join(words[-4:]) or f"exit code {done.returncode}",
            where=shown,
            hint=f"Run it yourself to see all it says: {shown}",
        )
