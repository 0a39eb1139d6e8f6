# SPDX-License-Identifier: Apache-2.0
"""Contract of schedulers, and what the contracts of all pure policies are made of."""

from __future__ import annotations

import builtins
import copy
import random
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ..fleet.policy import Decision, JobView, Placement, Reject, Wait
from ..protocols import Scheduler
from ..types import TASKS, Target
from .contract import Contract
from .fleets import WatchedFleet

_TARGETS = ("cpu", "wasm:chromium", "wasm:firefox", "webgpu:chromium", "webgpu/plan:firefox")
_ASKED = (*_TARGETS, "wasm:*", "webgpu:*", "webgpu/plan:*")
MODELS = ("a" * 64, "b" * 64, "c" * 64)
_ENTRANCES: tuple[tuple[Any, str], ...] = (
    *((time, name) for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter")),
    *((random, name) for name in ("random", "choice", "randint", "shuffle", "randrange")),
    (builtins, "open"),
    (socket, "socket"),
)


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close the ways out to clock, chance, files and network."""

    def closed(name: str) -> Callable[..., Any]:
        def refuse(*_: Any, **__: Any) -> Any:
            raise AssertionError(f"a policy is pure, and this one called {name}")

        return refuse

    for module, name in _ENTRANCES:
        monkeypatch.setattr(module, name, closed(f"{module.__name__}.{name}"))


def random_job(number: int, rng: random.Random, tried: tuple[str, ...] = ()) -> JobView:
    """Return a job for one to three targets."""
    return JobView(
        id=f"job-{number}",
        model=rng.choice(MODELS),
        targets=tuple(Target.parse(text) for text in rng.sample(_ASKED, rng.randint(1, 3))),
        task=rng.choice([None, *TASKS]),
        tried=tried,
    )


def cpu_job(number: int = 1, tried: tuple[str, ...] = ()) -> JobView:
    """Return a job for native CPU."""
    return JobView(id=f"job-{number}", model=MODELS[0], targets=(Target("cpu"),), tried=tried)


def random_fleet(seed: int) -> WatchedFleet:
    """Return a fleet of one to twelve idle workers, `worker-0` and so on."""
    rng = random.Random(seed)
    fleet = WatchedFleet(seed)
    for number in range(rng.randint(1, 12)):
        fleet.add(
            f"worker-{number}",
            rng.choice(_TARGETS),
            slots=rng.choice([1, 1, 1, 3]),
            models=rng.sample(MODELS, rng.randint(0, 2)),
        )
    return fleet


def _story(scheduler: Scheduler, seed: int) -> Iterator[tuple[JobView, WatchedFleet, Decision]]:
    """Submit 60 jobs to a random fleet whose workers finish and vanish; yield every decision."""
    fleet, rng = random_fleet(seed), random.Random(seed + 1)
    for number in range(60):
        fleet.now_ns += rng.randint(1, 1_000_000)
        job = random_job(
            number, rng, tuple(rng.sample(fleet.ids(), min(len(fleet.ids()), number % 3)))
        )
        fleet.begin()
        decision = scheduler.pick(job, fleet)
        yield job, fleet, decision
        if isinstance(decision, Placement):
            fleet.take(decision.workers[0], job)
        for worker_id in fleet.busy():
            if rng.random() < 0.3:
                fleet.finish(worker_id)
        if rng.random() < 0.05 and len(fleet.ids()) > 1:
            fleet.remove(rng.choice(fleet.ids()))


class SchedulerContract(Contract):
    """What every scheduler keeps. Supply the fixture `scheduler`, a fresh policy object."""

    @pytest.fixture
    def scheduler(self) -> Scheduler:
        """Return the policy under test."""
        raise NotImplementedError("supply the fixture `scheduler`")

    @pytest.mark.parametrize("seed", range(8))
    def test_placements_are_possible(self, scheduler: Scheduler, seed: int) -> None:
        placed = 0
        for job, fleet, decision in _story(scheduler, seed):
            assert isinstance(decision, Placement | Wait | Reject), f"returned {decision!r}"
            if not isinstance(decision, Placement):
                continue
            placed += 1
            assert decision.workers, "a placement names at least one worker"
            for worker_id in decision.workers:
                worker = fleet.view(worker_id)
                assert worker is not None, f"{worker_id!r} is not in the fleet"
                assert worker.is_idle, f"{worker_id!r} has no room"
                covers = [target.covers(worker.target) for target in job.targets]
                assert any(covers), f"{worker.target} is none of {[*map(str, job.targets)]}"
                assert worker_id not in job.tried, f"{worker_id!r} failed this job before"
        assert placed, "no job of 60 was placed"

    @pytest.mark.parametrize("seed", range(4))
    def test_replay_decides_the_same(self, scheduler: Scheduler, seed: int) -> None:
        twin = copy.deepcopy(scheduler)
        first = [decision for *_, decision in _story(scheduler, seed)]
        assert [decision for *_, decision in _story(twin, seed)] == first

    def test_touches_no_clock_no_chance_no_file(
        self, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fleet, rng = random_fleet(7), random.Random(7)
        jobs = [random_job(number, rng) for number in range(20)]
        with monkeypatch.context() as patch:
            forbid(patch)
            decisions = [scheduler.pick(job, fleet) for job in jobs]
        assert len(decisions) == len(jobs)

    def test_empty_fleet_is_no_error(self, scheduler: Scheduler) -> None:
        assert isinstance(scheduler.pick(cpu_job(), WatchedFleet()), Wait | Reject)

    def test_waits_when_all_are_busy(self, scheduler: Scheduler) -> None:
        fleet = WatchedFleet()
        for number in range(3):
            fleet.add(f"worker-{number}", "cpu")
            fleet.take(f"worker-{number}", cpu_job(number))
        assert isinstance(scheduler.pick(cpu_job(9), fleet), Wait)

    def test_uses_an_idle_fleet(self, scheduler: Scheduler) -> None:
        fleet = WatchedFleet()
        fleet.add("other", "wasm:chromium")
        fleet.add("mine", "cpu")
        assert scheduler.pick(cpu_job(), fleet) == Placement(("mine",))

    def test_goes_past_workers_that_failed_the_job(self, scheduler: Scheduler) -> None:
        fleet = WatchedFleet()
        for name in ("one", "two", "three"):
            fleet.add(name, "cpu", models=MODELS[:1])
        assert scheduler.pick(cpu_job(tried=("one", "two")), fleet) == Placement(("three",))
        tried_all = cpu_job(tried=("one", "two", "three"))
        assert isinstance(scheduler.pick(tried_all, fleet), Wait | Reject)

    def test_does_not_walk_ten_thousand_workers(self, scheduler: Scheduler) -> None:
        fleet = WatchedFleet()
        for number in range(10_000):
            fleet.add(f"worker-{number}", _TARGETS[number % len(_TARGETS)])
        for number in range(50):
            fleet.begin()
            decision = scheduler.pick(cpu_job(number), fleet)
            assert isinstance(decision, Placement)
            fleet.take(decision.workers[0], cpu_job(number))
