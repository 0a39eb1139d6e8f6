# SPDX-License-Identifier: Apache-2.0
"""A machine that has no memory or no time left. What is started here ends with its pipe."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

import attrs

from accelerate_core.errors import WorkerLost
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Context

from ..hookspecs.fault import Fault, Proof
from ..victim import Victim

#: More than this share of the memory that is free is never taken.
MOST_SHARE = 0.5
_BUSY_S = 0.2

#: Both end when their standard input does: with whoever started them, however that ends.
_HOLD = """
import sys
size = int(sys.argv[1])
held = bytearray(size)
held[::4096] = b"x" * len(range(0, size, 4096))
print("held", flush=True)
sys.stdin.read()
"""
_SPIN = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
print("busy", flush=True)
while True:
    pass
"""


class _Helpers:
    """Processes of ours that burden the machine."""

    def __init__(self) -> None:
        self.running: list[Process] = []

    async def start(self, code: str, *arguments: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, *arguments, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
        )
        self.running.append(process)
        assert process.stdout is not None
        if not await process.stdout.readline():
            raise WorkerLost("a process that was to burden the machine ended", where="chaos")
        return process

    async def end(self) -> None:
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for process in self.running:
            # Reading to the end closes the pipe's transport with the process.
            await process.communicate()
        self.running = []


@attrs.frozen(kw_only=True)
class PressureSettings:
    """Say how much memory is taken."""

    #: Share of the memory that is free, at most one half of it.
    share: float = attrs.field(
        default=0.25, validator=[attrs.validators.gt(0), attrs.validators.le(MOST_SHARE)]
    )
    #: Never more bytes than this.
    most_bytes: int = attrs.field(default=512 << 20, validator=attrs.validators.ge(1 << 20))


class MemoryPressure(Fault):
    """Hold memory that the browsers could use."""

    def __init__(self, settings: PressureSettings) -> None:
        self._settings = settings
        self._helpers = _Helpers()

    async def inject(self, victim: Victim) -> Proof:
        """Take memory, touch every page of it, and see it held."""
        import psutil

        size = min(int(free_bytes() * self._settings.share), self._settings.most_bytes)
        at_ns = time.perf_counter_ns()
        process = await self._helpers.start(_HOLD, str(size))
        held = psutil.Process(process.pid).memory_info().rss
        if held < size:
            raise WorkerLost(f"only {held} of {size} bytes are held", where="chaos")
        return Proof(at_ns=at_ns, seen=f"pid {process.pid} holds {held / (1 << 20):.0f} MiB")

    async def lift(self) -> None:
        """Give the memory back."""
        await self._helpers.end()


@attrs.frozen(kw_only=True)
class ThrottleSettings:
    """Say how many processes compete for the cores."""

    #: Busy processes for each core.
    per_core: int = attrs.field(default=1, validator=attrs.validators.in_(range(1, 9)))


class CpuThrottling(Fault):
    """Let busy processes compete for every core."""

    def __init__(self, settings: ThrottleSettings) -> None:
        self._settings = settings
        self._helpers = _Helpers()

    async def inject(self, victim: Victim) -> Proof:
        """Start busy processes at the browsers' own priority, and see them take their share."""
        import psutil

        count = self._settings.per_core * cores()
        at_ns = time.perf_counter_ns()
        started = [await self._helpers.start(_SPIN) for _ in range(count)]
        await asyncio.sleep(_BUSY_S)
        used_s = sum(psutil.Process(one.pid).cpu_times().user for one in started)
        if used_s <= 0:
            raise WorkerLost("the busy processes got no time", where="chaos")
        seen = f"{count} busy processes used {used_s:.2f} s of {cores()} cores"
        return Proof(at_ns=at_ns, seen=seen)

    async def lift(self) -> None:
        """End the busy processes."""
        await self._helpers.end()


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_bytes() -> int:
    """Return the memory that is free, in this control group where there is one."""
    import psutil

    free: int = psutil.virtual_memory().available
    folder = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        limit = int((folder / "memory.max").read_text())  # "max" where there is none
        free = min(free, max(0, limit - int((folder / "memory.current").read_text())))
    return free


class MemoryPressurePlugin:
    """Offer the fault `memory_pressure`."""

    name = "memory_pressure"
    settings = PressureSettings

    @hookimpl
    def fault_create(self, settings: PressureSettings, ctx: Context) -> Fault:
        """Return the fault."""
        return MemoryPressure(settings)


class CpuThrottlingPlugin:
    """Offer the fault `cpu_throttling`."""

    name = "cpu_throttling"
    settings = ThrottleSettings

    @hookimpl
    def fault_create(self, settings: ThrottleSettings, ctx: Context) -> Fault:
        """Return the fault."""
        return CpuThrottling(settings)
