# SPDX-License-Identifier: Apache-2.0
"""The HTTP side of a bridge: pages, engines and assets, handshakes and sockets. Loopback only."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
from aiohttp import web
from aiohttp.typedefs import Handler

from accelerate_core.errors import BackendUnavailable, PluginError, WorkerLost

from ..frames import MAX_FRAME_BYTES, POLICY_VIOLATION
from ..hookspecs.engine import EngineModule
from ..messages import PROTOCOL, Welcome
from .connection import Connection
from .rules import MAX_HANDSHAKE_BYTES, Origin, Pass, Refused

RUNTIME = Path(__file__).parents[1] / "static"

_HELLO_S = 10.0
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".css": "text/css; charset=utf-8",
}


@attrs.define(eq=False)
class Invitation:
    """Let one page in, once. `url` carries the token; keep it off command lines and logs."""

    url: str = attrs.field(repr=False)
    token: str = attrs.field(repr=False)
    welcome: Welcome
    where: str
    #: The page's connection, once it said Hello.
    connection: asyncio.Future[Connection]


@attrs.define
class _Guest:
    entry: Pass
    invitation: Invitation
    connection: Connection | None = None
    has_socket: bool = False


class Bridge:
    """Serve pages on one bound socket: one per slot, so that a page's storage is found again."""

    def __init__(
        self, listener: socket.socket, log: logging.Logger, *, port: int | None = None
    ) -> None:
        """Make a bridge on a listening socket of 127.0.0.1; `open` starts serving.

        Pages reach it at `port` where that is another than the socket's: something relays.
        """
        self.origin = Origin(port or listener.getsockname()[1])
        #: How often strangers and broken pages were turned away, by reason.
        self.refused: Counter[str] = Counter()
        self._listener = listener
        self._log = log
        self._runtime: dict[str, Path] = {}
        self._engines: dict[tuple[str, str], Path] = {}
        self._assets: dict[str, Path] = {}
        self._invitations: dict[str, Invitation] = {}
        self._guests: dict[str, _Guest] = {}
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Start serving; PluginError when the page runtime was not built."""
        self._runtime = _files(RUNTIME, "index.html", "the page runtime")
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_HANDSHAKE_BYTES)
        app.on_response_prepare.append(self._add_headers)
        app.router.add_get("/", self._index)
        app.router.add_get("/runtime/{file}", self._runtime_file)
        app.router.add_get("/engines/{engine}/{file}", self._engine_file)
        app.router.add_get("/assets/{sha256}", self._asset)
        app.router.add_post("/handshake", self._handshake)
        app.router.add_get("/socket", self._socket)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener).start()

    async def close(self) -> None:
        """Close every connection and the listening socket. Safe to call twice."""
        for guest in list(self._guests.values()):
            if guest.connection is not None:
                await guest.connection.close("the bridge closes")
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def serve_engine(self, module: EngineModule) -> None:
        """Serve an engine's files; PluginError when they were not built."""
        files = _files(module.folder, module.entry, f"engine {module.name!r}")
        for file, path in files.items():
            self._engines[module.name, file] = path

    def serve_asset(self, sha256: str, path: Path) -> None:
        """Let connected pages fetch an immutable file."""
        self._assets[sha256] = path

    def invite(self, module: EngineModule, where: str) -> Invitation:
        """Expect one page that is to run `module`; `where` names it in errors."""
        token = secrets.token_urlsafe(32)
        invitation = Invitation(
            url=f"{self.origin.url}/#{token}",
            token=token,
            welcome=Welcome(
                protocol=PROTOCOL,
                engine=module.name,
                engine_url=f"/engines/{module.name}/{module.entry}",
                needs_gpu=module.needs_gpu,
                options=module.options,
            ),
            where=where,
            connection=asyncio.get_running_loop().create_future(),
        )
        self._invitations[token] = invitation
        return invitation

    def uninvite(self, invitation: Invitation) -> None:
        """Forget an invitation that was not, or need not be, taken up."""
        self._invitations.pop(invitation.token, None)
        for guest in list(self._guests.values()):
            if guest.invitation is invitation and not guest.has_socket:
                del self._guests[guest.entry.connection]
        invitation.connection.cancel()

    # --- who may ------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self.origin.check_host(request.headers.getall("Host", []))
            self.origin.check_origin(
                request.headers.getall("Origin", []), is_optional=request.method in ("GET", "HEAD")
            )
            return await handler(request)
        except Refused as refused:
            self.refused[refused.word] += 1
            self._log.info("turned away %s: %s", request.remote, refused.message)
            return web.Response(status=refused.status, text=refused.message)
        except web.HTTPException as error:
            self.refused["request"] += 1
            raise error

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self.origin.headers())
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.pop("Server", None)

    async def _handshake(self, request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.text())
            token = body["token"]
            invitation = self._invitations.pop(token)
        except (ValueError, TypeError, KeyError, RecursionError, LookupError):
            raise Refused("token", "this token opens nothing") from None
        entry = Pass.new()
        self._guests[entry.connection] = _Guest(entry, invitation)
        response = web.json_response({"connection": entry.connection})
        response.set_cookie(entry.cookie, entry.secret, httponly=True, samesite="Strict", path="/")
        return response

    # --- files --------------------------------------------------------------------------------

    async def _index(self, request: web.Request) -> web.StreamResponse:
        return self._file(self._runtime["index.html"], "no-store")

    async def _runtime_file(self, request: web.Request) -> web.StreamResponse:
        return self._listed(self._runtime.get(request.match_info["file"]))

    async def _engine_file(self, request: web.Request) -> web.StreamResponse:
        key = (request.match_info["engine"], request.match_info["file"])
        return self._listed(self._engines.get(key))

    def _listed(self, path: Path | None) -> web.StreamResponse:
        if path is None:
            raise Refused("path", "no such file", 404)
        # Revalidated by ETag, so that the browser's cache of compiled code works.
        return self._file(path, "no-cache")

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        if not any(guest.entry.opens(request.cookies) for guest in self._guests.values()):
            raise Refused("cookie", "assets are for connected pages")
        path = self._assets.get(request.match_info["sha256"])
        if path is None:
            raise Refused("path", "no model here has this asset", 404)
        return self._file(path, "private, max-age=31536000, immutable")

    def _file(self, path: Path, caching: str) -> web.StreamResponse:
        if not path.is_file():
            raise Refused("path", "the file is gone", 404)
        kind = _TYPES.get(path.suffix, "application/octet-stream")
        return web.FileResponse(path, headers={"Content-Type": kind, "Cache-Control": caching})

    # --- sockets ------------------------------------------------------------------------------

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self.origin.check_origin(request.headers.getall("Origin", []))
        guest = self._guests.get(request.query.get("connection", ""))
        if guest is None or not guest.entry.opens(request.cookies):
            raise Refused("cookie", "this connection is not yours")
        if guest.has_socket or request.transport is None:
            raise Refused("socket", "this connection has its socket", 409)
        guest.has_socket = True
        response = web.WebSocketResponse(max_msg_size=MAX_FRAME_BYTES, compress=False, timeout=2.0)
        try:
            await response.prepare(request)
            guest.connection = Connection(
                response,
                request.transport,
                id=guest.entry.connection,
                where=guest.invitation.where,
                log=self._log,
                on_refused=self._count,
            )
            greeting = asyncio.create_task(self._greet(guest.invitation, guest.connection))
            try:
                await guest.connection.serve()
            finally:
                await greeting
        finally:
            # Its secret opens nothing from here on.
            del self._guests[guest.entry.connection]
        return response

    async def _greet(self, invitation: Invitation, connection: Connection) -> None:
        """Answer Hello with Welcome, and hand the connection to who waits for it."""
        error = await self._greeting_fault(invitation, connection)
        if error is not None:
            self._count("hello")
            if not invitation.connection.done():
                invitation.connection.set_exception(error)
                invitation.connection.exception()  # nobody need ask
            await connection.refuse(POLICY_VIOLATION, error.info.message)
        elif invitation.connection.done():
            await connection.close("nobody waits for this page any more")
        else:
            invitation.connection.set_result(connection)
            with contextlib.suppress(WorkerLost):
                await connection.tell(invitation.welcome)

    async def _greeting_fault(
        self, invitation: Invitation, connection: Connection
    ) -> BackendUnavailable | None:
        hello, lost = connection.said_hello, connection.lost
        waited: list[asyncio.Future[Any]] = [hello, lost]
        await asyncio.wait(waited, timeout=_HELLO_S, return_when=asyncio.FIRST_COMPLETED)
        if not hello.done():
            how = lost.result().info.message if lost.done() else "the page said nothing"
            return BackendUnavailable(
                f"the page opened its socket, and then {how}", where=invitation.where
            )
        if (protocol := hello.result().protocol) != PROTOCOL:
            return BackendUnavailable(
                f"the page speaks protocol {protocol}, this host {PROTOCOL}",
                where=invitation.where,
                hint="The page's files are from another version: reinstall accelerate-browser.",
            )
        return None

    def _count(self, word: str) -> None:
        self.refused[word] += 1


def _files(folder: Path, needed: str, what: str) -> dict[str, Path]:
    """List a folder once: what is not listed is not served, so no path leads out of it."""
    files = (
        {path.name: path for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}
    )
    if needed not in files:
        raise PluginError(
            f"{what} was not built: {needed} is missing",
            where=str(folder),
            hint="In a checkout: make page. Otherwise reinstall the package; wheels carry it.",
        )
    return files
