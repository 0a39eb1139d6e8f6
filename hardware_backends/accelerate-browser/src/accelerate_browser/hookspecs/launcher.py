# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `launchers` family: ways to start a browser on a URL, and what they hand over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from accelerate_core.errors import BackendUnavailable, Unsupported, WorkerLost
from accelerate_core.markers import hookspec
from accelerate_core.protocols import Context

from ..browsers import BrowserFound
from ..processes import new_tag


@attrs.frozen(kw_only=True)
class LaunchRequest:
    """Ask for one browser on one page."""

    browser: BrowserFound
    url: str  #: may carry a secret in its fragment; a launcher keeps it off command lines
    profile: Path  #: persistent folder of this browser in its slot; made when missing
    headless: bool = True
    timeout_s: float = 30.0  #: for the browser to start and be told the URL; not for the page
    extra_args: tuple[str, ...] = ()  #: appended to the browser's arguments
    tag: str = attrs.field(factory=new_tag)  #: marks every process of the launch


@attrs.frozen(kw_only=True)
class Obstacle:
    """Say why a launcher cannot start a browser, and what would help."""

    reason: str
    remedy: str | None = None  #: an exact command where there is one


@attrs.frozen(kw_only=True)
class Gone:
    """Say how a browser ended."""

    browser: str
    exit_code: int | None = None  #: negative: the signal that ended it; None where unknown
    stderr: str = ""  #: the last lines it wrote

    def to_error(self) -> WorkerLost:
        """Return the typed error for a browser that was still needed."""
        how = "ended" if self.exit_code is None else f"ended with exit code {self.exit_code}"
        if self.exit_code is not None and self.exit_code < 0:
            how = f"was ended by signal {-self.exit_code}"
        return WorkerLost(
            f"the browser {how}" + (f"; it wrote:\n{self.stderr}" if self.stderr else ""),
            where=self.browser,
            hint=_hint(self.stderr),
            reason="crash",
        )


def _hint(stderr: str) -> str | None:
    if "No usable sandbox" in stderr:
        return (
            "This system forbids the browser's sandbox to ordinary users. Use a browser from a "
            "system package, or set `sandbox = false` in the launcher's settings if you trust "
            "every page and model you open."
        )
    if "error while loading shared libraries" in stderr:
        return "A system library is missing; `accel browsers list` names the package to install."
    return None


class Launched:
    """One started browser. `close` frees all of it: processes, folders, displays."""

    pid: int  #: the browser's main process
    tag: str
    launcher: str = ""  #: name of the launcher that started it, however that one was chosen

    async def close(self, *, kill: bool = False) -> None:
        """Ask the browser to end, then kill what is left and remove its temporary folders.

        `kill` skips asking. Safe to call twice and from several tasks; never raises WorkerLost.
        """
        raise Unsupported("this launcher cannot close browsers")

    async def wait_gone(self) -> Gone:
        """Return when the browser's main process ended, for whatever reason."""
        raise Unsupported("this launcher does not watch its browsers")

    def memory(self) -> int | None:
        """Return the bytes the whole process tree holds (PSS), or None where unknown."""
        return None


class Launcher:
    """A way to start browsers, made once per host by `launcher_create`."""

    def obstacle(self, browser: BrowserFound) -> Obstacle | None:
        """Return why this launcher cannot start `browser` here, or None. Starts nothing."""
        raise Unsupported("this launcher does not say what it can start")

    def supports(self, browser: BrowserFound) -> bool:
        """Whether this launcher can start `browser` here."""
        return self.obstacle(browser) is None

    def require(self, browser: BrowserFound) -> None:
        """Raise BackendUnavailable with reason and remedy when `browser` cannot be started."""
        if obstacle := self.obstacle(browser):
            raise BackendUnavailable(obstacle.reason, where=browser.browser, hint=obstacle.remedy)

    async def launch(self, request: LaunchRequest) -> Launched:
        """Start a browser on a URL and return once it runs; the page may not be loaded yet.

        BackendUnavailable when it cannot be started here, WorkerLost when it ended at once (with
        its last words), JobTimeout after `timeout_s`. Nothing is left behind when this raises or
        is cancelled.
        """
        raise Unsupported("this launcher cannot launch")


@hookspec(firstresult=True)
def launcher_create(settings: Any, ctx: Context) -> Launcher:  # type: ignore[empty-body]
    """Return the launcher; starts nothing."""
