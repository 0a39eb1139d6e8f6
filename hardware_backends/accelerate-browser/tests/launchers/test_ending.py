# SPDX-License-Identifier: Apache-2.0
"""Processes that end while they are being ended: how they did is not lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest
from accelerate_browser import mending, processes
from accelerate_browser.browsers import BrowserFound
from accelerate_browser.hookspecs import LAUNCHERS
from accelerate_browser.hookspecs.launcher import Gone, Launched, LaunchRequest
from accelerate_browser.launchers import process
from accelerate_browser.launchers.stage import tail
from accelerate_browser.mending import Autopsy

from accelerate_core.errors import BackendUnavailable
from accelerate_core.protocols import Context
from accelerate_core.testing.waiting import until


async def test_a_child_that_just_died_keeps_its_exit_status(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in range(60):
        child = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
        os.kill(child.pid, signal.SIGKILL)
        time.sleep(0.002 * (number % 2))  # noqa: ASYNC251  (the event loop must not hear of it)
        processes.end(child, kill=number % 3 > 0)
        assert await child.wait() == -signal.SIGKILL
    assert not caplog.records


async def test_a_child_is_asked_or_killed() -> None:
    for is_killed, expected in ((False, signal.SIGTERM), (True, signal.SIGKILL)):
        child = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
        processes.end(child, kill=is_killed)
        assert await child.wait() == -expected
        processes.end(child, kill=True)  # it is gone, and its number may be another's


@pytest.mark.parametrize("how", ["asked", "asked in vain", "killed"])
async def test_the_last_words_of_a_browser_outlive_its_folder(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(process, "_POLITE_S", 0.2)
    deaf = "trap '' TERM\n" if how == "asked in vain" else ""
    request = _request(tmp_path, f"{deaf}echo lost >&2\nexec sleep 60")
    launched: Any = await context.plugins.create(LAUNCHERS.name, "process").launch(request)
    await until(lambda: tail(launched._scene.output) == "lost")  # on a busy machine it takes long
    await launched.close(kill=how == "killed")
    assert (await launched.wait_gone()).stderr == "lost"


def _request(folder: Path, body: str) -> LaunchRequest:
    script = folder / "browser"
    script.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    script.chmod(0o755)
    browser = BrowserFound(browser="chromium", path=script)
    return LaunchRequest(browser=browser, url="http://127.0.0.1:9/", profile=folder / "profile")


@pytest.mark.parametrize("how", ["cancelled", "not there"])
async def test_a_launch_that_fails_waits_for_its_children(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Else their ends come when the event loop is closed."""
    started: list[asyncio.subprocess.Process] = []
    create, waitpid = asyncio.create_subprocess_exec, os.waitpid

    async def noted(*given: Any, **named: Any) -> Any:
        started.append(await create(*given, **named))
        return started[-1]

    def hear_late(*given: Any) -> Any:
        heard = waitpid(*given)
        time.sleep(0.2)
        return heard

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    monkeypatch.setattr(os, "waitpid", hear_late)
    request = _request(tmp_path, "exec sleep 60")
    if how == "not there":  # its display is
        gone = BrowserFound(browser="webkitgtk", path=tmp_path / "nothing")
        request = attrs.evolve(request, browser=gone)
    launching = asyncio.create_task(
        context.plugins.create(LAUNCHERS.name, "process").launch(request)
    )
    if how == "cancelled":
        await until(lambda: bool(started))
        launching.cancel()
    with pytest.raises((asyncio.CancelledError, BackendUnavailable)):
        await launching
    assert [child.returncode for child in started] == [-signal.SIGKILL]


class Slow(Launched):
    """A browser whose parent hears of its end late."""

    def __init__(self, pid: int, late_s: float = 0.2) -> None:
        self.pid, self.late_s = pid, late_s

    async def wait_gone(self) -> Gone:
        await asyncio.sleep(self.late_s)
        return Gone(browser="chromium", exit_code=-signal.SIGKILL)

    async def close(self, *, kill: bool = False) -> None: ...


async def test_a_page_that_ended_with_its_browser_did_not_crash_alone() -> None:
    browser, page = [await asyncio.create_subprocess_exec("sleep", "60") for _ in range(2)]
    autopsy = Autopsy(Slow(browser.pid))
    autopsy._page = psutil.Process(page.pid)
    for one in (browser, page):
        one.kill()
        await one.wait()
    lost = await autopsy.explain()
    assert lost is not None and "signal 9" in str(lost)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells that a process ends")
async def test_a_page_whose_sockets_are_closed_is_seen_to_have_crashed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is gone only once it gets the processor again, which this process has."""
    monkeypatch.setattr(mending, "_LOOKS", 1)
    monkeypatch.setattr(mending, "_LOOK_S", 0)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        autopsy = Autopsy(Slow(os.getpid(), 3600))
        for _ in range(10):
            command = ["nice", "-n", "19", "sleep", "60"]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as page:  # noqa: ASYNC220
                autopsy._page = psutil.Process(page.pid)
                page.kill()
                assert page.stdout and page.stdout.read() == b"", "closed"
                lost = await autopsy.explain()
            assert lost is not None and f"pid {page.pid}) crashed" in str(lost)
        autopsy.gone.cancel()
    finally:
        os.sched_setaffinity(0, cores)
