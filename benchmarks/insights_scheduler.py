# SPDX-License-Identifier: Apache-2.0
"""The scheduler `performance` against `round_robin` and `affinity`, on workloads in virtual time.

Jobs take what was recorded (benchmarks/workloads). What a decision costs is processor time.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

import numpy as np
from accelerate_schedulers import AffinityPolicy, PerformancePolicy, RoundRobinPolicy

from accelerate_core.fleet.policy import JobView, Placement
from accelerate_core.protocols import Scheduler
from accelerate_core.testing.fleets import WatchedFleet
from accelerate_core.types import Target

from ._measure import Figure, paired_ratio, rounded, turns
from ._workloads import FOLDER, Workload, history, play, read, took_ms
from ._world import Options, conditions

_OTHERS: dict[str, Callable[[], Scheduler]] = {
    "round_robin": RoundRobinPolicy,
    "affinity": lambda: AffinityPolicy({}),
}
_MODEL = "a" * 64


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield p95 on each workload, held-out ones first, and the cost of a decision."""
    name, held_out = "held_out.json", (FOLDER / "held_out.json").read_bytes()
    if hashlib.sha256(held_out).hexdigest() not in (FOLDER / "held_out.sha256").read_text():
        raise AssertionError(f"{name} is not what was committed before the scheduler was written")
    for split, at_most in (("held_out", 0.8), ("control", 1.1), ("tuned", None)):
        for workload in read(split)[: options.count(99, 1)]:
            yield _latency(workload, split, at_most)
    for targets in (("cpu",), ("wasm:chromium", "wasm:firefox")):
        for workers in (10, 10_000):
            yield _cost(targets, workers, options.count(30, 3))


def _latency(workload: Workload, split: str, at_most: float | None) -> Figure:
    took = {name: _facts(workload, make()) for name, make in _OTHERS.items()}
    took["without_history"] = _facts(workload, PerformancePolicy())
    took["performance"] = _facts(workload, PerformancePolicy(), with_history=True)
    best = min(took[name]["p95_ms"] for name in _OTHERS)
    return Figure(
        figure=f"scheduler_p95_{split}_{workload.name}",
        value=took["performance"]["p95_ms"] / best,
        unit="x",
        at_most=at_most,
        conditions=conditions(
            jobs=workload.jobs,
            without_history=rounded(took["without_history"]["p95_ms"] / best),
            took=took,
        ),
    )


def _facts(
    workload: Workload, scheduler: Scheduler, *, with_history: bool = False
) -> dict[str, float]:
    world = play(workload, scheduler, history(workload) if with_history else None)
    took = np.array(took_ms(world))
    return {
        # The job itself, not a point between two: some may have failed, and took for ever.
        **{f"p{q}_ms": rounded(float(np.percentile(took, q, method="higher"))) for q in (50, 95)},
        "mean_ms": rounded(float(took.mean())),
        "loads": len(world.loads),
        "failed": int(np.isinf(took).sum()),
    }


def _cost(targets: tuple[str, ...], workers: int, rounds: int) -> Figure:
    """Return what a decision costs, in decisions of `affinity` in an equal fleet."""
    a, b = (
        _Decisions(scheduler, targets, workers)
        for scheduler in (PerformancePolicy(), AffinityPolicy({}))
    )
    samples: dict[str, list[float]] = {"a": [], "b": []}
    for order in turns(rounds):
        for which in order:
            samples[which].append((a if which == "a" else b).run(300))
    ratio = paired_ratio(samples["a"], samples["b"])
    return Figure(
        figure=f"scheduler_pick_{len(targets)}_targets_{workers}_workers_cost_ratio",
        value=ratio.value,
        unit="x",
        at_most=2 if len(targets) == 1 else None,
        conditions=conditions(
            interval_95=ratio.interval,
            performance_us=rounded(1e6 * statistics.median(samples["a"]) / 300),
            affinity_us=rounded(1e6 * statistics.median(samples["b"]) / 300),
        ),
    )


class _Decisions:
    """A fleet of which a few workers are busy, that is asked for one after another."""

    def __init__(self, scheduler: Scheduler, targets: tuple[str, ...], workers: int) -> None:
        self._scheduler = scheduler
        self._fleet = WatchedFleet()
        self._running: deque[str] = deque()
        asked = "wasm:*" if len(targets) > 1 else targets[0]
        self._job = JobView(id="", model=_MODEL, targets=(Target.parse(asked),))
        self._count = 0
        for number in range(workers):
            target = targets[number % len(targets)]
            self._fleet.add(f"worker-{number}", target, models=[_MODEL])
        for number, target in enumerate(targets):
            self._fleet.took(_MODEL, target, 50_000_000 * (number + 1))

    def run(self, decisions: int) -> float:
        """Return the seconds that decisions took; what else happens does not count."""
        seconds = 0.0
        for _ in range(decisions):
            self._fleet.begin()
            begin = time.process_time()
            decision = self._scheduler.pick(self._job, self._fleet)
            seconds += time.process_time() - begin
            if isinstance(decision, Placement):
                self._count += 1
                job = JobView(id=str(self._count), model=_MODEL, targets=self._job.targets)
                self._fleet.take(decision.workers[0], job)
                self._running.append(decision.workers[0])
            self._fleet.now_ns += 1_000_000
            if len(self._running) > 3 or not isinstance(decision, Placement):
                self._fleet.finish(self._running.popleft())
        return seconds
