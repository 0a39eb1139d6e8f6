# SPDX-License-Identifier: Apache-2.0
"""What CI systems read, written: lines of the log, and files."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from .hosts import marker
from .values import File, Line, Output


def write(outputs: Iterable[Output]) -> None:
    """Write files, then lines, which may name them; OSError where a file cannot be written.

    Lines go to standard output: no CI system documents that it reads commands anywhere else. They
    go at once, so that lines of other threads do not get between.
    """
    lines = []
    for one in outputs:
        if isinstance(one, File):
            _write(one)
        elif isinstance(one, Line):
            lines.append(f"{one.text}\n")
    if lines:
        sys.stdout.write("".join(lines))
        sys.stdout.flush()


def _write(file: File) -> None:
    file.path.parent.mkdir(parents=True, exist_ok=True)
    if not file.is_appended:
        file.path.write_text(file.text, encoding="utf-8")
        return
    mark = f"<!-- {marker(file.key)} -->\n"
    known = file.path.read_text(encoding="utf-8") if file.path.exists() else ""
    if mark not in known:
        with file.path.open("a", encoding="utf-8") as stream:
            stream.write(f"{mark}{file.text}\n")
