# SPDX-License-Identifier: Apache-2.0
"""`<database>.writer`: who writes, and where to ask. Mode 0600, gone when the store closes."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import stat
import tempfile
from pathlib import Path

import attrs

from . import faults

_CONNECT_TIMEOUT_S = 2.0


@attrs.frozen
class Sidecar:
    """Say where the writer of a database answers queries."""

    pid: int
    token: str  #: sent with each request
    path: str | None  #: of a Unix domain socket, else
    port: int | None  #: a port on the loopback interface

    @classmethod
    def new(cls, *, path: str | None, port: int | None) -> Sidecar:
        """Make one for this process."""
        return cls(os.getpid(), secrets.token_hex(16), path, port)

    def connect(self) -> socket.socket:
        """Return a connection to the writer, without a time limit; OSError when nobody listens."""
        address = ("127.0.0.1", self.port) if self.path is None else self.path
        connection = socket.socket(socket.AF_INET if self.path is None else socket.AF_UNIX)
        try:
            connection.settimeout(_CONNECT_TIMEOUT_S)
            connection.connect(address)
        except BaseException:
            connection.close()
            raise
        # A query may take as long as it takes; a writer that dies closes the connection.
        connection.settimeout(None)
        return connection


def place(path: Path) -> Path:
    """Return where the sidecar of a database lies."""
    return path.with_name(path.name + ".writer")


def write(path: Path, sidecar: Sidecar) -> None:
    """Write it as a whole; StoreError when the folder cannot be written."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(attrs.asdict(sidecar), file)
            Path(temporary).replace(place(path))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise faults.explain(error, path) from error


def read(path: Path) -> Sidecar | None:
    """Return the sidecar, or None when there is none that can be read."""
    try:
        data = json.loads(place(path).read_text("utf-8"))
        return Sidecar(int(data["pid"]), str(data["token"]), data["path"], data["port"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def remove_stale(path: Path) -> None:
    """Remove what a killed writer left; call it only while holding the database's lock."""
    if sidecar := read(path):
        remove_socket(sidecar.path)
    with contextlib.suppress(OSError):
        place(path).unlink()


def remove_socket(path: str | None) -> None:
    """Remove a socket and its folder; anything that is not a socket stays."""
    with contextlib.suppress(OSError):
        if path and stat.S_ISSOCK(os.lstat(path).st_mode):
            Path(path).unlink()
            Path(path).parent.rmdir()
