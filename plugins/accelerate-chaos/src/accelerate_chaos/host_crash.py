# SPDX-License-Identifier: Apache-2.0
"""Kill the process that runs a fleet, start another, and see what was lost or left behind.

Jobs are durable: what the old process had accepted, the new one finishes under the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from accelerate_browser import processes

from accelerate_core.errors import WorkerLost
from accelerate_core.host import Host

from .checker import Checker
from .experiment import Plan, Tell
from .records import Request, Row, Struck
from .workload import tiny

#: A coordinator that answers nothing for this long is given up.
_PATIENCE_S = 90.0


async def run(
    host: Host,
    plan: Plan,
    *,
    stop: asyncio.Event | None = None,
    tell: Tell = lambda _: None,
) -> Row:
    """Return what became of the requests while their coordinator was killed every so often.

    `stop` ends it early and keeps what was seen. WorkerLost when a coordinator answers nothing.
    """
    crashing = _Crashing(host, plan, stop or asyncio.Event(), tell)
    try:
        await crashing.run(await tiny(host))
    finally:
        # What the last one left where no other came after it to clear away.
        if not crashing.is_over:
            await asyncio.to_thread(processes.reap_orphans, host.context.state_dir)
    return await asyncio.to_thread(crashing.row)


class _Crashing:
    def __init__(self, host: Host, plan: Plan, stop: asyncio.Event, tell: Tell) -> None:
        self._host = host
        self._plan = plan
        self._stop = stop
        self._tell = tell
        self._checker = Checker()
        self._began_ns = time.perf_counter_ns()
        self._asked_ns: dict[int, int] = {}
        self._accepted: set[int] = set()
        self._requests: dict[int, Request] = {}
        self._struck: list[Struck] = []
        self._kills = max(1, int(plan.seconds / plan.every_s))
        self._launches: dict[str, int] = {}
        self._expected: Any = ()

    async def run(self, workload: Any) -> None:
        self._expected = workload.expected
        while not (self._stop.is_set() or self.is_over):
            before = len(self._requests)
            await self._life()
            if len(self._requests) == before and not self._stop.is_set():
                raise WorkerLost("the coordinator answered nothing", where="host_crash")

    @property
    def is_over(self) -> bool:
        """Whether every request has ended."""
        return len(self._requests) == self._plan.requests

    def row(self) -> Row:
        state = self._host.context.state_dir
        folders = sum(
            folder.exists()
            for tag in self._launches
            for folder in (state / "launches" / tag, Path("/tmp") / f"accelerate-{tag}")
        )
        return Row(
            scenario=self._plan.scenario,
            strategy=self._plan.fleet.strategy or "none",
            targets=tuple(map(str, self._plan.fleet.targets)),
            seed=self._plan.seed,
            rate=self._plan.rate,
            deadline_s=self._plan.deadline_s,
            began_ns=self._began_ns,
            requests=tuple(self._requests[number] for number in sorted(self._requests)),
            struck=tuple(self._struck),
            findings=() if self._stop.is_set() else self._checker.findings(),
            processes_left=len(processes.members_of(self._launches)),
            folders_left=folders,
            is_interrupted=self._stop.is_set(),
        )

    async def _life(self) -> None:
        """Let one coordinator answer until it is killed, or done, or `stop`."""
        began_s = time.monotonic()
        process = await self._start()
        killing: asyncio.Task[None] | None = None
        try:
            while line := await self._line(process):
                said = json.loads(line)
                self._launches.update(said.get("launches", {}))
                if said.get("done"):
                    break
                if "asked" in said:
                    self._ask(said["asked"])
                if "accepted" in said:
                    self._accepted.add(said["accepted"])
                if "request" in said:
                    self._hear(said)
                    # Not before its first answer: each life gets on.
                    wait_s = began_s + self._plan.every_s - time.monotonic()
                    if killing is None and len(self._struck) < self._kills:
                        killing = asyncio.create_task(self._kill(process, wait_s))
            else:
                # Its pipe ends before the kill was seen to have happened.
                if killing is not None and not self._stop.is_set():
                    await killing
        finally:
            if killing is not None:
                killing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await killing
            await asyncio.shield(self._end(process))

    async def _end(self, process: Process) -> None:
        """End a coordinator with its pipe: it closes its browsers."""
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _PATIENCE_S)
        if process.returncode is None:
            process.kill()
        await process.communicate()

    def _ask(self, number: int) -> None:
        # One whose coordinator died before it was accepted is asked again.
        if number not in self._asked_ns:
            self._asked_ns[number] = time.perf_counter_ns()
            self._checker.asked(f"r{number}", self._expected[number % len(self._expected)])

    async def _start(self) -> Process:
        context = self._host.context
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "accelerate_chaos.coordinator",
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={
                **os.environ,
                "ACCELERATE_CACHE_DIR": str(context.cache_dir),
                "ACCELERATE_STATE_DIR": str(context.state_dir),
            },
            start_new_session=True,
            limit=1 << 20,
        )
        told = {
            "targets": [str(target) for target in self._plan.fleet.targets],
            "strategy": self._plan.fleet.strategy,
            "settings": {
                "max_workers": self._plan.fleet.settings.max_workers,
                "min_workers": self._plan.fleet.settings.min_workers,
            },
            # What was accepted is not asked again: the journal has it, or it is lost.
            "accepted": sorted(self._accepted - self._requests.keys()),
            "requests": [n for n in range(self._plan.requests) if n not in self._accepted],
            "rate": self._plan.rate,
        }
        assert process.stdin is not None
        process.stdin.write(json.dumps(told).encode() + b"\n")
        await process.stdin.drain()
        return process

    async def _line(self, process: Process) -> bytes:
        """Return the next line; nothing once it ended, was silent for too long, or `stop`."""
        assert process.stdout is not None
        reading = asyncio.create_task(process.stdout.readline())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait(
                {reading, stopped}, timeout=_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
            )
            return reading.result() if reading.done() and not self._stop.is_set() else b""
        finally:
            for task in (reading, stopped):
                task.cancel()
            await asyncio.gather(reading, stopped, return_exceptions=True)

    def _hear(self, said: dict[str, Any]) -> None:
        number = said["request"]
        request, error = f"r{number}", said.get("error")
        now = time.perf_counter_ns()
        if error is not None:
            self._checker.refused(request, WorkerLost(error))
        else:
            outputs = {
                name: np.asarray(value, np.float32) for name, value in said["outputs"].items()
            }
            self._checker.answered(request, outputs, str(number))
        ended = Request(number=number, asked_ns=self._asked_ns[number], ended_ns=now, error=error)
        self._requests[number] = ended
        self._tell(ended)
        last = self._struck[-1] if self._struck else None
        if last is not None and not last.recovery_ms:
            self._struck[-1] = attrs.evolve(last, recovery_ms=((now - last.at_ns) / 1e6,))

    async def _kill(self, process: Process, wait_s: float) -> None:
        await asyncio.sleep(max(0.0, wait_s))
        at_ns = time.perf_counter_ns()
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        seen = f"pid {process.pid} ended with {process.returncode}"
        struck = Struck(fault="host_crash", at_ns=at_ns, ended_ns=at_ns, seen=seen)
        self._struck.append(struck)
        self._tell(struck)
