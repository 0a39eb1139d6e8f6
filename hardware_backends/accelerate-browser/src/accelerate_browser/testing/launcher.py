# SPDX-License-Identifier: Apache-2.0
"""The contract of launchers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import pytest

from accelerate_core.errors import AccelerateError, BackendUnavailable, JobTimeout, WorkerLost
from accelerate_core.protocols import Context
from accelerate_core.testing.contract import Contract

from .. import processes
from ..browsers import BrowserFound, find_browser
from ..hookspecs.launcher import Launched, Launcher, LaunchRequest

if TYPE_CHECKING:
    import psutil

_PAGE = """<!doctype html><meta charset=utf-8><script>
(async () => {
  const cache = await caches.open("contract");
  const seen = Boolean(await cache.match("/kept"));
  await cache.put("/kept", new Response("kept"));
  const said = {agent: navigator.userAgent, fragment: location.hash, seen};
  await fetch("/report", {method: "POST", body: JSON.stringify(said)});
})();
</script>"""

_IN_TIME_S = 60.0


@attrs.frozen(kw_only=True)
class Report:
    """Hold what a page said of itself."""

    agent: str
    fragment: str
    seen: bool  #: whether the profile had kept what an earlier launch stored


class Page:
    """A page on a fixed port of loopback that reports what opened it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/#secret-of-the-contract"
        self.reports: asyncio.Queue[Report] = asyncio.Queue()

    async def report(self, launched: Launched) -> Report:
        """Return what the page says; fails when the browser ends or says nothing in time."""
        reporting = asyncio.create_task(self.reports.get())
        ending = asyncio.create_task(launched.wait_gone())
        try:
            await asyncio.wait(
                {reporting, ending},
                timeout=_IN_TIME_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if reporting.done():
                return reporting.result()
            gone = ending.result() if ending.done() else "still running, but silent"
            raise AssertionError(f"the page did not report: {gone}")
        finally:
            reporting.cancel()
            ending.cancel()


@contextlib.asynccontextmanager
async def serve_page(port: int = 0) -> AsyncIterator[Page]:
    """Serve a reporting page on loopback; port 0 takes a free one."""
    from aiohttp import web

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html")

    async def take(request: web.Request) -> web.Response:
        page.reports.put_nowait(Report(**await request.json()))
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/", show), web.post("/report", take)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        page = Page(runner.addresses[0][1])
        yield page
    finally:
        await runner.cleanup()


def leftovers(state_dir: Path, tag: str) -> list[str]:
    """Return what is left of a launch: processes and folders."""
    left = [f"process {process.pid}" for process in processes.members(tag)]
    folders = [state_dir / "launches" / tag, Path("/tmp") / f"accelerate-{tag}"]
    return left + [f"folder {folder}" for folder in folders if folder.exists()]


class LauncherContract(Contract):
    """What every launcher keeps. Supply the fixture `launcher`, and the browser to start:

        class TestMine(LauncherContract):
            browser_name = "firefox"

            @pytest.fixture
            def launcher(self, context):
                return MyPlugin().launcher_create(None, context)

    The browser must be installed: the kit fails where it is not.
    """

    browser_name: ClassVar[str] = "chromium"
    #: A word of the browser's user agent.
    agent: ClassVar[str] = ""
    #: Whether what a page stores outlives the browser. WebKitGTK's automation forgets it.
    keeps_profile: ClassVar[bool] = True

    @pytest.fixture
    def launcher(self, context: Context) -> Launcher:
        """Return the launcher under test."""
        raise NotImplementedError("supply the fixture `launcher`")

    @pytest.fixture
    def browser_cache(self) -> Path:
        """Return the cache folder that may hold browsers; the user's own, unless replaced."""
        from accelerate_core.host import Host

        return Host().context.cache_dir

    @pytest.fixture
    def browser(self, browser_cache: Path) -> BrowserFound:
        """Return the installed browser."""
        found = find_browser(self.browser_name, browser_cache)
        assert isinstance(found, BrowserFound), f"{found.reason}; to get it: {found.remedy}"
        return found

    @pytest.fixture
    def request_for(self, browser: BrowserFound, tmp_path: Path) -> LaunchRequest:
        """Return a request that tests adapt."""
        return LaunchRequest(
            browser=browser, url="", profile=tmp_path / "profile", timeout_s=_IN_TIME_S
        )

    def test_it_opens_the_url_and_leaves_nothing(
        self, launcher: Launcher, context: Context, request_for: LaunchRequest
    ) -> None:
        async def check() -> None:
            async with serve_page() as page:
                request = attrs.evolve(request_for, url=page.url)
                launched = await launcher.launch(request)
                try:
                    report = await page.report(launched)
                    assert self.agent in report.agent
                    assert page.url.endswith(report.fragment) and report.fragment
                    assert launched.tag == request.tag
                    running = await asyncio.to_thread(processes.members, request.tag)
                    assert launched.pid in {process.pid for process in running}
                    memory = await asyncio.to_thread(launched.memory)
                    assert memory is None or memory > 10 << 20
                    assert "secret-of" not in await asyncio.to_thread(_command_lines, running)
                finally:
                    await launched.close()
                assert leftovers(context.state_dir, request.tag) == []
                await launched.close(kill=True)
                await launched.wait_gone()

        asyncio.run(check())

    @pytest.mark.skipif(os.name != "posix", reason="kills by signal")
    def test_it_keeps_the_profile_and_notices_a_killed_browser(
        self, launcher: Launcher, context: Context, request_for: LaunchRequest
    ) -> None:
        async def check() -> None:
            port = 0
            for is_second in (False, True):
                async with serve_page(port) as page:
                    port = int(page.url.split(":")[2].split("/")[0])
                    tag = processes.new_tag()
                    launched = await launcher.launch(
                        attrs.evolve(request_for, url=page.url, tag=tag)
                    )
                    try:
                        assert (await page.report(launched)).seen == (
                            is_second and self.keeps_profile
                        )
                        if is_second:
                            os.kill(launched.pid, signal.SIGKILL)
                            async with asyncio.timeout(10):
                                gone = await launched.wait_gone()
                            assert isinstance(gone.to_error(), WorkerLost)
                    finally:
                        await launched.close()
                    assert leftovers(context.state_dir, tag) == []

        asyncio.run(check())

    def test_a_missing_binary_is_refused(
        self, launcher: Launcher, context: Context, request_for: LaunchRequest, tmp_path: Path
    ) -> None:
        request = self._with_binary(request_for, tmp_path / "nothing")
        with pytest.raises((BackendUnavailable, WorkerLost)):
            asyncio.run(launcher.launch(request))
        assert leftovers(context.state_dir, request.tag) == []

    @pytest.mark.skipif(os.name != "posix", reason="uses a script as a browser")
    def test_a_browser_that_ends_at_once_is_an_error(
        self, launcher: Launcher, context: Context, request_for: LaunchRequest, tmp_path: Path
    ) -> None:
        script = _script(
            tmp_path, "print('out of order', file=sys.stderr, flush=True); sys.exit(3)"
        )
        request = attrs.evolve(self._with_binary(request_for, script), timeout_s=20.0)

        async def check() -> None:
            launched = await launcher.launch(request)
            try:  # it may take longer to end than a launcher waits
                raise (await launched.wait_gone()).to_error()
            finally:
                await launched.close()

        with pytest.raises((WorkerLost, BackendUnavailable)) as caught:
            asyncio.run(check())
        assert "out of order" in str(caught.value)
        assert leftovers(context.state_dir, request.tag) == []

    @pytest.mark.skipif(os.name != "posix", reason="uses a script as a browser")
    def test_a_browser_that_hangs_can_be_closed(
        self, launcher: Launcher, context: Context, request_for: LaunchRequest, tmp_path: Path
    ) -> None:
        # Like a crash handler, its child has left the process group.
        script = _script(
            tmp_path,
            "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            f"open({str(tmp_path / 'hangs')!r}, 'w').close(); time.sleep(600)",
        )
        request = attrs.evolve(self._with_binary(request_for, script), timeout_s=2.0)

        async def check() -> None:
            with contextlib.suppress(JobTimeout):
                launched = await launcher.launch(request)
                await asyncio.to_thread(_wait_for, tmp_path / "hangs")
                closing = asyncio.create_task(launched.close())
                await asyncio.sleep(0.1)
                await launched.close(kill=True)  # overtakes the polite one
                await closing

        asyncio.run(check())
        assert leftovers(context.state_dir, request.tag) == []

    def test_a_cancelled_launch_leaves_nothing(
        self, launcher: Launcher, context: Context, request_for: LaunchRequest
    ) -> None:
        request = attrs.evolve(request_for, url="http://127.0.0.1:9/")

        async def check() -> None:
            launching = asyncio.create_task(launcher.launch(request))
            await asyncio.sleep(0.05)
            launching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await launching).close()

        asyncio.run(check())
        assert leftovers(context.state_dir, request.tag) == []

    def test_what_it_cannot_start_is_refused_with_a_reason(
        self, launcher: Launcher, request_for: LaunchRequest
    ) -> None:
        assert launcher.supports(request_for.browser)
        for name in ("safari", "webkitgtk", "firefox"):
            browser = BrowserFound(browser=name, path=Path("/nowhere"))
            if obstacle := launcher.obstacle(browser):
                assert obstacle.reason
                with pytest.raises(AccelerateError) as caught:
                    asyncio.run(launcher.launch(attrs.evolve(request_for, browser=browser)))
                assert isinstance(caught.value, BackendUnavailable)

    @staticmethod
    def _with_binary(request: LaunchRequest, path: Path) -> LaunchRequest:
        return attrs.evolve(
            request,
            browser=attrs.evolve(request.browser, path=path),
            url="http://127.0.0.1:9/",
            timeout_s=20.0,
        )


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.02)


def _command_lines(running: list[psutil.Process]) -> str:
    import psutil

    lines = []
    for process in running:
        with contextlib.suppress(psutil.Error):
            lines += process.cmdline()
    return "\n".join(lines)


def _script(folder: Path, code: str) -> Path:
    path = folder / "browser"
    path.write_text(f"#!{sys.executable}\nimport signal, sys, time\n{code}\n")
    path.chmod(0o755)
    return path
