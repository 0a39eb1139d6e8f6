# SPDX-License-Identifier: Apache-2.0
"""A browser worker as faults see it: its own processes, its wire, its page."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from accelerate_core.errors import WorkerLost

if TYPE_CHECKING:
    import psutil
    from accelerate_browser.bridge import Connection
    from accelerate_browser.worker import BrowserWorker

    from .relay import Link, Relay

_LOOK_AGAIN_S = 0.005
#: What Firefox calls the content processes that run pages of ours.
_FIREFOX_PAGES = ("Isolated Web Co", "Web Content", "Isolated Servic")


class Victim:
    """One live worker that something is going to happen to."""

    def __init__(self, worker: BrowserWorker, relay: Relay | None = None) -> None:
        self.worker = worker
        self._relay = relay
        self._known: list[psutil.Process] | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.worker.info.target)

    @property
    def connection(self) -> Connection:
        """The bridge's end of the page's socket."""
        return self.worker.connection

    @property
    def link(self) -> Link | None:
        """The page's socket as the relay has it; None without a relay, or when it is gone."""
        if self._relay is None:
            return None
        address = self.connection.peer
        return self._relay.link(address) if address else None

    def root(self) -> psutil.Process:
        """Return the browser's main process; WorkerLost when it is gone."""
        import psutil

        try:
            return psutil.Process(self.worker.launched.pid)
        except psutil.NoSuchProcess:
            raise WorkerLost("its browser is gone already", where=self.name) from None

    def pages(self) -> list[psutil.Process]:
        """Return the processes of the worker's own tree that run its page."""
        return [one for one in self._tree() if _is_page(one)]

    def gpu(self) -> list[psutil.Process]:
        """Return the processes of the worker's own tree that drive the GPU for it."""
        return [one for one in self._tree() if _kind(one) in ("gpu-process", "gpu")]

    def _tree(self) -> list[psutil.Process]:
        """Look once: a fault that knows its processes already strikes at the moment it means to."""
        import psutil

        try:
            if self._known is None:
                self._known = self.root().children(recursive=True)
            return self._known
        except psutil.NoSuchProcess:
            raise WorkerLost("its browser is gone already", where=self.name) from None


def _words(process: psutil.Process) -> list[str]:
    import psutil

    try:
        # Chromium's children write one title over their arguments.
        return " ".join(process.cmdline()).split()
    except psutil.Error:
        return []


def _kind(process: psutil.Process) -> str:
    words = _words(process)
    if "-contentproc" in words:
        return words[-1]
    return next((word[7:] for word in words if word.startswith("--type=")), "")


def _is_page(process: psutil.Process) -> bool:
    import psutil

    words = _words(process)
    if "-contentproc" in words:
        try:
            return process.name() in _FIREFOX_PAGES
        except psutil.Error:
            return False
    is_own = {"--top-chrome-webui", "--extension-process"}.isdisjoint(words)
    return "--type=renderer" in words and is_own


async def send(victim: Victim, processes: list[psutil.Process], number: signal.Signals) -> int:
    """Send a signal to processes of a victim; return the moment. WorkerLost when none is left."""
    at_ns = time.perf_counter_ns()
    reached = 0
    for process in processes:
        try:
            os.kill(process.pid, number)
            reached += 1
        except ProcessLookupError:
            continue
    if not reached:
        raise WorkerLost("its processes are gone already", where=victim.name)
    return at_ns


async def until_gone(processes: list[psutil.Process], within_s: float = 5.0) -> bool:
    """Wait until none of the processes runs; False when some still does."""
    from accelerate_browser.processes import is_running

    return await until(lambda: not any(map(is_running, processes)), within_s)


async def until_stopped(processes: list[psutil.Process], within_s: float = 5.0) -> bool:
    """Wait until every process is in state T; False when some is not."""
    import psutil

    def are_stopped() -> bool:
        try:
            return all(process.status() == psutil.STATUS_STOPPED for process in processes)
        except psutil.NoSuchProcess:
            return False

    return await until(are_stopped, within_s)


async def until(condition: Callable[[], bool], within_s: float) -> bool:
    """Wait until a condition holds; False when it does not in time."""
    ends_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() >= ends_s:
            return False
        await asyncio.sleep(_LOOK_AGAIN_S)
    return True
