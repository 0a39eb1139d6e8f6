# SPDX-License-Identifier: Apache-2.0
"""Closing, or Ctrl-C, while workers start, are mended or run: quick, and nothing is left."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from accelerate_core.errors import AccelerateError
from accelerate_core.fleet.policy import Mend, Retry
from accelerate_core.running.runner import Runner
from accelerate_core.running.workers import CLOSE_TIMEOUT_S
from accelerate_core.testing.fake import FakeBackend, FakeSettings

STAGES = ("start", "mend", "run")


class Mending:
    def decide(self, failed: Any, job: Any, fleet: Any) -> Retry:
        return Retry(mend=Mend.PAGE)


class Stuck(FakeBackend):
    """Stay in one stage for ever; say when it is reached, and what became of the worker."""

    def __init__(self, stage: str) -> None:
        super().__init__(
            FakeSettings(latency_ms=0, device_lost_every=1 if stage == "mend" else None)
        )
        self.stage = stage
        self.reached = asyncio.Event()
        self.ended: list[str] = []

    async def stay(self) -> None:
        self.reached.set()
        try:
            await asyncio.sleep(3600)
        finally:
            self.ended.append(f"{self.stage} given up")

    async def start(self, target: Any, ctx: Any) -> Any:
        if self.stage == "start":
            await self.stay()
        worker: Any = await super().start(target, ctx)
        close = worker.close

        async def noted(*, kill: bool = False) -> None:
            self.ended.append("worker closed")
            await close(kill=kill)

        async def stay(*given: Any, **named: Any) -> Any:
            await self.stay()

        worker.close = noted
        if self.stage in ("mend", "run"):
            setattr(worker, self.stage, stay)
        return worker

    async def close(self) -> None:
        self.ended.append("backend closed")

    @property
    def expected(self) -> list[str]:
        first = f"{self.stage} given up"
        return [first, *([] if self.stage == "start" else ["worker closed"]), "backend closed"]


@pytest.mark.parametrize("stage", STAGES)
async def test_closing_gives_up_what_is_under_way(context, work, inputs, stage: str) -> None:
    backend = Stuck(stage)
    runner = Runner({"fake": backend}, context, recovery=Mending())
    task = asyncio.create_task(runner.submit(work, inputs))
    await asyncio.wait_for(backend.reached.wait(), 5)
    begin = time.perf_counter()
    await runner.close()
    assert time.perf_counter() - begin < CLOSE_TIMEOUT_S / 2, "nobody waited for it"
    with pytest.raises(AccelerateError):
        await asyncio.wait_for(task, 5)
    assert backend.ended == backend.expected and not runner.live()


HOST = """
import asyncio, sys
from pathlib import Path
from tests.core.test_interrupted import Mending, Stuck
from accelerate_core.host import Host
from accelerate_core.running.runner import Runner
from accelerate_core.running.work import Work
from accelerate_core.testing import models
from accelerate_core.types import Target

async def main(stage, folder):
    ctx = Host(cache_dir=folder / "cache", state_dir=folder / "state").context
    backend = Stuck(stage)
    runner = Runner({"fake": backend}, ctx, recovery=Mending())
    work = Work(spec=models.tiny_mlp(ctx.assets), targets=(Target("fake"),))
    job = asyncio.create_task(runner.submit(work, models.mlp_input()))
    try:
        await backend.reached.wait()
        print("reached", flush=True)
        await job
    finally:
        await runner.close()
        job.cancel()
        assert backend.ended == backend.expected, backend.ended
        print("closed", flush=True)

asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
"""


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupted_host_closes_what_it_has(stage: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOST, stage, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as host:
        try:
            assert host.stdout
            assert host.stdout.readline() == "reached\n", host.stderr and host.stderr.read()
            host.send_signal(signal.SIGINT)
            out, err = host.communicate(timeout=20)
        finally:
            host.kill()
    assert out == "closed\n" and "KeyboardInterrupt" in err, err
    assert host.returncode == -signal.SIGINT
