# SPDX-License-Identifier: Apache-2.0
"""Workloads for schedulers: jobs that come by chance, and take what was recorded. Pure.

Times of loads and runs are drawn from `workloads/recorded.json` (how it was taken is in it), which
`python -m benchmarks._record` writes; everything else is in `tuned.json` and `held_out.json`. The
machine is the real one, in virtual time. Workers do not slow each other down in it.
"""

from __future__ import annotations

import functools
import json
import random
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from accelerate_recovery import ImmediatePolicy, RecoverySettings

from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.machine import Machine
from accelerate_core.fleet.settings import SECOND
from accelerate_core.pool_config import PoolConfig
from accelerate_core.protocols import Scheduler
from accelerate_core.testing.simulation import World
from accelerate_core.types import Target

FOLDER = Path(__file__).parent / "workloads"
_MS = 1_000_000
#: Workers come up before the first job.
_BEGIN_NS = 60 * SECOND


@attrs.frozen(kw_only=True)
class Workload:
    """Describe jobs and workers."""

    name: str
    seed: int
    jobs: int
    #: Part of all workers' time that jobs take if each goes to any worker alike.
    load: float
    #: Workers of each concrete target.
    workers: int
    targets: tuple[str, ...]
    #: What jobs ask for, best first; targets after the first are fallbacks.
    asked: tuple[str, ...]
    #: Recorded model -> its part of the jobs.
    models: Mapping[str, float]
    #: Different models that take what a recorded one takes; the n-th is asked for 1/n as often.
    variants: int = 1
    #: Jobs that come at once, on average.
    burst: float = 1.0
    #: (part of the time, worker, how many times as long it takes from then on).
    speeds: tuple[tuple[float, str, float], ...] = ()


def read(split: str) -> list[Workload]:
    """Return the workloads of `tuned` or `held_out`."""
    return [
        Workload(
            **{
                **one,
                "targets": tuple(one["targets"]),
                "asked": tuple(one["asked"]),
                "speeds": tuple(tuple(change) for change in one.get("speeds", ())),
            }
        )
        for one in json.loads((FOLDER / f"{split}.json").read_text())
    ]


@functools.cache
def recorded() -> Mapping[str, Mapping[str, Any]]:
    """Return what was recorded: target -> model -> load, first, runs (milliseconds)."""
    targets = json.loads((FOLDER / "recorded.json").read_text())["targets"]
    return {name: one["models"] for name, one in targets.items()}


@attrs.frozen(kw_only=True)
class Arrival:
    """One job that comes."""

    at_ns: int
    model: str  #: name#variant


def arrivals(workload: Workload) -> list[Arrival]:
    """Return the jobs of a workload; equal for equal workloads."""
    rng = random.Random(workload.seed)
    names = list(workload.models)
    weights = list(workload.models.values())
    variants = range(workload.variants)
    popularity = [1 / (one + 1) for one in variants]
    each_ms = sum(
        weight / sum(weights) * _mean(recorded()[target][name]["runs"])
        for name, weight in workload.models.items()
        for target in workload.targets
    ) / len(workload.targets)
    workers = workload.workers * len(workload.targets)
    gap_ns = each_ms * _MS / workers / workload.load
    found: list[Arrival] = []
    at_ns = float(_BEGIN_NS)
    while len(found) < workload.jobs:
        size = 1
        while workload.burst > 1 and rng.random() > 1 / workload.burst:
            size += 1
        at_ns += rng.expovariate(1 / (gap_ns * workload.burst))
        for _ in range(size):
            (name,) = rng.choices(names, weights)
            (variant,) = rng.choices(variants, popularity)
            found.append(Arrival(at_ns=int(at_ns), model=f"{name}#{variant}"))
    return found[: workload.jobs]


class Recorded(World):
    """A world in which loads and runs take what was recorded."""

    def __init__(self, machine: Machine, workload: Workload) -> None:
        super().__init__(machine, run_ns=self._run, load_ns=self._load, cancel_ns=None)
        self._workload = workload
        # A run takes the same whatever was run before it elsewhere: schedulers differ, jobs do not.
        self._seed = workload.seed
        self._fresh: dict[tuple[str, int, str], int] = {}
        self.comes = arrivals(workload)
        self._last_ns = self.comes[-1].at_ns

    def _run(self, one: do.Dispatch) -> int:
        target = str(self.machine.fleet.workers[one.worker_id].target)
        times = recorded()[target][one.model.split("#")[0]]
        key = (one.worker_id, one.epoch, one.model)
        count = self._fresh[key] = self._fresh.get(key, 0) + 1
        if count <= len(times["first"]):
            ms = times["first"][count - 1]
        else:
            ms = random.Random(f"{self._seed} {one.job_id} {target}").choice(times["runs"])
        return int(ms * _MS * self._speed(one.worker_id))

    def _load(self, one: do.LoadModel) -> int:
        target = str(self.machine.fleet.workers[one.worker_id].target)
        ms = recorded()[target][one.model.split("#")[0]]["load"]
        return int(ms * _MS * self._speed(one.worker_id))

    def _speed(self, worker_id: str) -> float:
        part = (self.now_ns - _BEGIN_NS) / (self._last_ns - _BEGIN_NS)
        speed = 1.0
        for since, whose, factor in self._workload.speeds:
            if whose == worker_id and since <= part:
                speed = factor
        return speed


def play(
    workload: Workload, scheduler: Scheduler, history: Mapping[str, Any] | None = None
) -> Recorded:
    """Let a workload happen to a fleet of ready workers without models; return the world after."""
    total = workload.workers * len(workload.targets)
    pool = PoolConfig(max_connections=total, min_connections=workload.workers)
    recovery = ImmediatePolicy(RecoverySettings())
    machine = Machine(scheduler=scheduler, recovery=recovery, settings=pool.fleet_settings())
    world = Recorded(machine, workload)
    world.post(ev.Snapshot(at_ns=0, seed=workload.seed, history=history or {}))
    for number, target in enumerate(workload.targets):
        first = next(iter(workload.models))
        world.submit(number, f"up{number}", model=f"{first}#0", target=Target.parse(target))
    world.run(until_ns=_BEGIN_NS - 1)
    assert len(world.alive) == total, f"{len(world.alive)} workers of {total} are up"
    asked = tuple(Target.parse(one) for one in workload.asked)
    for number, one in enumerate(world.comes):
        world.submit(one.at_ns, f"job{number}", model=one.model, targets=asked)
    world.run(until_ns=world.comes[-1].at_ns + 600 * SECOND)
    return world


def took_ms(world: Recorded) -> list[float]:
    """Return how long each job took; infinite where it failed or was never answered."""
    found = []
    for number in range(len(world.comes)):
        ending = world.endings.get(f"job{number}")
        is_well = ending is not None and ending.error is None
        found.append(ending.took_ns / _MS if ending and is_well else float("inf"))
    return found


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def history(workload: Workload) -> dict[str, dict[str, dict[str, float]]]:
    """Return what a store would know of a workload's models: the medians of what was recorded."""
    return {
        f"{name}#{variant}": {
            target: {
                "run_ns": statistics.median(recorded()[target][name]["runs"]) * _MS,
                "load_ns": recorded()[target][name]["load"] * _MS,
            }
            for target in workload.targets
        }
        for name in workload.models
        for variant in range(workload.variants)
    }
