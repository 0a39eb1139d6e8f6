# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the process that runs the fleet, every half minute: is an accepted request lost?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from accelerate_chaos import host_crash, scenarios
from accelerate_chaos.experiment import Plan
from accelerate_chaos.fleet import FleetPlan

from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.types import Target

from ._chaos import kept, recovery, told
from ._measure import Figure
from ._world import Options, new_host

_BROWSER = "chromium-headless-shell"
_KILLS = 8
_EVERY_S = 30.0
_RATE = 10.0
_RESUMED_MS = 3000.0


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield what was lost and how soon the next process answered, native and in a browser."""
    kills = options.length(_KILLS, 1)
    every_s = 4.0 if options.quick else _EVERY_S
    names = options.browsers((_BROWSER,))
    for target in (Target("cpu"), *(Target("wasm", "ort", name) for name in names)):
        plan = Plan(
            scenario=scenarios.HOST_CRASH,
            fleet=FleetPlan(
                targets=(target,), settings=FleetSettings(max_workers=2, min_workers=1)
            ),
            requests=int((kills + 0.5) * every_s * _RATE),
            rate=_RATE,
            every_s=every_s,
        )
        with new_host() as host:
            tell = told(plan.requests)
            row = await host_crash.run(host, plan, stop=options.stop, tell=tell)
        for one in kept("soak_host", row):
            yield one
        yield recovery("soak_host", row, _RESUMED_MS)
        if options.stop.is_set():
            return
