# SPDX-License-Identifier: Apache-2.0
"""Reports that are files: checked before the run, replaced as a whole after it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import attrs

from accelerate_core.errors import ConfigError, PluginError
from accelerate_core.types import RunSummary


@attrs.frozen
class FileReport:
    """Write what `render` returns to `path`, in UTF-8."""

    path: Path
    render: Callable[[RunSummary], str]

    def write(self, summary: RunSummary) -> Path:
        """Replace the file and return its path; PluginError when it cannot be written."""
        replace_file(self.path, self.render(summary))
        return self.path


def report_path(text: str, *, where: str) -> Path:
    """Return the absolute path of a report; ConfigError when no file can be written there.

    Looks only: neither the file nor its parents are created. A symbolic link stands for the
    file it points to.
    """
    hint = "Give the path of a file, for example report.html."
    if not text.strip() or "\0" in text:
        raise ConfigError(f"{text!r} is not a file name", where=where, hint=hint)
    try:
        path = Path(text).expanduser().resolve()
        if path.is_dir() or text.endswith(("/", os.sep)):
            raise ConfigError(f"{text!r} is a directory", where=where, hint=hint)
        if path.exists() and not path.is_file():
            raise ConfigError(f"{text!r} is not a regular file", where=where, hint=hint)
        parent = next(parent for parent in path.parents if parent.exists())
    except (OSError, RuntimeError) as error:  # too long a name, a loop of links, an unknown ~user
        raise ConfigError(f"{text!r} cannot be written: {error}", where=where, hint=hint) from error
    if not parent.is_dir():
        raise ConfigError(f"{str(parent)!r} is a file, not a directory", where=where, hint=hint)
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError(
            f"the directory {str(parent)!r} is not writable",
            where=where,
            hint="Choose another directory, or change its permissions.",
        )
    return path


def replace_file(path: Path, text: str) -> None:
    """Replace a file as a whole, creating its parents; PluginError leaves the old one as it was."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Opened this way, not by tempfile, the file gets the permissions users expect.
            with temporary.open("x", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise PluginError(
            f"the report could not be written: {error.strerror or error}",
            where=str(path),
            hint="The results are not lost: write the report again with `accel report`.",
        ) from error
