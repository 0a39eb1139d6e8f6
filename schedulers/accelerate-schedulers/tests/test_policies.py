# SPDX-License-Identifier: Apache-2.0
"""What these schedulers prefer, beyond the contract of all schedulers."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
from accelerate_schedulers import AffinityPolicy, RoundRobinPolicy

from accelerate_core.errors import ConfigError
from accelerate_core.fleet.policy import JobView, Placement, Wait
from accelerate_core.protocols import Context, Scheduler
from accelerate_core.testing.fleets import WatchedFleet
from accelerate_core.types import Target

MODEL = "a" * 64
JOB = JobView(id="job", model=MODEL, targets=(Target.parse("wasm:*"),), task="vision")


def picks(scheduler: Scheduler, fleet: WatchedFleet, job: JobView = JOB) -> str | None:
    decision = scheduler.pick(job, fleet)
    return decision.workers[0] if isinstance(decision, Placement) else None


def test_round_robin_takes_turns_across_browsers() -> None:
    fleet, scheduler = WatchedFleet(), RoundRobinPolicy()
    for name in ("chromium", "firefox", "webkitgtk"):
        fleet.add(name, f"wasm:{name}")
    order = []
    for number in range(9):
        chosen = picks(scheduler, fleet)
        assert chosen
        order.append(chosen)
        fleet.take(chosen, attrs.evolve(JOB, id=f"job-{number}"))
        fleet.finish(chosen)
    assert order == ["chromium", "firefox", "webkitgtk"] * 3


def test_round_robin_keeps_fair_while_workers_are_busy() -> None:
    fleet, scheduler = WatchedFleet(), RoundRobinPolicy()
    for number in range(4):
        fleet.add(f"worker-{number}", "cpu")
    job = attrs.evolve(JOB, targets=(Target("cpu"),))
    counts: Counter[str] = Counter()
    for number in range(80):
        chosen = picks(scheduler, fleet, job)
        assert chosen
        counts[chosen] += 1
        fleet.take(chosen, attrs.evolve(job, id=f"job-{number}"))
        if number % 2:
            for busy in fleet.busy():
                fleet.finish(busy)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_affinity_goes_down_its_list() -> None:
    fleet, scheduler = WatchedFleet(), AffinityPolicy({"vision": "firefox"})
    fleet.add("4-any", "wasm:chromium")
    fleet.add("3-loaded", "wasm:chromium", models=[MODEL])
    fleet.add("2-preferred", "wasm:firefox")
    fleet.add("1-both", "wasm:firefox", models=[MODEL])
    for expected in ("1-both", "2-preferred", "3-loaded", "4-any"):
        assert picks(scheduler, fleet) == expected
        fleet.remove(expected)
    assert scheduler.pick(JOB, fleet) == Wait("every worker for it is busy")


def test_affinity_loads_where_the_fewest_sessions_are() -> None:
    fleet, scheduler = WatchedFleet(), AffinityPolicy({})
    load = attrs.evolve(JOB, is_load_only=True)
    fleet.add("crowded", "wasm:chromium", models=[MODEL], sessions=2)
    fleet.add("empty", "wasm:chromium", sessions=1)
    fleet.add("loaded", "wasm:chromium", models=[MODEL], sessions=1)
    for expected in ("loaded", "empty", "crowded"):
        assert picks(scheduler, fleet) == ("crowded" if "crowded" in fleet.ids() else expected)
        assert picks(scheduler, fleet, load) == expected
        fleet.remove(expected)


def test_affinity_leaves_an_asked_browser_alone() -> None:
    fleet, scheduler = WatchedFleet(), AffinityPolicy({"vision": "firefox"})
    fleet.add("firefox", "wasm:firefox")
    fleet.add("chromium", "wasm:chromium")
    asked = attrs.evolve(JOB, targets=(Target.parse("wasm:chromium"),))
    assert picks(scheduler, fleet, asked) == "chromium"


def test_affinity_of_one_task_is_none_of_another() -> None:
    fleet, scheduler = WatchedFleet(), AffinityPolicy({"audio": "firefox"})
    fleet.add("chromium", "wasm:chromium")
    fleet.add("firefox", "wasm:firefox")
    assert picks(scheduler, fleet) == "chromium"
    assert picks(scheduler, fleet, attrs.evolve(JOB, task="audio")) == "firefox"


@pytest.mark.parametrize("scheduler", [RoundRobinPolicy(), AffinityPolicy({})])
def test_fallback_is_not_used_while_the_first_target_is_only_busy(scheduler: Scheduler) -> None:
    fleet = WatchedFleet()
    fleet.add("idle", "cpu")
    job = attrs.evolve(JOB, targets=(Target.parse("wasm:*"), Target("cpu")))
    assert isinstance(scheduler.pick(job, fleet), Wait)
    assert picks(scheduler, fleet, attrs.evolve(job, targets=job.targets[1:])) == "idle"


@pytest.mark.parametrize(
    ("preferences", "said"),
    [({"vision": "firefux"}, "firefux"), ({"sight": "firefox"}, "sight")],
)
def test_wrong_preferences_are_refused(
    context: Context, preferences: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=f"'{said}' is not a .*; accepted: "):
        context.plugins.create("schedulers", "affinity", {"browser_preferences": preferences})


@pytest.mark.parametrize("name", ["affinity", "round_robin"])
def test_host_finds_it_by_name(context: Context, name: str) -> None:
    assert isinstance(context.plugins.create("schedulers", name).pick(JOB, WatchedFleet()), Wait)
