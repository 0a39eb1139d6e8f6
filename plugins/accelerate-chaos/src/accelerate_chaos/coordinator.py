# SPDX-License-Identifier: Apache-2.0
"""The process that `host_crash` kills: a fleet of its own, told by lines of JSON what to answer.

In: one line, what to run. Out: one line for each launch and for each answer. It ends when its
standard input does, so that it never outlives whoever started it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np

from accelerate_core.errors import AccelerateError
from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.host import Host
from accelerate_core.runner import Work
from accelerate_core.types import Target

from .fleet import Fleet, FleetPlan, opened
from .workload import Workload, tiny


async def _answer(
    fleet: Fleet, work: Work, workload: Workload, number: int, deadline_s: float
) -> None:
    inputs = workload.inputs[number % len(workload.inputs)]
    said: dict[str, Any] = {"request": number}
    try:
        answer = await fleet.runner.submit(work, inputs, timeout_s=deadline_s)
        outputs = answer.result.outputs
        said["outputs"] = {name: np.asarray(one).tolist() for name, one in outputs.items()}
    except AccelerateError as error:
        said["error"] = error.info.kind
    _say({"launches": fleet.launches()})
    _say(said)


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


async def main(told: dict[str, Any]) -> None:
    """Answer the requests at their rate, then wait until nobody listens."""
    host = Host()
    workload = await tiny(host)
    targets = tuple(Target.parse(text) for text in told["targets"])
    plan = FleetPlan(
        targets=targets,
        strategy=told["strategy"],
        settings=FleetSettings(**told["settings"]),
    )
    work = Work(spec=workload.spec, options=workload.options, targets=targets)
    async with opened(host, plan) as fleet:
        async with asyncio.TaskGroup() as group:
            for number in told["requests"]:
                group.create_task(_answer(fleet, work, workload, number, told["deadline_s"]))
                await asyncio.sleep(1 / told["rate"])
        _say({"done": True})
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.readline())))
