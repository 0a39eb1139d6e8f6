# SPDX-License-Identifier: Apache-2.0
"""The process that `host_crash` kills: a fleet of its own, told by lines of JSON what to answer.

In: one line, what to run. Out: a line for each job that is accepted, for the launches, and for each
answer. It ends when its standard input does: it never outlives whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from accelerate_core.durable.jobs import DurableJobs
from accelerate_core.durable.journal import open_journal
from accelerate_core.errors import AccelerateError
from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.host import Host
from accelerate_core.running.work import Work
from accelerate_core.testing.models import tiny_mlp
from accelerate_core.types import Target

from .fleet import Fleet, FleetPlan, opened
from .workload import tiny_inputs


async def _accept(
    jobs: DurableJobs, fleet: Fleet, work: Work, number: int, inputs: Mapping[str, Any]
) -> None:
    _say({"asked": number})
    try:
        await jobs.accept(work, inputs, job_id=f"r{number}")
    except AccelerateError as error:
        _say({"request": number, "error": error.info.kind})
        return
    _say({"accepted": number})
    await _answer(jobs, fleet, number)


async def _answer(jobs: DurableJobs, fleet: Fleet, number: int) -> None:
    said: dict[str, Any] = {"request": number}
    try:
        outputs = (await jobs.answer(f"r{number}")).result.outputs
        said["outputs"] = {name: np.asarray(one).tolist() for name, one in outputs.items()}
    except AccelerateError as error:
        said["error"] = error.info.kind
    _say({"launches": fleet.launches()})
    _say(said)


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


async def main(told: dict[str, Any]) -> None:
    """Answer the requests at their rate; end, and leave nothing, once nobody listens."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()

    def listen() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(task.cancel)

    threading.Thread(target=listen, daemon=True).start()
    host = Host()
    targets = tuple(Target.parse(text) for text in told["targets"])
    plan = FleetPlan(
        targets=targets,
        strategy=told["strategy"],
        settings=FleetSettings(**told["settings"]),
    )
    work = Work(spec=tiny_mlp(host.context.assets), targets=targets)
    inputs = tiny_inputs()
    async with opened(host, plan) as fleet:
        journal = await asyncio.to_thread(open_journal, host.context.state_dir)
        jobs = DurableJobs(fleet.runner, journal)
        try:
            # What a killed process had accepted is done without anybody asking again.
            await jobs.resume()
            async with asyncio.TaskGroup() as group:
                for number in told["accepted"]:
                    group.create_task(_answer(jobs, fleet, number))
                for number in told["requests"]:
                    given = inputs[number % len(inputs)]
                    group.create_task(_accept(jobs, fleet, work, number, given))
                    await asyncio.sleep(1 / told["rate"])
            _say({"done": True})
            await asyncio.Event().wait()
        finally:
            await jobs.close()


if __name__ == "__main__":
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main(json.loads(sys.stdin.readline())))
