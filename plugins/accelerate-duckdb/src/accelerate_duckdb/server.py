# SPDX-License-Identifier: Apache-2.0
"""Answer read-only queries of other processes while the store is open.

On a Unix domain socket that only this user can reach; on loopback with a token where there are
none (Windows), or where the temporary folder's name is too long for one.
"""

from __future__ import annotations

import contextlib
import hmac
import socket
import socketserver
import tempfile
import threading
from pathlib import Path
from typing import Any

from accelerate_core.errors import AccelerateError, StoreError

from . import faults, wire
from . import sidecar as sidecars
from .reader import Reader

_MAX_REQUEST_BYTES = 1 << 20
_MAX_ANSWER_BYTES = 256 << 20
_IO_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 1.0
#: sun_path holds 104 bytes on macOS, 108 on Linux.
_MAX_SOCKET_PATH = 100


class QueryServer:
    """Listen from construction until `close`; the sidecar says where."""

    def __init__(self, path: Path, reader: Reader) -> None:
        self._path = path
        self._reader = reader
        sidecars.remove_stale(path)
        self._server, self.sidecar = _listen(self, path)
        try:
            sidecars.write(path, self.sidecar)
        except BaseException:
            self._server.server_close()
            sidecars.remove_socket(self.sidecar.path)
            raise
        self._is_closing = False
        self._thread = threading.Thread(
            target=self._serve, name="accelerate-duckdb-query", daemon=True
        )
        self._thread.start()

    def answer(self, line: bytes) -> list[bytes]:
        """Return the lines that answer a request."""
        try:
            token, sql, parameters = wire.read_request(line)
            if not hmac.compare_digest(token.encode(), self.sidecar.token.encode()):
                raise StoreError("the token is wrong", where=str(self._path))
            return _bounded(wire.table_lines(self._reader.query(sql, parameters)), self._path)
        except AccelerateError as error:
            return [wire.error_line(error)]

    def close(self) -> None:
        """Stop listening; remove the socket and the sidecar."""
        self._is_closing = True
        with contextlib.suppress(OSError):
            self.sidecar.connect().close()
        # Not for ever: someone may have swept the socket out of the temporary folder.
        self._thread.join(_END_TIMEOUT_S)
        self._server.server_close()
        with contextlib.suppress(OSError):
            sidecars.place(self._path).unlink()
        sidecars.remove_socket(self.sidecar.path)

    def _serve(self) -> None:
        # Not serve_forever, which wakes up all the time to see whether it should end: that
        # disturbs measurements. Here `close` connects.
        while not self._is_closing:
            self._server.handle_request()


def _bounded(lines: Any, path: Path) -> list[bytes]:
    kept: list[bytes] = []
    size = 0
    for line in lines:
        kept.append(line)
        size += len(line)
        if size > _MAX_ANSWER_BYTES:
            raise StoreError(
                f"the answer is larger than {_MAX_ANSWER_BYTES >> 20} MiB",
                where=str(path),
                hint="Ask for less: add a LIMIT, or aggregate.",
            )
    return kept


class _Handler(socketserver.StreamRequestHandler):
    timeout = _IO_TIMEOUT_S

    def handle(self) -> None:
        # A client that went away, or stays silent, is its own affair.
        with contextlib.suppress(OSError):
            line = self.rfile.readline(_MAX_REQUEST_BYTES)
            if line:
                owner: QueryServer = self.server.owner  # type: ignore[attr-defined]
                self.wfile.writelines(owner.answer(line))


def _listen(owner: QueryServer, path: Path) -> tuple[socketserver.BaseServer, sidecars.Sidecar]:
    server: Any
    try:
        if (server := _unix_server()) is not None:
            sidecar = sidecars.Sidecar.new(path=str(server.server_address), port=None)
        else:
            server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler)
            sidecar = sidecars.Sidecar.new(path=None, port=server.server_address[1])
    except OSError as error:
        raise faults.explain(error, path) from error
    server.daemon_threads = True
    server.owner = owner
    return server, sidecar


def _unix_server() -> socketserver.BaseServer | None:
    if not hasattr(socket, "AF_UNIX"):
        return None
    # mkdtemp: mode 0700 and a fresh name, so nobody else can have put anything there.
    folder = Path(tempfile.mkdtemp(prefix="accel-query-"))
    place = folder / "query.sock"
    try:
        if len(bytes(place)) > _MAX_SOCKET_PATH:
            raise OSError("the name is too long for a socket")
        server = socketserver.ThreadingUnixStreamServer(str(place), _Handler)
    except OSError:
        place.unlink(missing_ok=True)
        folder.rmdir()
        return None
    place.chmod(0o600)
    return server
