# SPDX-License-Identifier: Apache-2.0
"""Native workers that really compute, and die, fail or dawdle as planned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from accelerate_cpu import CpuSettings
from accelerate_cpu.backend import CpuBackend, CpuWorker

from accelerate_core.errors import AccelerateError, WorkerLost
from accelerate_core.protocols import Context, Worker
from accelerate_core.types import Target, WorkerEvent, WorkerEventKind


class Mortal(CpuWorker):
    """Native ONNX Runtime that dies as planned: `before` a run, or `after` it has changed state."""

    plan: dict[int, str]  # by number of the run, counted over all workers
    counted: list[int]

    async def run(self, *args: Any, **kwargs: Any) -> Any:
        result = await super().run(*args, **kwargs)
        fate = self.plan.get(self.latest)
        if fate == "after":
            await self.die()
        if fate == "answers late":
            await asyncio.sleep(5)
        return result

    async def _run_once(self, *args: Any, **kwargs: Any) -> Any:
        self.latest = len(self.counted)
        self.counted.append(self.latest)
        fate = self.plan.get(self.latest)
        if fate == "before":
            await self.die()
        if fate == "slow":
            await asyncio.sleep(5)
        result = await super()._run_once(*args, **kwargs)
        if fate == "fail":
            raise AccelerateError("planned")
        return result

    async def die(self) -> None:
        self.died.set()
        await self.close()
        raise WorkerLost("planned: it died")

    async def events(self) -> AsyncIterator[WorkerEvent]:
        await self.died.wait()
        yield WorkerEvent(kind=WorkerEventKind.LOST, message="planned: it died")


class MortalBackend(CpuBackend):
    def __init__(self, plan: dict[int, str]) -> None:
        super().__init__(CpuSettings(threads=1))
        self.plan = plan
        self.counted: list[int] = []
        self.workers: list[Mortal] = []

    async def start(self, target: Target, ctx: Context) -> Worker:
        worker: Any = await super().start(target, ctx)
        worker.__class__ = Mortal
        worker.plan, worker.counted, worker.died = self.plan, self.counted, asyncio.Event()
        self.workers.append(worker)
        return worker
