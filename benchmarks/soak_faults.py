# SPDX-License-Identifier: Apache-2.0
"""Ten thousand requests while something random breaks every three seconds, and every second."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
from accelerate_chaos import experiment
from accelerate_chaos.experiment import Plan
from accelerate_chaos.fleet import FleetPlan
from accelerate_chaos.workload import tiny

from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.types import Target

from ._chaos import figure, kept, told
from ._measure import Figure
from ._world import Options, new_host

_BROWSERS = ("chromium-headless-shell", "firefox")
_REQUESTS = 10_000
_RATE = 20.0
_EVERY_S = (3.0, 1.0)


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield what must never be, and the latency, for each distance between faults."""
    targets = tuple(Target("wasm", "ort", one) for one in options.browsers(_BROWSERS))
    for every_s in _EVERY_S:
        plan = Plan(
            scenario="random",
            fleet=FleetPlan(
                targets=targets,
                settings=FleetSettings(max_workers=5, min_workers=2, hot_spares=1),
                backends={"threads": 1},
            ),
            requests=options.length(_REQUESTS, 200),
            rate=_RATE,
            every_s=every_s,
        )
        with new_host() as host:
            tell = told(plan.requests)
            row = await experiment.run(host, plan, await tiny(host), stop=options.stop, tell=tell)
        name = f"soak_faults_every_{every_s:g}_s"
        for one in kept(name, row):
            yield one
        if row.latencies_ms:
            p99 = float(np.percentile(row.latencies_ms, 99))
            yield figure(name, "latency_p99_ms", p99, "ms", row, at_most=1e3 * plan.deadline_s)
        if options.stop.is_set():
            return
