# SPDX-License-Identifier: Apache-2.0
"""What every launch needs on disk and in its environment, whichever launcher it is."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import attrs

from accelerate_core.errors import BackendUnavailable

from .. import processes
from ..hookspecs.launcher import Gone, LaunchRequest
from . import arguments
from .graphics import SystemFacts

_TAIL_BYTES = 16384

#: Folders of launches that are not closed yet, by tag.
_LIVE: dict[str, Path] = {}


@attrs.frozen(kw_only=True)
class Stage:
    """The private folder and the environment of one launch."""

    request: LaunchRequest
    folder: Path
    environment: dict[str, str]

    @property
    def output(self) -> Path:
        """The file that takes what the browser writes to stdout and stderr."""
        return self.folder / "output.log"

    @property
    def start_url(self) -> str:
        """The address of the file that leads to the asked URL."""
        return (self.folder / "start.html").as_uri()

    def log(self, name: str) -> BinaryIO:
        """Open a file of the folder for a process to write to."""
        return (self.folder / name).open("wb")

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the folder; the folder is private, so the file is."""
        (self.folder / name).write_bytes(data)

    def write_profile(self, name: str, text: str) -> None:
        """Write a file of the browser's profile."""
        (self.request.profile / name).write_text(text, encoding="utf-8")

    def gone(self, exit_code: int | None) -> Gone:
        """Return how the browser ended, with its last words while the folder is there."""
        return Gone(
            browser=self.request.browser.browser, exit_code=exit_code, stderr=tail(self.output)
        )

    def strike(self, session: int | None = None, *, grace_s: float = 0.0) -> None:
        """End every process of the launch, after `grace_s` by force, and remove the folder."""
        if grace_s:
            processes.wait_ended(self.request.tag, session, grace_s)
        processes.kill(self.request.tag, session)
        _LIVE.pop(self.request.tag, None)
        processes.remove_folder(self.folder)


def tail(path: Path) -> str:
    """Return the last lines of a text file that say something; empty when there is none.

    Where there is no D-Bus Chromium complains of it in dozens of lines, which drown the others.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line for line in lines if line.strip() and "dbus/" not in line][-12:])


def build(state_dir: Path, request: LaunchRequest, extra: Mapping[str, str] | None = None) -> Stage:
    """Make the folder, profile and environment; BackendUnavailable when the disk refuses."""
    folder = None
    try:
        request.profile.mkdir(parents=True, exist_ok=True)
        folder = _LIVE[request.tag] = processes.make_folder(state_dir, request.tag)
        start = folder / "start.html"
        start.write_text(arguments.start_page(request.url), encoding="utf-8")
    except OSError as error:
        if folder:
            _LIVE.pop(request.tag)
            processes.remove_folder(folder)
        raise BackendUnavailable(
            f"no folder for the browser could be made: {error.strerror or error}",
            where=str(error.filename or request.profile),
            hint="Free disk space, or make the folder writable.",
        ) from error
    temporary = str(folder / "tmp")
    environment = {
        **os.environ,
        "TMPDIR": temporary,
        "TMP": temporary,
        "TEMP": temporary,
        **request.browser.environment,
        **(extra or {}),
        processes.TAG_VARIABLE: request.tag,
        processes.PROFILE_VARIABLE: str(request.profile),
    }
    return Stage(request=request, folder=folder, environment=environment)


@atexit.register
def _strike_rest() -> None:
    """End what this process started and never closed: the last resort when it exits."""
    for tag, folder in list(_LIVE.items()):
        processes.kill(tag)
        processes.remove_folder(folder)


def browser_environment(
    request: LaunchRequest, *, is_software: bool, is_sandboxed: bool, facts: SystemFacts
) -> dict[str, str]:
    """Return the variables that belong to the kind of browser."""
    if request.browser.browser == "firefox":
        return arguments.firefox_environment(is_software=is_software, facts=facts)
    if request.browser.browser == "webkitgtk":
        return arguments.webkitgtk_environment(profile=request.profile, is_sandboxed=is_sandboxed)
    return {}
