# SPDX-License-Identifier: Apache-2.0
"""Where `performance` sends a job, by what it knows; and what exploring costs."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
from accelerate_schedulers import PerformancePolicy, PerformanceSettings

from accelerate_core.errors import ConfigError
from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.machine import Machine
from accelerate_core.fleet.policy import JobView, Placement, Wait
from accelerate_core.fleet.settings import SECOND, FleetSettings
from accelerate_core.protocols import Context, Scheduler
from accelerate_core.testing.fleets import WatchedFleet
from accelerate_core.testing.simulation import World
from accelerate_core.types import Target

MS = 1_000_000
SLOW, FAST = "wasm:chromium", "wasm:firefox"
MODEL, OTHER = "a" * 64, "b" * 64
JOB = JobView(id="job", model=MODEL, targets=(Target.parse("wasm:*"),))
STILL = PerformanceSettings(explore=0.0)


def measured(slow_ms: int = 100, fast_ms: int = 20) -> WatchedFleet:
    """Return a fleet that knows both targets, with no worker yet."""
    fleet = WatchedFleet()
    fleet.took(MODEL, SLOW, slow_ms * MS)
    fleet.took(MODEL, FAST, fast_ms * MS)
    return fleet


def picked(scheduler: Scheduler, fleet: WatchedFleet, job: JobView = JOB) -> str | None:
    fleet.begin()
    decision = scheduler.pick(job, fleet)
    return decision.workers[0] if isinstance(decision, Placement) else None


def test_the_faster_target_is_taken_whatever_the_order() -> None:
    fleet = measured()
    fleet.add("slow", SLOW, models=[MODEL])
    fleet.add("fast", FAST, models=[MODEL])
    assert picked(PerformancePolicy(STILL), fleet) == "fast"
    both = attrs.evolve(JOB, targets=(Target.parse(SLOW), Target.parse(FAST)))
    assert picked(PerformancePolicy(STILL), fleet, both) == "fast"
    assert picked(PerformancePolicy(STILL), fleet, attrs.evolve(JOB, tried=("fast",))) == "slow"


def test_a_load_counts() -> None:
    fleet = measured()
    fleet.add("slow", SLOW, models=[MODEL])
    fleet.add("fast", FAST)
    fleet.load_took(MODEL, FAST, 50 * MS)
    assert picked(PerformancePolicy(STILL), fleet) == "fast"
    fleet.load_took(MODEL, FAST, 500 * MS)
    fleet.load_took(MODEL, FAST, 500 * MS)
    assert picked(PerformancePolicy(STILL), fleet) == "slow"


def test_a_load_that_a_busy_worker_has_begun_counts() -> None:
    fleet, scheduler = measured(), PerformancePolicy(STILL)
    fleet.load_took(MODEL, FAST, 200 * MS)
    fleet.add("slow", SLOW, models=[MODEL])
    fleet.add("fast", FAST)
    fleet.take("fast", JOB, is_loaded=False)
    assert picked(scheduler, fleet) == "slow"
    fleet.now_ns += 150 * MS
    assert isinstance(scheduler.pick(JOB, fleet), Wait)


def test_a_load_nobody_saw_takes_what_others_take_there() -> None:
    fleet, scheduler = measured(), PerformancePolicy(STILL)
    fleet.add("slow", SLOW, models=[MODEL])
    fleet.add("fast", FAST)
    assert picked(scheduler, fleet) == "fast"
    fleet.load_took(OTHER, FAST, 500 * MS)
    assert picked(scheduler, fleet, attrs.evolve(JOB, model=OTHER)) is not None
    assert picked(scheduler, fleet) == "slow"


@pytest.mark.parametrize("is_of_others", [False, True])
def test_what_is_little_of_the_work_is_not_loaded_everywhere(is_of_others: bool) -> None:
    fleet, scheduler = measured(), PerformancePolicy(STILL)
    fleet.took(OTHER, FAST, 20 * MS)
    fleet.load_took(MODEL, FAST, 60 * MS)
    fleet.add("has it", FAST, models=[MODEL])
    for name in ("b", "c", "d"):
        fleet.add(name, FAST)
    for _ in range(20 * is_of_others):
        other = attrs.evolve(JOB, id="other", model=OTHER)
        name = picked(scheduler, fleet, other)
        assert name is not None
        fleet.take(name, other)
        fleet.finish(name)
    fleet.take("has it", JOB)
    for number in range(6):
        fleet.wait(attrs.evolve(JOB, id=f"waits-{number}"))
    assert (picked(scheduler, fleet) is None) == is_of_others


@pytest.mark.parametrize(("jobs", "loads"), [(5, 1), (60, 2)])
def test_a_model_being_loaded_is_loaded_once_more_only_where_that_pays(
    jobs: int, loads: int
) -> None:
    settings = FleetSettings(max_workers=3, min_workers=3)
    machine = Machine(scheduler=PerformancePolicy(STILL), settings=settings)
    world = World(machine, load_ns=2000 * MS, run_ns=50 * MS)
    known = {MODEL: {FAST: {"run_ns": 50 * MS, "load_ns": 2000 * MS}}}
    world.post(ev.Snapshot(at_ns=0, seed=1, history=known))
    world.submit(0, "up", model=OTHER, target=Target.parse(FAST))
    for number in range(jobs):
        world.submit(60 * SECOND, f"job-{number}", model=MODEL, target=Target.parse(FAST))
    world.run()
    assert sum(one.model == MODEL for one in world.loads) == loads
    assert all(ending.error is None for ending in world.endings.values())


def test_a_busy_worker_is_waited_for_while_that_is_sooner() -> None:
    fleet, scheduler = measured(), PerformancePolicy(STILL)
    fleet.add("slow", SLOW, models=[MODEL])
    fleet.add("fast", FAST, models=[MODEL])
    fleet.take("fast", JOB)
    fleet.now_ns += 5 * MS
    waits = scheduler.pick(JOB, fleet)
    assert isinstance(waits, Wait) and waits.until_ns is not None
    assert 10 * MS < waits.until_ns - fleet.now_ns <= 15 * MS
    # It runs far longer than it should, and nobody knows for how long.
    fleet.now_ns += 1000 * MS
    assert picked(scheduler, fleet) == "slow"


def test_what_waits_behind_calls_for_the_slower_one_too() -> None:
    fleet, scheduler = measured(), PerformancePolicy(STILL)
    fleet.add("slow", SLOW, models=[MODEL])
    fleet.add("fast", FAST, models=[MODEL])
    fleet.take("fast", JOB)
    for number in range(3):
        fleet.wait(attrs.evolve(JOB, id=f"waits-{number}"))
    assert isinstance(scheduler.pick(JOB, fleet), Wait)
    for number in range(3, 8):
        fleet.wait(attrs.evolve(JOB, id=f"waits-{number}"))
    assert picked(scheduler, fleet) == "slow"


def test_a_worker_that_became_slow_is_left_alone_until_that_is_forgotten() -> None:
    fleet, scheduler = WatchedFleet(), PerformancePolicy(STILL)
    fleet.took(MODEL, FAST, 20 * MS)
    for name in ("one", "two"):
        fleet.add(name, FAST, models=[MODEL])
    fleet.paced("one", 8.0)
    fleet.paced("two", 2.0)
    assert picked(scheduler, fleet) == "two"
    fleet.now_ns += 30 * SECOND  # half of the time after which half of it is forgotten
    assert picked(scheduler, fleet) == "two"
    fleet.now_ns += 570 * SECOND
    fleet.paced("two", 2.0)
    assert picked(scheduler, fleet) == "one"


def test_a_worker_that_was_quick_is_preferred_until_that_is_forgotten() -> None:
    fleet, scheduler = measured(slow_ms=24, fast_ms=20), PerformancePolicy(STILL)
    fleet.add("slow", SLOW, models=[MODEL])
    fleet.add("fast", FAST, models=[MODEL])
    fleet.paced("slow", 0.25)
    assert picked(scheduler, fleet) == "slow"
    fleet.now_ns += 600 * SECOND
    assert picked(scheduler, fleet) == "fast"


def test_one_long_job_does_not_make_what_waits_look_long() -> None:
    fleet, scheduler = measured(), PerformancePolicy(STILL)
    fleet.took(OTHER, FAST, 300 * MS)
    fleet.add("fast", FAST, models=[MODEL, OTHER])
    fleet.add("quiet", "wasm:edge", models=[OTHER])
    fleet.took(OTHER, "wasm:edge", 310 * MS)
    fleet.took(MODEL, "wasm:edge", 22 * MS)
    for _ in range(60):
        assert picked(scheduler, fleet) is not None
    assert picked(scheduler, fleet, attrs.evolve(JOB, model=OTHER)) is not None
    fleet.remove("quiet")
    fleet.add("slow", SLOW, models=[MODEL])
    fleet.take("fast", JOB)
    for number in range(2):
        fleet.wait(attrs.evolve(JOB, id=f"waits-{number}"))
    assert isinstance(scheduler.pick(JOB, fleet), Wait)


def test_history_stands_in_for_what_the_fleet_has_not_seen() -> None:
    fleet = WatchedFleet()
    fleet.history = {MODEL: {FAST: {"run_ns": 20 * MS}, SLOW: {"run_ns": 100 * MS}}}
    fleet.add("slow", SLOW, models=[MODEL])
    fleet.add("fast", FAST, models=[MODEL])
    job = attrs.evolve(JOB, model=f"{MODEL}[batch=1]")
    assert picked(PerformancePolicy(STILL), fleet, job) == "fast"
    fleet.took(job.model, FAST, 900 * MS, times=1)  # which may be an outlier
    assert picked(PerformancePolicy(STILL), fleet, job) == "fast"
    fleet.took(job.model, FAST, 500 * MS)
    assert picked(PerformancePolicy(STILL), fleet, job) == "slow"


def test_an_unknown_target_is_tried_a_few_times() -> None:
    fleet, scheduler = WatchedFleet(), PerformancePolicy(STILL)
    fleet.took(MODEL, SLOW, 20 * MS)
    fleet.add("known", SLOW, models=[MODEL])
    fleet.add("unknown", FAST, models=[MODEL])
    chosen: Counter[str | None] = Counter()
    for _ in range(50):
        name = picked(scheduler, fleet)
        chosen[name] += 1
        if name == "unknown":
            fleet.took(MODEL, FAST, 40 * MS, times=1)
    assert chosen["unknown"] == 2  # 2 / (40 / 20 - 1)


def test_exploring_costs_little() -> None:
    fleet = measured(slow_ms=100, fast_ms=20)
    scheduler = PerformancePolicy(PerformanceSettings(explore=0.05))
    fleet.add("slow", SLOW, models=[MODEL])
    fleet.add("fast", FAST, models=[MODEL])
    number = 4000
    tried = sum(picked(scheduler, fleet) == "slow" for _ in range(number))
    # 5% are trials, half of them of the slow one, one in five of which is made.
    assert 0.002 * number < tried < 0.01 * number
    assert tried * (100 - 20) < 0.05 * number * 20  # what it adds, of the best's latency


def test_what_became_faster_is_found_and_what_became_slow_is_left() -> None:
    def took(one: do.Dispatch) -> int:
        is_first = one.worker_id.startswith(SLOW)
        return (100 if is_first == (world.now_ns < 120 * SECOND) else 20) * MS

    settings = FleetSettings(max_workers=2, min_workers=1)
    world = World(Machine(scheduler=PerformancePolicy(), settings=settings), run_ns=took)
    both = (Target.parse(SLOW), Target.parse(FAST))
    for number in range(1200):  # 5 a second; no worker is asked for by the test
        world.submit(number * SECOND // 5, f"job-{number}", targets=both)
    world.run()
    where = [world.endings[f"job-{number}"].story for number in range(1200)]
    used = [next(one.detail for one in story if one.what == "placed") for story in where]
    assert sum(one.startswith(FAST) for one in used[200:600]) > 380
    assert sum(one.startswith(SLOW) for one in used[900:]) > 280


def test_a_model_that_is_only_loaded_goes_where_the_fewest_sessions_are() -> None:
    fleet, load = measured(), attrs.evolve(JOB, is_load_only=True)
    fleet.add("crowded", FAST, models=[MODEL], sessions=1)
    fleet.add("empty", SLOW)
    assert picked(PerformancePolicy(STILL), fleet, load) == "empty"
    assert isinstance(PerformancePolicy(STILL).pick(load, WatchedFleet()), Wait)


@pytest.mark.parametrize("settings", [{"explore": 0.6}, {"forget": 0}, {"explor": 0.1}])
def test_wrong_settings_are_refused(context: Context, settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        context.plugins.create("schedulers", "performance", settings)


def test_host_finds_it_by_name(context: Context) -> None:
    made = context.plugins.create("schedulers", "performance", {"explore": 0.1, "forget": "30s"})
    assert isinstance(made, PerformancePolicy)
