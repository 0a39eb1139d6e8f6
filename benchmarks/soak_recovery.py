# SPDX-License-Identifier: Apache-2.0
"""One fault at a time, many times: from the fault to the answer of a spare, or of a new device."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import numpy as np
from accelerate_chaos import turns
from accelerate_chaos.experiment import Plan
from accelerate_chaos.fleet import FleetPlan
from accelerate_chaos.records import Row
from accelerate_chaos.workload import slow

from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.types import Target

from ._chaos import figure, recovery
from ._measure import Figure
from ._progress import Progress
from ._world import Options, new_host

_BROWSERS = ("chromium-headless-shell",)
_SAMPLES = 110
#: Matrices of a run: tens of milliseconds (200 on a software GPU), so that a fault hits one.
_SIZE = 128
#: How many milliseconds the 99th percentile may take.
_LIMITS_MS = {"browser_crash": 150.0, "renderer_hang": 500.0}
_STUCK_RATIO = 3.0
_DEVICE_MS = 500.0
_DEVICE_SAMPLES = 24


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield recoveries from a kill, a stop, a stuck thread, and a lost device."""
    for browser in options.browsers(_BROWSERS):
        target = Target("wasm", "ort", browser)
        for scenario, limit in _LIMITS_MS.items():
            row = await _turns(options, scenario, _spared(target))
            yield recovery("soak_recovery_" + scenario, row, limit)
            if options.stop.is_set():
                return
        # Only a strategy that hedges does not wait for a thread that is merely stuck.
        row = await _turns(options, "component_timeout", _spared(target, "parallel"))
        yield _stuck(row)
        if options.stop.is_set():
            return
    # One worker: only itself, with another device, can answer what it was asked.
    alone = FleetPlan(
        targets=(Target("webgpu", "plan", "chromium"),),
        settings=FleetSettings(max_workers=1, min_workers=1),
        backends={"args": ("--disable-gpu-process-crash-limit",)},
    )
    row = await _turns(options, "device_lost", alone, _DEVICE_SAMPLES)
    yield recovery("soak_recovery_device_lost", row, _DEVICE_MS)
    yield figure("soak_recovery_device_lost", "browsers_lost", row.workers_lost, "", row, at_most=0)


def _spared(target: Target, strategy: str = "immediate") -> FleetPlan:
    return FleetPlan(
        targets=(target,),
        strategy=strategy,
        settings=FleetSettings(max_workers=3, min_workers=2, hot_spares=1),
        backends={"threads": 1},
    )


async def _turns(options: Options, scenario: str, fleet: FleetPlan, samples: int = _SAMPLES) -> Row:
    count = options.length(samples, 4)
    progress = Progress(f"{scenario} samples", count)
    plan = Plan(scenario=scenario, fleet=fleet, requests=count, deadline_s=30.0)
    with new_host() as host:
        workload = await slow(host, _SIZE)
        return await turns.run(host, plan, workload, stop=options.stop, each=progress.at)


def _stuck(row: Row) -> Figure:
    """Compare with the p95 of runs that nothing hindered: what a hedge waits for."""
    found = recovery("soak_recovery_component_timeout", row, 0.0)
    if not row.recoveries_ms:
        return found
    p95 = float(np.percentile(row.runs_ms, 95))
    ratio = found.value / p95
    more = {"p95_ms": p95, "p99_ms": found.value}
    return attrs.evolve(
        found,
        figure=found.figure.replace("p99_ms", "p99_ratio"),
        value=ratio,
        unit="x",
        at_most=_STUCK_RATIO,
        conditions={**more, **found.conditions},
    )
