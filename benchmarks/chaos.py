# SPDX-License-Identifier: Apache-2.0
"""Faults on real browsers: what is lost, how long recovery takes, what stays behind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import numpy as np
from accelerate_chaos import experiment, host_crash
from accelerate_chaos.experiment import Plan
from accelerate_chaos.fleet import FleetPlan
from accelerate_chaos.records import Row
from accelerate_chaos.workload import Workload, slow, tiny

from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.host import Host
from accelerate_core.types import Target

from ._chaos import figure, kept, recovery
from ._measure import Figure
from ._world import Options, new_host

_BROWSERS = ("chromium", "firefox")
#: Matrices of a run that a fault is likely to hit: tens of milliseconds.
_SIZE = 128
_RECOVERY_MS = {"browser_crash": 150.0, "renderer_hang": 500.0}
_STUCK_RATIO = 3.0


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield the figures of each browser, then those of the host's crash."""
    for browser in options.browsers(_BROWSERS):
        with new_host() as host:
            target = Target("wasm", "ort", browser)
            busy, little = await slow(host, _SIZE), await tiny(host)
            for scenario, limit in _RECOVERY_MS.items():
                row = await _run(host, _plan(options, scenario, target), busy)
                yield recovery(_name(row), row, limit)
                for one in kept(_name(row), row):
                    yield one
            # Only a strategy that hedges does not wait for a thread that is merely stuck.
            plan = _plan(options, "component_timeout", target, strategy="parallel")
            row = await _run(host, plan, busy)
            yield _stuck(row)
            row = await _run(host, _plan(options, "cpu_throttling", target), busy)
            yield figure(_name(row), "healthy_workers_lost", row.workers_lost, "", row, at_most=0)
            row = await _run(host, _random(options, target), little)
            for one in (*kept(_name(row), row), _p99(row)):
                yield one
    with new_host() as host:
        target = Target("wasm", "ort", options.browsers(_BROWSERS)[0])
        plan = _plan(options, "host_crash", target)
        row = await host_crash.run(host, attrs.evolve(plan, every_s=4.0))
        for one in kept(_name(row), row):
            yield one
        yield recovery(_name(row), row, 3000.0)


def _plan(options: Options, scenario: str, target: Target, *, strategy: str = "immediate") -> Plan:
    settings = FleetSettings(max_workers=4, min_workers=3, is_adaptive=True)
    return Plan(
        scenario=scenario,
        fleet=FleetPlan(
            targets=(target,), strategy=strategy, settings=settings, backends={"threads": 1}
        ),
        requests=options.count(160, 40),
        rate=8.0,
        deadline_s=30.0,
        every_s=4.0,
    )


def _random(options: Options, target: Target) -> Plan:
    plan = _plan(options, "random", target)
    count = options.count(600, 60)
    return attrs.evolve(plan, requests=count, rate=20.0, deadline_s=5.0, every_s=3.0)


async def _run(host: Host, plan: Plan, workload: Workload) -> Row:
    return await experiment.run(host, plan, workload)


def _name(row: Row) -> str:
    return f"chaos_{row.scenario}"


def _stuck(row: Row) -> Figure:
    """Compare with the p95 of a request: what a hedge would wait for."""
    if not (times := row.recoveries_ms):
        return recovery(_name(row), row, 0.0)
    p95 = float(np.percentile(row.latencies_ms, 95))
    ratio = float(np.percentile(times, 99)) / p95
    return figure(
        _name(row), "stuck_recovery_ratio", ratio, "x", row, at_most=_STUCK_RATIO, p95_ms=p95
    )


def _p99(row: Row) -> Figure:
    p99 = float(np.percentile(row.latencies_ms, 99))
    return figure(_name(row), "latency_p99_ms", p99, "ms", row, at_most=5000.0)
