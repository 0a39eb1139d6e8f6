# SPDX-License-Identifier: Apache-2.0
"""The `process` launcher: starts a browser binary on a URL. No driver, nothing to keep in step."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, STDOUT, Process
from pathlib import Path
from typing import Literal

import attrs

from accelerate_core.errors import BackendUnavailable
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Context

from .. import processes
from ..browsers import BrowserFound
from ..hookspecs.launcher import Gone, Launched, Launcher, LaunchRequest, Obstacle
from . import arguments, display, graphics, stage

# A browser that refuses its arguments is gone by then; one that starts has not yet asked for the
# page, so waiting costs nothing.
_EARLY_S = 0.1
_POLITE_S = 5.0
_REST_S = 0.5


@attrs.frozen(kw_only=True)
class ProcessSettings:
    """Settings of the `process` launcher."""

    #: WebGPU in software: "auto" (only where no GPU is visible), true or false.
    software: bool | Literal["auto"] = "auto"
    #: The browser's sandbox: "auto" (kept unless root), true or false.
    sandbox: bool | Literal["auto"] = "auto"
    #: Arguments appended for every browser.
    extra_args: tuple[str, ...] = ()


class ProcessPlugin:
    """Plugin `process`."""

    name = "process"
    settings = ProcessSettings

    @hookimpl
    def launcher_create(self, settings: ProcessSettings | None, ctx: Context) -> Launcher:
        """Return the launcher."""
        return ProcessLauncher(settings or ProcessSettings(), ctx.state_dir)


class ProcessLauncher(Launcher):
    """Starts Chromium's family, Firefox, and WebKitGTK's MiniBrowser on a display of its own."""

    def __init__(self, settings: ProcessSettings, state_dir: Path) -> None:
        self._settings = settings
        self._state_dir = state_dir

    def obstacle(self, browser: BrowserFound) -> Obstacle | None:
        """Return why `browser` cannot be started as a process here, or None."""
        if browser.browser == "safari":
            return Obstacle(
                reason="Safari takes no profile and no URL on its command line",
                remedy="Use the launcher `selenium`; once: sudo safaridriver --enable",
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
        extra = (*self._settings.extra_args, *request.extra_args)
        environment = stage.browser_environment(
            request, is_software=is_software, is_sandboxed=is_sandboxed, facts=facts
        )
        match request.browser.browser:
            case "firefox":
                command = arguments.firefox_arguments(
                    profile=request.profile, headless=request.headless, extra=extra
                )
            case "webkitgtk":
                command = [*extra]
            case name:
                command = arguments.chromium_arguments(
                    browser=name,
                    profile=request.profile,
                    headless=request.headless,
                    is_software=is_software,
                    is_sandboxed=is_sandboxed,
                    facts=facts,
                    extra=extra,
                )
        scene = stage.build(self._state_dir, request, environment)
        started: list[Process] = []
        try:
            return await _start(scene, command, started)
        except BaseException:
            await asyncio.shield(_give_up(scene, started))
            raise


async def _give_up(scene: stage.Stage, started: list[Process]) -> None:
    """End a launch that failed, and wait for its children: a loop must not end before them."""
    await asyncio.to_thread(scene.strike)
    for child in started:
        await child.wait()


async def _start(scene: stage.Stage, command: list[str], started: list[Process]) -> Launched:
    """Start the browser and what it needs; `started` takes every child as it comes."""
    request = scene.request
    if request.browser.browser == "firefox":
        scene.write_profile("user.js", arguments.user_js(arguments.FIREFOX_PREFERENCES))
    if request.browser.browser == "webkitgtk" and request.headless:
        server, variables = await display.start(scene, request.timeout_s)
        started.append(server)
        scene.environment.update(variables)
    try:
        with scene.log(scene.output.name) as output:
            process = await asyncio.create_subprocess_exec(
                str(request.browser.path),
                *command,
                scene.start_url,
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                cwd=scene.folder,
                env=scene.environment,
                start_new_session=True,
            )
    except OSError as error:
        raise BackendUnavailable(
            f"{request.browser.path} cannot be started: {error.strerror or error}",
            where=request.browser.browser,
            hint="Run `accel browsers list` to see what is found here.",
        ) from error
    helpers = started.copy()
    started.append(process)
    scene.write(processes.SESSION_FILE, str(process.pid).encode())
    launched = ProcessLaunched(scene, process, helpers)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_EARLY_S):
            raise (await launched.wait_gone()).to_error()
    return launched


class ProcessLaunched(Launched):
    """A browser started as a child of this process."""

    launcher = "process"

    def __init__(self, scene: stage.Stage, process: Process, helpers: list[Process]) -> None:
        self.pid = process.pid
        self.tag = scene.request.tag
        self._scene = scene
        self._process = process
        self._helpers = helpers
        self._gone: Gone | None = None
        self._closing: asyncio.Task[None] | None = None

    async def wait_gone(self) -> Gone:
        """Return how the browser ended, once it has."""
        code = await self._process.wait()
        if self._gone is None:
            self._gone = self._scene.gone(code)
        return self._gone

    def memory(self) -> int | None:
        """Return the PSS of all its processes in bytes."""
        return processes.memory(self.tag, self.pid)

    async def close(self, *, kill: bool = False) -> None:
        """End it; see `Launched.close`."""
        if kill:
            processes.end(self._process, kill=True)
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(kill))
        # A cancelled caller does not stop the cleaning up.
        await asyncio.shield(self._closing)

    async def _close(self, kill: bool) -> None:
        if not kill:
            processes.end(self._process)
        try:
            await asyncio.wait_for(self.wait_gone(), _POLITE_S)
        except TimeoutError:
            processes.end(self._process, kill=True)
        # Its last words are read here: they go with the folder.
        await self.wait_gone()
        for helper in self._helpers:
            processes.end(helper)
        await asyncio.to_thread(self._scene.strike, self.pid, grace_s=0.0 if kill else _REST_S)
        for helper in self._helpers:
            await helper.wait()
