# SPDX-License-Identifier: Apache-2.0
"""A hand-written page in a real browser: what the same work costs without this project."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import accelerate_browser
import accelerate_webgpu
from accelerate_browser.browsers import BrowserFound
from accelerate_browser.hookspecs import LAUNCHERS
from accelerate_browser.hookspecs.launcher import Gone, Launched, Launcher, LaunchRequest
from accelerate_browser.hub import create
from aiohttp import web

from accelerate_core.errors import BackendUnavailable
from accelerate_core.host import Host

from ._world import new_folder

PAGES = Path(__file__).parent / "pages"
PAGE_SOURCES = Path(__file__).parents[1] / "hardware_backends/accelerate-browser/page"
ORT = {
    "wasm": Path(accelerate_browser.__file__).parent / "static",
    "jspi": Path(accelerate_browser.__file__).parent / "static",
    "webgpu": Path(accelerate_webgpu.__file__).parent / "static",
}
#: As the bridge serves its page: without these there are no WASM threads and coarse clocks.
_ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
}
_START_S = 60.0
_ANSWER_S = 120.0


class PlainPage:
    """Speak with the page: commands to its worker, and a raw echo."""

    def __init__(self, readback: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.launched: Launched
        #: Milliseconds from starting the browser until both sockets were open.
        self.launch_ms = 0.0
        self._readback = readback
        self._files: dict[str, Path] = {}
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._control: asyncio.Future[web.WebSocketResponse] = loop.create_future()
        self._echo: asyncio.Future[web.WebSocketResponse] = loop.create_future()
        self._ended = asyncio.Event()

    def serve(self, path: Path) -> str:
        """Serve a file; return its path on this origin."""
        self._files[path.name] = path
        return f"/files/{path.name}"

    async def call(self, command: str, **options: Any) -> Any:
        """Do a command in the page and return its result; RuntimeError with the page's words."""
        number = next(self._numbers)
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        socket = await self._control
        await socket.send_str(json.dumps({"id": number, "command": command, **options}))
        async with asyncio.timeout(_ANSWER_S):
            return await future

    async def echo(self, payload: bytes) -> bytes:
        """Send bytes as one message and return what came back."""
        socket = self._echo.result()
        await socket.send_bytes(payload)
        return await socket.receive_bytes()

    async def echo_in_parts(self, payload: bytes, size_bytes: int) -> bytes:
        """Send bytes as messages of a size, all at once; return what came back, put together."""
        socket = self._echo.result()
        view = memoryview(payload)
        starts = range(0, len(payload), size_bytes)

        async def send() -> None:
            for start in starts:
                await socket.send_bytes(bytes(view[start : start + size_bytes]))

        async def receive() -> bytes:
            return b"".join([await socket.receive_bytes() for _ in starts])

        _, back = await asyncio.gather(send(), receive())
        return back

    # --- serving ------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Serve the page on a free loopback port; yield its address."""
        app = web.Application()
        app.on_response_prepare.append(_isolate)
        app.router.add_get("/", lambda _: _file(PAGES / "index.html"))
        app.router.add_get("/pages/readback.js", self._get_readback)
        app.router.add_get("/pages/{file}", lambda request: _in(PAGES, request))
        app.router.add_get("/ort/{bundle}/{file}", _ort_file)
        app.router.add_get("/files/{file}", self._get_file)
        app.router.add_get("/control", self._serve_control)
        app.router.add_get("/echo", self._serve_echo)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            (address,) = runner.addresses
            yield f"http://127.0.0.1:{address[1]}/"
        finally:
            self._ended.set()
            await runner.cleanup()

    async def connected(self) -> None:
        """Wait until both sockets are open."""
        await self._control
        await self._echo

    async def _get_readback(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=self._readback, content_type="text/javascript")

    async def _get_file(self, request: web.Request) -> web.StreamResponse:
        return await _file(self._files[request.match_info["file"]])

    async def _serve_control(self, request: web.Request) -> web.StreamResponse:
        socket = await _socket(request)
        self._control.set_result(socket)
        async for message in socket:
            answer = json.loads(message.data)
            future = self._waiting.pop(answer["id"])
            if "error" in answer:
                future.set_exception(RuntimeError(answer["error"]))
            else:
                future.set_result(answer.get("result"))
        return socket

    async def _serve_echo(self, request: web.Request) -> web.StreamResponse:
        socket = await _socket(request)
        self._echo.set_result(socket)
        # `echo` reads for itself: a task between would make the bare thing slower.
        await self._ended.wait()
        return socket


