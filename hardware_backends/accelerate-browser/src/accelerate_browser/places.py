# SPDX-License-Identifier: Apache-2.0
"""Where browsers and their drivers lie on Linux, macOS and Windows. Data only."""

from __future__ import annotations

import attrs

from .headless_shell import NAME as HEADLESS_SHELL


@attrs.frozen(kw_only=True)
class Search:
    """Say where a browser may lie on one kind of system."""

    names: tuple[str, ...] = ()  #: looked up on PATH
    places: tuple[str, ...] = ()  #: glob patterns; `%NAME%` and `~` are expanded
    drivers: tuple[str, ...] = ()
    driver_places: tuple[str, ...] = ()


_PROGRAMS = ("%ProgramFiles%", "%ProgramFiles(x86)%", "%LocalAppData%")


def _windows(path: str) -> tuple[str, ...]:
    return tuple(f"{root}/{path}" for root in _PROGRAMS)


def _mac(app: str, binary: str) -> tuple[str, ...]:
    path = f"Applications/{app}.app/Contents/MacOS/{binary}"
    return (f"/{path}", f"~/{path}")


_CHROMEDRIVER = ("chromedriver",)

SEARCHES: dict[str, dict[str, Search]] = {
    "linux": {
        "chrome": Search(
            names=("google-chrome-stable", "google-chrome"),
            places=("/opt/google/chrome/chrome",),
            drivers=_CHROMEDRIVER,
        ),
        "chromium": Search(
            names=("chromium", "chromium-browser"),
            drivers=_CHROMEDRIVER,
            driver_places=("/usr/lib/chromium*/chromedriver",),
        ),
        HEADLESS_SHELL: Search(
            names=("chrome-headless-shell", "headless_shell"), drivers=_CHROMEDRIVER
        ),
        "edge": Search(
            names=("microsoft-edge-stable", "microsoft-edge"),
            places=("/opt/microsoft/msedge/msedge",),
            drivers=("msedgedriver",),
        ),
        "firefox": Search(
            names=("firefox", "firefox-esr"),
            places=("/opt/firefox/firefox",),
            drivers=("geckodriver",),
        ),
        "webkitgtk": Search(
            places=(
                "/usr/lib/*/webkit*gtk-*/MiniBrowser",
                "/usr/libexec/webkit*gtk-*/MiniBrowser",
                "/usr/lib*/webkit*gtk-*/MiniBrowser",
            ),
            drivers=("WebKitWebDriver",),
        ),
    },
    "darwin": {
        "chrome": Search(places=_mac("Google Chrome", "Google Chrome"), drivers=_CHROMEDRIVER),
        "chromium": Search(places=_mac("Chromium", "Chromium"), drivers=_CHROMEDRIVER),
        HEADLESS_SHELL: Search(names=("chrome-headless-shell",), drivers=_CHROMEDRIVER),
        "edge": Search(places=_mac("Microsoft Edge", "Microsoft Edge"), drivers=("msedgedriver",)),
        "firefox": Search(places=_mac("Firefox", "firefox"), drivers=("geckodriver",)),
        "safari": Search(places=_mac("Safari", "Safari"), drivers=("safaridriver",)),
    },
    "win32": {
        "chrome": Search(
            places=_windows("Google/Chrome/Application/chrome.exe"), drivers=_CHROMEDRIVER
        ),
        "chromium": Search(
            places=_windows("Chromium/Application/chrome.exe"), drivers=_CHROMEDRIVER
        ),
        HEADLESS_SHELL: Search(names=("chrome-headless-shell",), drivers=_CHROMEDRIVER),
        "edge": Search(
            places=_windows("Microsoft/Edge/Application/msedge.exe"), drivers=("msedgedriver",)
        ),
        "firefox": Search(places=_windows("Mozilla Firefox/firefox.exe"), drivers=("geckodriver",)),
    },
}
