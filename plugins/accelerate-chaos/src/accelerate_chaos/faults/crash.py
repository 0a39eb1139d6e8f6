# SPDX-License-Identifier: Apache-2.0
"""Processes of a browser that die or stand still."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from accelerate_core.errors import Unsupported, WorkerLost
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Context

from ..hookspecs.fault import Fault, Proof
from ..victim import Victim, send, until_gone, until_stopped

if TYPE_CHECKING:
    import psutil


def _pids(processes: list[psutil.Process]) -> str:
    numbers = ", ".join(str(process.pid) for process in processes)
    return f"pid {numbers}" if len(processes) == 1 else f"pids {numbers}"


class _Crash(Fault):
    """Kill some of the victim's processes."""

    def targets(self, victim: Victim) -> list[psutil.Process]:
        raise NotImplementedError

    async def inject(self, victim: Victim) -> Proof:
        """Send SIGKILL and wait until the processes are gone."""
        if reason := self.obstacle(victim):
            raise Unsupported(reason, where=victim.name)
        processes = self.targets(victim)
        at_ns = await send(victim, processes, signal.SIGKILL)
        if not await until_gone(processes):
            raise WorkerLost(f"{_pids(processes)} survived SIGKILL", where=victim.name)
        verb = "is" if len(processes) == 1 else "are"
        return Proof(at_ns=at_ns, seen=f"{_pids(processes)} {verb} gone")


class BrowserCrash(_Crash):
    """Kill the browser's main process."""

    def targets(self, victim: Victim) -> list[psutil.Process]:
        """Return the root."""
        return [victim.root()]


class RendererCrash(_Crash):
    """Kill the process that runs the page."""

    def targets(self, victim: Victim) -> list[psutil.Process]:
        """Return the page's processes."""
        return victim.pages()

    def obstacle(self, victim: Victim) -> str | None:
        """Return why there is none."""
        return None if victim.pages() else "its page has no process of its own"


class GpuProcessCrash(_Crash):
    """Kill the process that drives the GPU."""

    def targets(self, victim: Victim) -> list[psutil.Process]:
        """Return the GPU's processes."""
        return victim.gpu()

    def obstacle(self, victim: Victim) -> str | None:
        """Return why there is none."""
        return None if victim.gpu() else "its browser drives the GPU in no process of its own"


class RendererHang(Fault):
    """Stop the process that runs the page; its sockets stay open."""

    def __init__(self) -> None:
        self._stopped: list[psutil.Process] = []

    def obstacle(self, victim: Victim) -> str | None:
        """Return why there is none."""
        return None if victim.pages() else "its page has no process of its own"

    async def inject(self, victim: Victim) -> Proof:
        """Send SIGSTOP and wait until the processes are in state T."""
        if reason := self.obstacle(victim):
            raise Unsupported(reason, where=victim.name)
        self._stopped = victim.pages()
        at_ns = await send(victim, self._stopped, signal.SIGSTOP)
        # The fleet may kill it meanwhile: it stood still until then.
        if not await until_stopped(self._stopped) and not await until_gone(self._stopped, 0.0):
            raise WorkerLost(f"{_pids(self._stopped)} did not stop", where=victim.name)
        return Proof(at_ns=at_ns, seen=f"{_pids(self._stopped)} in state T")

    async def lift(self) -> None:
        """Let what still lives go on."""
        for process in self._stopped:
            if process.is_running():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGCONT)
        self._stopped = []


class BrowserCrashPlugin:
    """Offer the fault `browser_crash`."""

    name = "browser_crash"

    @hookimpl
    def fault_create(self, settings: None, ctx: Context) -> Fault:
        """Return the fault."""
        return BrowserCrash()


class RendererCrashPlugin:
    """Offer the fault `renderer_crash`."""

    name = "renderer_crash"

    @hookimpl
    def fault_create(self, settings: None, ctx: Context) -> Fault:
        """Return the fault."""
        return RendererCrash()


class GpuProcessCrashPlugin:
    """Offer the fault `gpu_process_crash`."""

    name = "gpu_process_crash"

    @hookimpl
    def fault_create(self, settings: None, ctx: Context) -> Fault:
        """Return the fault."""
        return GpuProcessCrash()


class RendererHangPlugin:
    """Offer the fault `renderer_hang`."""

    name = "renderer_hang"

    @hookimpl
    def fault_create(self, settings: None, ctx: Context) -> Fault:
        """Return the fault."""
        return RendererHang()