@contextlib.asynccontextmanager
async def plain_page(
    host: Host, browser: BrowserFound, *, launcher: str = "auto"
) -> AsyncIterator[PlainPage]:
    """Yield a hand-written page in a browser of its own, started as the project starts browsers."""
    starter: Launcher = create(host.context, LAUNCHERS, launcher, {}, "benchmark")
    page = PlainPage(await asyncio.to_thread(readback_source))
    async with page.served() as url:
        with new_folder() as profile:
            begin = time.perf_counter()
            page.launched = await starter.launch(
                LaunchRequest(browser=browser, url=url, profile=profile)
            )
            try:
                await _unless_gone(page, browser)
                page.launch_ms = (time.perf_counter() - begin) * 1e3
                yield page
            finally:
                await page.launched.close()


class OpensBeside(Launcher):
    """Opens the URL in another window of a page's browser: both then share one browser."""

    def __init__(self, page: PlainPage) -> None:
        self._page = page

    def obstacle(self, browser: BrowserFound) -> None:
        """Return None: the browser runs already."""

    async def launch(self, request: LaunchRequest) -> Launched:
        """Open the window."""
        await self._page.call("open", url=request.url)
        return _Window(self._page.launched)


class _Window(Launched):
    def __init__(self, browser: Launched) -> None:
        self.pid = browser.pid
        self.tag = browser.tag
        self._browser = browser

    async def close(self, *, kill: bool = False) -> None:
        """Leave the window to its browser's end."""

    async def wait_gone(self) -> Gone:
        return await self._browser.wait_gone()

    def memory(self) -> int | None:
        return self._browser.memory()


def readback_source() -> bytes:
    """Return the page runtime's own readback poll as JavaScript."""
    esbuild = PAGE_SOURCES / "node_modules/.bin/esbuild"
    if shutil.which(esbuild) is None:
        raise BackendUnavailable("the page was not built here", hint="In a checkout: make page")
    source = PAGE_SOURCES / "src/compute/readback.ts"
    command = [str(esbuild), str(source), "--format=esm", "--log-level=error"]
    return subprocess.run(command, capture_output=True, check=True).stdout


async def _unless_gone(page: PlainPage, browser: BrowserFound) -> None:
    gone = asyncio.create_task(page.launched.wait_gone())
    connected = asyncio.create_task(page.connected())
    try:
        await asyncio.wait([gone, connected], timeout=_START_S, return_when=asyncio.FIRST_COMPLETED)
        if not connected.done():
            why = f": {gone.result().stderr}" if gone.done() else f" within {_START_S:g} s"
            raise BackendUnavailable(f"{browser.browser} did not open the page{why}")
    finally:
        gone.cancel()
        connected.cancel()


async def _isolate(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_ISOLATION)


async def _socket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(max_msg_size=0, compress=False)
    await socket.prepare(request)
    return socket


async def _ort_file(request: web.Request) -> web.StreamResponse:
    return await _in(ORT[request.match_info["bundle"]], request)


async def _in(folder: Path, request: web.Request) -> web.StreamResponse:
    return await _file(folder / request.match_info["file"])


async def _file(path: Path) -> web.StreamResponse:
    headers: Mapping[str, str] = {
        "Content-Type": _TYPES.get(path.suffix, "application/octet-stream")
    }
    return web.FileResponse(path, headers=headers)
