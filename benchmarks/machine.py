# SPDX-License-Identifier: Apache-2.0
"""The pure fleet machine: what a job costs in it, in fleets of any size and under overload.

Times of the machine are processor time: it does nothing but compute.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator

import numpy as np
from accelerate_schedulers.policies import AffinityPolicy

from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.machine import Machine
from accelerate_core.fleet.policy import JobView
from accelerate_core.fleet.settings import SECOND, FleetSettings
from accelerate_core.pool_config import PoolConfig
from accelerate_core.testing.simulation import CPU, Ending, World
from accelerate_core.types import WorkerInfo

from ._measure import Figure, paired_ratio, percentiles, turns
from ._world import Options, conditions

FEW, MANY = 10, 10_000
_DEADLINE_NS = 120 * SECOND


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield cycles per second, what a fleet or queue a thousand times larger adds, and overload."""
    few, many = (Cycles(workers, busy=workers // 2) for workers in (FEW, MANY))
    empty, backlog = (Cycles(FEW, busy=FEW) for _ in range(2))
    for _ in range(MANY):
        backlog.submit()
    rounds, jobs = options.count(30, 3), options.count(2_000, 200)
    sizes = _compare(few, many, rounds, jobs)
    waits = _compare(empty, backlog, rounds, jobs)
    us = [1e6 * seconds / jobs for seconds in sizes["a"]]
    yield Figure(
        figure="machine_cycles_per_second",
        value=1e6 / float(np.median(us)),
        unit="jobs/s",
        at_least=15_000,
        conditions=conditions(workers=FEW, jobs=rounds * jobs, us_per_job=percentiles(us)),
    )
    for name, samples in (("workers", sizes), ("queued", waits)):
        ratio = paired_ratio(samples["b"], samples["a"])
        yield Figure(
            figure=f"machine_{MANY}_{name}_cost_ratio",
            value=ratio.value,
            unit="x",
            at_most=3,
            conditions=conditions(interval_95=ratio.interval, pairs=rounds, jobs_per_pair=jobs),
        )
    for figure in _overload(options):
        yield figure


class Cycles:
    """A fleet of ready workers with the model, `busy` of them at work, that does jobs in turn."""

    def __init__(self, workers: int, busy: int) -> None:
        # As soon as the first works, the others are started: so many are kept. The rest is as in
        # production, breakers and scheduler included.
        pool = PoolConfig(max_connections=workers, min_connections=workers, max_queue=10**9)
        self._machine = Machine(scheduler=AffinityPolicy({}), settings=pool.fleet_settings())
        self._now_ns = 0
        self._count = 0
        self._running: deque[do.Dispatch] = deque()
        self.submit()
        self._ready()
        self._ready()
        for worker in list(self._machine.fleet.workers.values()):
            self._post(
                ev.ModelLoaded(
                    at_ns=self._tick(), worker_id=worker.id, epoch=worker.epoch, model="m"
                )
            )
        assert len(self._machine.fleet.workers) == workers
        while len(self._running) < busy:
            self.submit()

    def submit(self) -> None:
        """Submit a job."""
        self._count += 1
        now = self._tick()
        view = JobView(
            id=f"j{self._count}",
            model="m",
            targets=(CPU,),
            submitted_ns=now,
            deadline_ns=now + _DEADLINE_NS,
        )
        self._post(ev.JobSubmitted(at_ns=now, job=view))

    def run(self, jobs: int) -> float:
        """Submit so many jobs, finish as many, and return how long that took in seconds."""
        begin = time.process_time()
        for _ in range(jobs):
            self.submit()
            one = self._running.popleft()
            self._post(
                ev.AttemptFinished(
                    at_ns=self._tick(),
                    job_id=one.job_id,
                    attempt=one.attempt,
                    worker_id=one.worker_id,
                    epoch=one.epoch,
                )
            )
        return time.process_time() - begin

    def _ready(self) -> None:
        for worker in list(self._machine.fleet.workers.values()):
            self._post(
                ev.WorkerReady(
                    at_ns=self._tick(),
                    worker_id=worker.id,
                    epoch=worker.epoch,
                    info=WorkerInfo(target=CPU),
                )
            )

    def _tick(self) -> int:
        self._now_ns += 30_000
        return self._now_ns

    def _post(self, event: ev.FleetEvent) -> None:
        for one in self._machine.handle(event):
            if isinstance(one, do.Dispatch):
                self._running.append(one)


def _compare(a: Cycles, b: Cycles, rounds: int, jobs: int) -> dict[str, list[float]]:
    both = {"a": a, "b": b}
    for one in both.values():
        one.run(jobs)
    samples: dict[str, list[float]] = {"a": [], "b": []}
    for order in turns(rounds):
        for which in order:
            samples[which].append(both[which].run(jobs))
    return samples


# --- overload ---------------------------------------------------------------------------------

_WORKERS = 4
_RUN_NS = SECOND // 10


def _overload(options: Options) -> list[Figure]:
    """Offer ten times what a fleet can do, in virtual time; refusing takes real time."""
    seconds = options.count(120, 10)
    calm, _ = _offered(0.5, seconds)
    crowded, refusals_ms = _offered(10.0, seconds)
    answered = {
        name: [one.took_ns / 1e6 for one in endings if one.error is None]
        for name, endings in (("calm", calm), ("crowded", crowded))
    }
    errors = [one.error.kind for one in crowded if one.error is not None]
    typed = errors.count("Overloaded") + errors.count("JobTimeout")
    facts = conditions(
        workers=_WORKERS,
        run_ms=_RUN_NS / 1e6,
        virtual_seconds=seconds,
        offered=len(crowded),
        answered=len(answered["crowded"]),
        refused=errors.count("Overloaded"),
        admitted_and_late=errors.count("JobTimeout"),
        calm_ms=percentiles(answered["calm"]),
        crowded_ms=percentiles(answered["crowded"]),
    )
    p99 = {name: float(np.percentile(took, 99)) for name, took in answered.items()}
    return [
        Figure(
            figure="machine_overload_admitted_p99_ratio",
            value=p99["crowded"] / p99["calm"],
            unit="x",
            at_most=2,
            conditions=facts,
        ),
        Figure(
            figure="machine_overload_untyped",
            value=len(errors) - typed,
            unit="jobs",
            at_most=0,
            conditions=facts,
        ),
        Figure(
            figure="machine_overload_refusal_p99",
            value=float(np.percentile(refusals_ms, 99)),
            unit="ms",
            at_most=20,
            conditions={**facts, "refusal_ms": percentiles(refusals_ms)},
        ),
    ]


class _Timed(World):
    """A world that measures how long refusals take to be said."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine, run_ns=_RUN_NS)
        self.refusals_ms: list[float] = []

    def post(self, event: ev.FleetEvent) -> list[do.Instruction]:
        begin = time.process_time()
        out = super().post(event)
        if isinstance(event, ev.JobSubmitted) and any(isinstance(one, do.Fail) for one in out):
            self.refusals_ms.append(1e3 * (time.process_time() - begin))
        return out


def _offered(load: float, seconds: int) -> tuple[list[Ending], list[float]]:
    """Return how jobs ended that came at random, `load` times as many as can be done."""
    settings = FleetSettings(max_workers=_WORKERS, min_workers=_WORKERS, refuses_late=True)
    world = _Timed(Machine(settings=settings))
    for number in range(20):  # all workers come up, and times are known
        world.submit(number * SECOND, f"warm{number}")
    gaps = np.random.default_rng(5).exponential(_RUN_NS / _WORKERS / load, 10**6)
    at_ns = 30 * SECOND
    for number, gap in enumerate(gaps):
        at_ns += int(gap)
        if at_ns > (30 + seconds) * SECOND:
            break
        world.submit(at_ns, f"j{number}", deadline_ns=at_ns + 2 * _RUN_NS)
    world.run()
    ended = [one for job, one in world.endings.items() if not job.startswith("warm")]
    return ended, world.refusals_ms
