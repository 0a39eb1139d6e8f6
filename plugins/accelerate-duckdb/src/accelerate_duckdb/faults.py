# SPDX-License-Identifier: Apache-2.0
"""DuckDB's errors, as the one typed error users meet. Decisions only: no file is touched."""

from __future__ import annotations

import os
import re
from pathlib import Path

from accelerate_core.errors import StoreError

_HELD = re.compile(r"could not set lock|already open in|being used by another process", re.I)
_PID = re.compile(r"\(PID (\d+)\)")

#: Pattern in DuckDB's text -> (what happened, what to do). First match wins.
_KNOWN = (
    (
        # Of SQLite's files it asks for the extension that reads them.
        r"not a valid DuckDB database file|sqlite_scanner",
        "this file is not a DuckDB database; it was left as it is",
        'Give the store another file: [store] path = "results.duckdb".',
    ),
    (
        r"storage version number .*\n?.*newer",
        "this file was written by a newer DuckDB; it was left as it is",
        "Upgrade: pip install -U duckdb accelerate-duckdb",
    ),
    (
        r"storage version number",
        "this file was written by a DuckDB too old to be read; it was left as it is",
        "Export it with that DuckDB (EXPORT DATABASE), and give the store another file.",
    ),
    (
        r"corrupt|checksum|not read enough bytes|could not read enough|serialization error",
        "this database file is damaged; it was left as it is",
        "Restore a copy, or move it away and start afresh: mv {path} {path}.damaged",
    ),
    (
        r"no space left|disk quota exceeded|file too large",
        "no room on the disk, so this was not stored; what was acknowledged before is safe",
        "Free some space, then run again: df -h {parent}",
    ),
    (
        r"permission denied|read-only file system|operation not permitted",
        "no permission to write this file or its folder",
        "Make both writable, or give the store another path: chmod u+w {path}",
    ),
    (
        r"database has been invalidated",
        "the database stopped after a fatal error; what was acknowledged is safe",
        "Close the store and open it again; `accel query` reads the file meanwhile.",
    ),
    (r"^interrupt", "the query was interrupted because the store was closed", None),
    (r"read-only mode", "this statement writes, and a query only reads", None),
    (
        r"different configuration than existing",
        "this process has the file open by other means than the store",
        "Close that connection first.",
    ),
)


def holder(error: Exception) -> tuple[bool, int | None]:
    """Return whether an error says that a process holds the file, and that process's id."""
    text = str(error)
    if not _HELD.search(text):
        return False, None
    match = _PID.search(text)
    return True, int(match[1]) if match else None


def explain(error: Exception, path: Path) -> StoreError:
    """Return the StoreError for anything DuckDB or the operating system raised."""
    text = str(error).strip()
    detail = text.splitlines()[0] if text else type(error).__name__
    for pattern, message, hint in _KNOWN:
        if re.search(pattern, text, re.I):
            return StoreError(
                f"{message} ({detail})",
                where=str(path),
                hint=hint and hint.format(path=path, parent=path.parent),
            )
    return StoreError(text or detail, where=str(path))


def locked(path: Path, pid: int | None, wait_s: float) -> StoreError:
    """Return the error for a file that stayed locked for `wait_s` seconds."""
    hint = None
    if pid == os.getpid():
        hint = "Close what has it open here, or ask that: a file is open once in a process."
    elif pid:
        hint = f"Wait for it, end it (kill {pid}), or use another file. A run can be asked "
        hint += "meanwhile: accel query."
    return StoreError(
        f"{who(pid)} holds the database, and did not let go within {wait_s:g} s",
        where=str(path),
        hint=hint,
    )


def who(pid: int | None) -> str:
    """Return what to call a process that holds a file."""
    if pid == os.getpid():
        return "this process"
    return f"process {pid}" if pid else "another process"


def older(error: Exception, path: Path, version: int, newest: int) -> StoreError:
    """Return the error for a query that failed on a file which was not brought forward yet."""
    return StoreError(
        f"this file has version {version} of the store's tables, and version {newest} is known "
        f"here, with tables and columns it lacks ({str(error).strip().splitlines()[0]})",
        where=str(path),
        hint=f"Bring it forward, its rows stay: accel db upgrade --db {path}",
    )


def closed(path: Path) -> StoreError:
    """Return the error for a call that came after `close`."""
    return StoreError("the store is closed", where=str(path))
