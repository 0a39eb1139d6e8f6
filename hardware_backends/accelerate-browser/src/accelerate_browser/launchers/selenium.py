# SPDX-License-Identifier: Apache-2.0
"""The `selenium` launcher: starts a browser through its WebDriver.

Selenium is for the life of a browser, never for data. Its calls block and run in a thread.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from accelerate_core.errors import JobTimeout
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Context

from .. import processes
from ..browsers import BrowserFound
from ..hookspecs.launcher import Gone, Launched, Launcher, LaunchRequest, Obstacle
from . import arguments, display, graphics, stage
from .driver import Session

if TYPE_CHECKING:
    from asyncio.subprocess import Process

_LOOK_AGAIN_S = 0.1
#: A driver starts its browser at once; on a busy machine that takes seconds.
_CHILDLESS_S = 10.0
_POLITE_S = 5.0
_REST_S = 0.5
_DRIVERS = {
    "firefox": "geckodriver",
    "safari": "safaridriver",
    "webkitgtk": "WebKitWebDriver",
    "edge": "msedgedriver",
}


@attrs.frozen(kw_only=True)
class SeleniumSettings:
    """Settings of the `selenium` launcher."""

    #: Let Selenium Manager download a driver where none is found.
    allow_download: bool = False
    #: WebGPU in software: "auto" (only where no GPU is visible), true or false.
    software: bool | Literal["auto"] = "auto"
    #: The browser's sandbox: "auto" (kept unless root), true or false.
    sandbox: bool | Literal["auto"] = "auto"
    #: Arguments appended for every browser.
    extra_args: tuple[str, ...] = ()


class SeleniumPlugin:
    """Plugin `selenium`."""

    name = "selenium"
    settings = SeleniumSettings

    @hookimpl
    def launcher_create(self, settings: SeleniumSettings | None, ctx: Context) -> Launcher:
        """Return the launcher."""
        return SeleniumLauncher(settings or SeleniumSettings(), ctx.state_dir)


class SeleniumLauncher(Launcher):
    """Starts whatever a driver is found for; downloads none unless allowed."""

    def __init__(self, settings: SeleniumSettings, state_dir: Path) -> None:
        self._settings = settings
        self._state_dir = state_dir

    def obstacle(self, browser: BrowserFound) -> Obstacle | None:
        """Return why `browser` cannot be driven here, or None."""
        if browser.driver is None:
            name = _DRIVERS.get(browser.browser, "chromedriver")
            if not self._settings.allow_download or browser.browser in ("safari", "webkitgtk"):
                return Obstacle(
                    reason=f"{name} is not found",
                    remedy=f"Put {name} on PATH, or set `allow_download = true` in the settings "
                    "of the launcher `selenium`",
                )
        if browser.browser == "webkitgtk" and display.find_xvfb() is None:
            return Obstacle(reason="Xvfb is not installed", remedy=display.XVFB_REMEDY)
        return None

    async def launch(self, request: LaunchRequest) -> Launched:
        """Start the browser; see `Launcher.launch`."""
        self.require(request.browser)
        facts = await asyncio.to_thread(graphics.look)
        is_software = graphics.use_software(self._settings.software, facts)
        is_sandboxed = graphics.use_sandbox(self._settings.sandbox, facts)
        environment = stage.browser_environment(
            request, is_software=is_software, is_sandboxed=is_sandboxed, facts=facts
        )
        extra = (*self._settings.extra_args, *request.extra_args)
        flags = list(extra)
        if request.browser.is_chromium:
            flags = arguments.chromium_arguments(
                browser=request.browser.browser,
                profile=request.profile,
                headless=request.headless,
                is_software=is_software,
                is_sandboxed=is_sandboxed,
                facts=facts,
                extra=extra,
            )
        scene = stage.build(self._state_dir, request, environment)
        launched = SeleniumLaunched(scene)
        try:
            async with asyncio.timeout(request.timeout_s):
                await launched.open(flags)
        except BaseException as error:
            await asyncio.shield(launched.close(kill=True))
            if isinstance(error, TimeoutError):
                raise JobTimeout(
                    f"{request.browser.browser} did not start in {request.timeout_s:g} s",
                    where=str(request.browser.driver or "selenium"),
                ) from error
            raise
        return launched


class SeleniumLaunched(Launched):
    """A browser behind its driver. Whatever happens, both end with `close`."""

    launcher = "selenium"

    def __init__(self, scene: stage.Stage) -> None:
        self.pid = 0
        self.tag = scene.request.tag
        self._scene = scene
        self._session = Session(scene)
        self._server: Process | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._gone: Gone | None = None

    async def open(self, flags: list[str]) -> None:
        """Start display, driver and browser, and tell the browser its URL."""
        request = self._scene.request
        if request.browser.browser == "webkitgtk" and request.headless:
            self._server, variables = await display.start(self._scene, request.timeout_s)
            self._scene.environment.update(variables)
        self._opening = asyncio.create_task(asyncio.to_thread(self._session.open, flags))
        # A thread cannot be cancelled: `close` ends what it waits for, and then waits for it.
        if request.browser.browser == "webkitgtk":
            await self._watch_opening(self._opening)
        await asyncio.shield(self._opening)
        self.pid = self._session.pid

    async def _watch_opening(self, opening: asyncio.Task[None]) -> None:
        """Raise WorkerLost when the browser ends; WebKitWebDriver would wait for it forever.

        One that ends between two looks is never seen, and missed after `_CHILDLESS_S`.
        """
        seen: int | None = None
        began: float | None = None
        while not opening.done():
            if driver := self._session.driver_pid:
                began = began or time.monotonic()
                seen = seen or processes.first_child(driver)
                is_missed = not seen and time.monotonic() - began > _CHILDLESS_S
                if is_missed or (seen and not processes.pid_is_running(seen)):
                    raise self._scene.gone(None).to_error()
            await asyncio.wait([opening], timeout=_LOOK_AGAIN_S)

    async def wait_gone(self) -> Gone:
        """Return how the browser ended, once it has; its exit code is known only to the driver."""
        while self._gone is None:
            if not processes.pid_is_running(self.pid):
                self._gone = self._scene.gone(None)
                break
            await asyncio.sleep(_LOOK_AGAIN_S)
        return self._gone

    def memory(self) -> int | None:
        """Return the PSS of driver and browser in bytes."""
        return processes.memory(self.tag, self._session.driver_pid)

    async def close(self, *, kill: bool = False) -> None:
        """End it; see `Launched.close`."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(kill))
        elif kill:
            await asyncio.to_thread(processes.kill, self.tag, self._session.driver_pid)
        await asyncio.shield(self._closing)

    async def _close(self, kill: bool) -> None:
        opening = self._opening
        while opening is not None and not opening.done():
            await asyncio.to_thread(processes.kill, self.tag)
            await asyncio.wait([opening], timeout=_LOOK_AGAIN_S)
        if opening is not None and not opening.cancelled():
            opening.exception()  # it was raised by `open` already
        if not kill and self._session.is_open:
            quitting = asyncio.create_task(asyncio.to_thread(self._session.quit))
            await asyncio.wait([quitting], timeout=_POLITE_S)
            if not quitting.done():
                await asyncio.to_thread(processes.kill, self.tag, self._session.driver_pid)
                await quitting
        if self._server is not None:
            processes.end(self._server)
        if self._gone is None:
            self._gone = self._scene.gone(None)
        session = self._session.driver_pid
        await asyncio.to_thread(self._scene.strike, session, grace_s=0.0 if kill else _REST_S)
        await asyncio.to_thread(self._session.forget)
        if self._server is not None:
            await self._server.wait()
