# SPDX-License-Identifier: Apache-2.0
"""A host with durable jobs to be killed: `python -m accelerate_core.testing.durable_host`.

It takes a folder and a number of jobs, and writes a line to `<folder>/log` about everything that
it was promised: found, accepted, answer, acknowledged. Started again, it goes on where that ends.
The jobs are real matrix products on the `cpu` backend.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..durable.jobs import DurableJobs
from ..durable.journal import open_journal
from ..host import Host
from ..running.runner import Runner
from ..running.work import Work
from ..types import Target
from .models import tiny_matmul

if TYPE_CHECKING:
    from ..types import Array

LOG = "log"


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the lines that were written as a whole."""
    path = folder / LOG
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def said(lines: list[dict[str, Any]], what: str) -> set[int]:
    """Return the numbers of the jobs that something was said of."""
    return {line["job"] for line in lines if line["what"] == what}


def inputs_of(number: int) -> dict[str, Array]:
    """Return the inputs of a job; no two jobs have the same."""
    import numpy as np

    return {"x": np.full((1 + number % 5, 2), number / 16, np.float32)}


async def serve(folder: Path, count: int, at_once: int = 8) -> None:
    """Do the jobs 0 to `count`, those of processes that were killed first."""
    lines = read_log(folder)
    with (folder / LOG).open("a") as log:
        host = Host(cache_dir=folder / "cache", state_dir=folder / "state")
        work = Work(spec=tiny_matmul(host.context.assets), targets=(Target("cpu"),))
        runner = Runner({"cpu": host.create("backends", "cpu")}, host.context)
        jobs = DurableJobs(runner, open_journal(host.context.state_dir))
        for name, is_answered in (await jobs.jobs()).items():
            _say(log, "found", int(name), is_answered=is_answered)
        await jobs.resume()
        gate = asyncio.Semaphore(at_once)

        async def one(number: int) -> None:
            async with gate:
                name = str(number)
                if number not in said(lines, "answer"):
                    await jobs.accept(work, inputs_of(number), job_id=name)
                    _say(log, "accepted", number)
                    answer = await jobs.answer(name)
                    (output,) = answer.result.outputs.values()
                    _say(log, "answer", number, output=output.tolist())  # type: ignore[union-attr]
                await jobs.acknowledge(name)
                _say(log, "acknowledged", number)

        open_ones = sorted(set(range(count)) - said(lines, "acknowledged"))
        await asyncio.gather(*(one(number) for number in open_ones))
        await jobs.close()
        await runner.close()


def _say(log: TextIO, what: str, job: int, **more: Any) -> None:
    # One write: a line that was begun is whole. It survives the process, as the journal does.
    log.write(json.dumps({"what": what, "job": job, "at": time.time(), **more}) + "\n")
    log.flush()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
