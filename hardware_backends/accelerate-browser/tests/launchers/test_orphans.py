# SPDX-License-Identifier: Apache-2.0
"""Hosts that die without closing: what they leave is found and ended, and nothing else is."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from accelerate_browser import processes
from accelerate_browser.browsers import BrowserFound, find_browser
from accelerate_browser.hookspecs.launcher import LaunchRequest
from accelerate_browser.launchers.process import ProcessLauncher, ProcessSettings
from accelerate_browser.slots import SlotPool
from accelerate_browser.testing.launcher import leftovers, serve_page

_NOBODY = (1 << 22) + 7  # above the highest pid of Linux

# A host that leases a slot, starts a browser in it, and then waits for its end.
_HOST = """
import asyncio, sys
from pathlib import Path
from accelerate_browser.browsers import find_browser
from accelerate_browser.hookspecs.launcher import LaunchRequest
from accelerate_browser.launchers.process import ProcessLauncher, ProcessSettings
from accelerate_browser.slots import SlotPool

async def main(state, cache, name, url):
    lease = SlotPool(state).acquire(name)
    request = LaunchRequest(browser=find_browser(name, cache), url=url, profile=lease.profile)
    launched = await ProcessLauncher(ProcessSettings(), state).launch(request)
    print(request.tag, launched.pid, lease.port, flush=True)
    await asyncio.sleep(600)

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
"""


def _host(state: Path, cache: Path, name: str, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _HOST, str(state), str(cache), name, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.parametrize("name", ["chromium", "webkitgtk"])
async def test_a_killed_host_is_cleaned_up_after_at_the_next_start(
    name: str, tmp_path: Path, browser_cache: Path
) -> None:
    state = tmp_path / "state"
    shell = find_browser("chromium-headless-shell", browser_cache)
    browser = find_browser(name, browser_cache)
    assert isinstance(shell, BrowserFound) and isinstance(browser, BrowserFound)
    launcher = ProcessLauncher(ProcessSettings(), state)
    pool = SlotPool(state)  # the next start
    async with serve_page() as page:
        mine = await launcher.launch(
            LaunchRequest(browser=shell, url=page.url, profile=tmp_path / "mine")
        )
        try:
            await page.report(mine)
            with _host(state, browser_cache, name, page.url) as host:
                assert host.stdout
                tag, pid, port = (await asyncio.to_thread(host.stdout.readline)).split()
                await asyncio.wait_for(page.reports.get(), 60)
                orphans = processes.members(tag)
                # A stopped process cannot notice that its browser is gone. Browsers end helpers as
                # they like: it is one that is still there.
                stopped = next(one for one in reversed(orphans) if _stop(one))
                host.kill()
            assert psutil.pid_exists(int(pid)) and leftovers(state, tag)
            displays = _displays()
            lease = await asyncio.to_thread(pool.acquire, name)
            assert leftovers(state, tag) == [] and not processes.is_running(stopped)
            assert not [one for one in orphans if processes.is_running(one)]
            if name == "webkitgtk":
                assert _displays() < displays
            assert processes.pid_is_running(mine.pid)
            assert (lease.slot_id, lease.port) == (0, int(port))
            again = await launcher.launch(
                LaunchRequest(browser=browser, url=page.url, profile=lease.profile)
            )
            await page.report(again)
            await again.close()
        finally:
            await mine.close()
            pool.close()


def _stop(process: psutil.Process) -> bool:
    try:
        process.send_signal(signal.SIGSTOP)
    except psutil.NoSuchProcess:
        return False
    return True


def _displays() -> set[str]:
    return {path.name for path in Path("/tmp/.X11-unix").glob("X*")}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
async def test_a_host_that_is_interrupted_ends_its_browser(
    how: signal.Signals, tmp_path: Path, browser_cache: Path
) -> None:
    with _host(tmp_path, browser_cache, "chromium-headless-shell", "http://127.0.0.1:9/") as host:
        assert host.stdout
        tag = (await asyncio.to_thread(host.stdout.readline)).split()[0]
        assert leftovers(tmp_path, tag)
        host.send_signal(how)
    if how == signal.SIGKILL:
        assert leftovers(tmp_path, tag)
        assert processes.reap_orphans(tmp_path) >= 1
    assert leftovers(tmp_path, tag) == []


def test_a_tag_tells_its_owner() -> None:
    tag = processes.new_tag()
    pid, start, namespace, rest = tag.split("-")
    assert processes.owner_is_alive(tag)
    earlier = f"{int(start, 16) - 60:x}"
    assert not processes.owner_is_alive(f"{pid}-{earlier}-{namespace}-{rest}")  # a reused pid
    assert not processes.owner_is_alive(f"{_NOBODY:x}-{start}-{namespace}-{rest}")
    assert processes.owner_is_alive(f"{_NOBODY:x}-{start}-1-{rest}")  # in another container
    assert processes.owner_is_alive("somebody else's variable")


def test_a_host_that_nobody_waited_for_is_dead() -> None:
    with subprocess.Popen(["true"]) as host:
        while processes.pid_is_running(host.pid):
            pass
        assert psutil.Process(host.pid).status() == psutil.STATUS_ZOMBIE
        started = int(psutil.Process(host.pid).create_time())
        _, _, namespace, rest = processes.new_tag().split("-")
        assert not processes.owner_is_alive(f"{host.pid:x}-{started:x}-{namespace}-{rest}")


def test_folders_of_others_are_not_touched(tmp_path: Path) -> None:
    mine, foreign = processes.new_tag(), "this-is-not-a-tag"
    dead = "-".join([f"{_NOBODY:x}", *mine.split("-")[1:]])
    for name in (dead, mine, foreign):
        (tmp_path / "launches" / name / "tmp").mkdir(parents=True)
    processes.reap_orphans(tmp_path)
    assert {entry.name for entry in (tmp_path / "launches").iterdir()} == {mine, foreign}


def test_a_session_that_belongs_to_somebody_else_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        assert processes.members(processes.new_tag(), stranger.pid) == []
        assert processes.kill(processes.new_tag(), stranger.pid) == 0
        assert stranger.poll() is None
        stranger.kill()


def test_sockets_fit_into_the_folder_of_a_launch(tmp_path: Path) -> None:
    short = Path(tempfile.mkdtemp(prefix="a", dir="/tmp"))
    for state in (tmp_path / ("long" * 20), short):
        folder = processes.make_folder(state, processes.new_tag())
        try:
            path = f"{folder}/tmp/org.chromium.Chromium.XXXXXX/SingletonSocket"
            assert len(path) < 104
            assert folder.stat().st_mode & 0o777 == 0o700
        finally:
            processes.remove_folder(folder)
        assert not folder.exists()
    (short / "launches").rmdir()
    short.rmdir()
