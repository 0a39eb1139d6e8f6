# SPDX-License-Identifier: Apache-2.0
"""Faults on real browsers: what is lost, how long recovery takes, what stays behind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import numpy as np
from accelerate_chaos import experiment, host_crash
from accelerate_chaos.checker import Rule
from accelerate_chaos.experiment import Plan
from accelerate_chaos.fleet import FleetPlan
from accelerate_chaos.records import Row
from accelerate_chaos.workload import Workload, slow, tiny

from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.host import Host
from accelerate_core.types import Target

from ._measure import Figure, percentiles
from ._world import Options, conditions, new_host

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
                yield _recovery(row, limit)
                for figure in _kept(row):
                    yield figure
            # Only a strategy that hedges does not wait for a thread that is merely stuck.
            plan = _plan(options, "component_timeout", target, strategy="parallel")
            row = await _run(host, plan, busy)
            yield _stuck(row)
            row = await _run(host, _plan(options, "cpu_throttling", target), busy)
            yield _figure("healthy_workers_lost", row.workers_lost, "", row, at_most=0)
            row = await _run(host, _random(options, target), little)
            for figure in (*_kept(row), _p99(row)):
                yield figure
    with new_host() as host:
        target = Target("wasm", "ort", options.browsers(_BROWSERS)[0])
        plan = _plan(options, "host_crash", target)
        row = await host_crash.run(host, attrs.evolve(plan, every_s=30.0 if options.is_soak else 4))
        for figure in _kept(row):
            yield figure
        yield _recovery(row, 3000.0)


def _plan(options: Options, scenario: str, target: Target, *, strategy: str = "immediate") -> Plan:
    settings = FleetSettings(max_workers=4, min_workers=3, is_adaptive=True)
    return Plan(
        scenario=scenario,
        fleet=FleetPlan(
            targets=(target,), strategy=strategy, settings=settings, backends={"threads": 1}
        ),
        requests=3000 if options.is_soak else options.count(160, 40),
        rate=8.0,
        deadline_s=30.0,
        every_s=4.0,
    )


def _random(options: Options, target: Target) -> Plan:
    plan = _plan(options, "random", target)
    count = 10_000 if options.is_soak else options.count(600, 60)
    return attrs.evolve(plan, requests=count, rate=20.0, deadline_s=5.0, every_s=3.0)


async def _run(host: Host, plan: Plan, workload: Workload) -> Row:
    return await experiment.run(host, plan, workload)


def _recovery(row: Row, limit: float) -> Figure:
    if not (times := row.recoveries_ms):
        return _nothing(row)
    p99 = float(np.percentile(times, 99))
    return _figure("recovery_p99_ms", p99, "ms", row, at_most=limit, recoveries=len(times))


def _nothing(row: Row) -> Figure:
    """Say that no request was hit: a time that was not measured meets no target."""
    return attrs.evolve(_figure("recoveries", 0, "", row, at_most=0), at_most=None, at_least=1)


def _stuck(row: Row) -> Figure:
    """Compare with the p95 of a request: what a hedge would wait for."""
    if not (times := row.recoveries_ms):
        return _nothing(row)
    p95 = float(np.percentile(row.latencies_ms, 95))
    ratio = float(np.percentile(times, 99)) / p95
    return _figure("stuck_recovery_ratio", ratio, "x", row, at_most=_STUCK_RATIO, p95_ms=p95)


def _p99(row: Row) -> Figure:
    p99 = float(np.percentile(row.latencies_ms, 99))
    return _figure("latency_p99_ms", p99, "ms", row, at_most=5000.0)


def _kept(row: Row) -> tuple[Figure, ...]:
    """Count what must never be: a request that ends in an error is no answer, either."""
    unanswered = row.count(Rule.LOST) + len(row.requests) - row.answered
    return (
        _figure("requests_without_answer", unanswered, "", row, at_most=0),
        _figure("wrong", row.count(Rule.WRONG), "", row, at_most=0),
        _figure("accepted_twice", row.count(Rule.DOUBLED), "", row, at_most=0),
        _figure("stale", row.count(Rule.STALE), "", row, at_most=0),
        _figure("processes_left", row.processes_left, "", row, at_most=0),
        _figure("folders_left", row.folders_left, "", row, at_most=0),
    )


def _figure(
    name: str, value: float, unit: str, row: Row, *, at_most: float, **more: object
) -> Figure:
    browser = Target.parse(row.targets[0]).browser
    return Figure(
        figure=f"chaos_{row.scenario}_{browser}_{name}",
        value=value,
        unit=unit,
        at_most=at_most,
        conditions=conditions(
            **more,
            strategy=row.strategy,
            requests=len(row.requests),
            rate=row.rate,
            faults=row.faults,
            reason=row.reason,
            latency_ms=percentiles(row.latencies_ms) if row.latencies_ms else None,
        ),
    )
