# SPDX-License-Identifier: Apache-2.0
"""Open a database file, waiting while others hold it; never make or change what is not ours."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_core.errors import ConfigError, StoreError

from . import faults, sidecar

if TYPE_CHECKING:
    import duckdb

_log = logging.getLogger("accelerate.duckdb")

_POLL_S = 0.1

# DuckDB locks against other processes only. It must not be tried either: on POSIX, closing any
# handle on a file drops all the locks this process has on it.
_held_here: set[Path] = set()
_held_guard = threading.Lock()

#: Statements may read and write the database and nothing else of this machine.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


def real_path(path: str | Path) -> Path:
    """Return the absolute path with links resolved, so that one file has one name."""
    return Path(path).expanduser().resolve()


def existing(path: str | Path) -> Path:
    """Return the real path of a database; ConfigError when there is none."""
    path = real_path(path)
    if not path.is_file():
        raise ConfigError(
            "there is no such database",
            where=str(path),
            hint="A run makes it; name another with --db.",
        )
    return path


def open_writer(
    path: Path, wait_s: float, *, folder: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """Open `path` for writing, once in this process; give it back with `release`.

    Statements may also use what is in `folder`. StoreError when it cannot be opened, or when it
    stays locked for `wait_s` seconds.
    """
    deadline = time.monotonic() + wait_s
    is_said = False
    while True:
        connection, pid = _try(path, is_reader=False)
        if connection is not None:
            break
        pid = pid or _writer_pid(path)
        if time.monotonic() >= deadline:
            raise faults.locked(path, pid, wait_s)
        if not is_said:
            is_said = True
            _log.warning("%s holds %s; waiting for it, %g s at most", faults.who(pid), path, wait_s)
        time.sleep(_POLL_S)
    try:
        if folder is not None:
            connection.execute("SET allowed_directories = ?", [[f"{folder}/"]])
        return _configure(connection)
    except BaseException:
        release(path)
        raise


def try_reader(path: Path) -> tuple[duckdb.DuckDBPyConnection | None, int | None]:
    """Open `path` read-only; give it back with `release`.

    While a process holds it: None, and that process's id.
    """
    connection, pid = _try(path, is_reader=True)
    return connection and _configure(connection), pid


def release(path: Path) -> None:
    """Let others in this process open `path`."""
    with _held_guard:
        _held_here.discard(path)


def remove(path: Path) -> None:
    """Remove a file that was made in vain, before its lock goes: another may want to make it."""
    with contextlib.suppress(OSError):
        path.unlink()
        path.with_name(path.name + ".wal").unlink()


def size(path: Path) -> int:
    """Return the bytes of a database with its log."""
    places = (path, path.with_name(path.name + ".wal"))
    return sum(place.stat().st_size for place in places if place.exists())


def _claim(path: Path) -> bool:
    with _held_guard:
        if path in _held_here:
            return False
        _held_here.add(path)
        return True


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise StoreError("this is a folder, not a database file", where=str(path))
    if not path.parent.is_dir():
        raise StoreError(
            "the folder of the database does not exist",
            where=str(path),
            hint=f"Make it: mkdir -p {path.parent}",
        )
    log = path.with_name(path.name + ".wal")
    if log.exists() and not path.exists():
        # DuckDB would start a new file and delete the log, with the rows in it.
        raise StoreError(
            f"the database file is gone, but its log {log.name} is here",
            where=str(path),
            hint="Put the file back beside its log, or move the log away.",
        )


def _try(path: Path, *, is_reader: bool) -> tuple[duckdb.DuckDBPyConnection | None, int | None]:
    import duckdb

    if not _claim(path):
        return None, os.getpid()
    try:
        if not is_reader:
            _check_place(path)
        return duckdb.connect(path, read_only=is_reader, config=_CONFIG), None
    except duckdb.Error as error:
        release(path)
        is_held, pid = faults.holder(error)
        if is_held:
            return None, pid
        raise faults.explain(error, path) from error
    except BaseException:
        release(path)
        raise


def _writer_pid(path: Path) -> int | None:
    writer = sidecar.read(path)
    return writer.pid if writer else None


def _configure(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection
