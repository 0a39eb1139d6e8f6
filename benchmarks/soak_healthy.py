# SPDX-License-Identifier: Apache-2.0
"""Every core busy with something else for half an hour: is a healthy worker taken for sick?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from accelerate_chaos import experiment
from accelerate_chaos.experiment import Plan
from accelerate_chaos.fleet import FleetPlan
from accelerate_chaos.scenarios import Strike
from accelerate_chaos.workload import slow

from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.types import Target

from ._chaos import figure, kept, told
from ._measure import Figure
from ._world import Options, new_host

_BROWSERS = ("chromium-headless-shell", "firefox")
_MINUTES = 30.0
_RATE = 4.0
_SIZE = 64


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield how many workers were lost or mended though nothing was wrong with any."""
    seconds = options.seconds(_MINUTES, 20)
    plan = Plan(
        scenario="cpu_throttling",
        fleet=FleetPlan(
            targets=tuple(Target("wasm", "ort", one) for one in options.browsers(_BROWSERS)),
            settings=FleetSettings(max_workers=4, min_workers=2),
            backends={"threads": 1},
        ),
        requests=int(seconds * _RATE),
        rate=_RATE,
        deadline_s=60.0,
        strikes=(Strike(at_s=0.0, fault="cpu_throttling", lasts_s=seconds),),
    )
    with new_host() as host:
        tell = told(plan.requests)
        row = await experiment.run(
            host, plan, await slow(host, _SIZE), stop=options.stop, tell=tell
        )
    ended_ns = max((one.ended_ns for one in row.requests), default=row.began_ns)
    more = {"minutes": round((ended_ns - row.began_ns) / 60e9, 1)}
    proof = next((one.seen for one in row.struck if one.seen), None)
    for name, count in (("lost", row.workers_lost), ("mended", row.workers_mended)):
        what = f"healthy_workers_{name}"
        yield figure("soak_healthy", what, count, "", row, at_most=0, seen=proof, **more)
    for one in kept("soak_healthy", row):
        yield one
