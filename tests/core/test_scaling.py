# SPDX-License-Identifier: Apache-2.0
"""How many workers there are: as many as have work, and no more than fit; never to and fro."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.machine import Machine
from accelerate_core.fleet.scaling import COOLDOWN_NS, CORES_BUSY, SCALE_UP_NS
from accelerate_core.fleet.settings import SECOND, FleetSettings
from accelerate_core.testing.simulation import World
from accelerate_core.types import Target

MINUTE = 60 * SECOND
MIB = 1 << 20
FIREFOX = Target("wasm", None, "firefox")


def world(*, run_ns: int = SECOND // 10, **options) -> World:
    options = {"is_adaptive": True, "idle_ns": MINUTE, **options}
    return World(Machine(settings=FleetSettings(**options)), run_ns=run_ns)


def flood(one: World, count: int, *, at_ns: int = 0, every_ns: int = 0, name: str = "j") -> None:
    for number in range(count):
        one.submit(at_ns + number * every_ns, f"{name}{number}")


def test_one_job_at_a_time_needs_one_worker_however_long_each_takes() -> None:
    one = world(run_ns=30 * SECOND)
    flood(one, 20, every_ns=40 * SECOND)
    one.run()
    assert len(one.started) == 1


def test_short_waits_call_for_nobody() -> None:
    one = world()
    flood(one, 10)  # the last waits for one second once the worker is there
    one.run(MINUTE // 2)
    assert len(one.started) == 1


def test_jobs_that_wait_long_for_busy_workers_get_more_of_them() -> None:
    one = world(run_ns=SECOND)
    flood(one, 60)
    one.run(12 * SECOND)
    assert len(one.alive) == 4 == one.machine.fleet.count(Target("cpu"))
    one.run()
    assert all(ending.error is None for ending in one.endings.values())
    assert max(ending.ended_ns for ending in one.endings.values()) < 30 * SECOND


def test_no_worker_is_added_where_the_cores_are_busy_already() -> None:
    one = world(run_ns=SECOND)
    flood(one, 60)
    one.post(ev.Capacity(at_ns=one.now_ns, free_bytes=5_000 * MIB, busy=CORES_BUSY))
    one.run(12 * SECOND)
    assert len(one.alive) == 1
    one.post(ev.Capacity(at_ns=one.now_ns, free_bytes=5_000 * MIB, busy=CORES_BUSY - 0.01))
    one.run(30 * SECOND)
    assert len(one.alive) == 4


def test_steps_up_keep_a_distance_and_double_at_most() -> None:
    one = world(run_ns=SECOND, max_workers=8)
    flood(one, 1000)
    one.run(MINUTE)
    first, *others = sorted(set(one.started))
    assert others[0] >= first + SCALE_UP_NS
    assert all(b - a >= COOLDOWN_NS for a, b in itertools.pairwise(others))
    assert [one.started.count(moment) for moment in others] == [1, 2, 4]


def test_without_adaptive_scaling_a_target_has_one_worker() -> None:
    one = world(run_ns=SECOND, is_adaptive=False, idle_ns=None)
    flood(one, 60)
    one.run(MINUTE)
    assert len(one.started) == 1 and not one.stopped


def test_idle_workers_are_stopped_after_their_time_and_not_before() -> None:
    one = world(run_ns=SECOND)
    flood(one, 60)
    one.run(MINUTE)
    assert len(one.alive) == 4
    last = max(ending.ended_ns for ending in one.endings.values())
    one.run(last + MINUTE - 3 * SECOND)  # all four had work nearly to the end
    assert not one.stopped
    one.run(last + 3 * MINUTE)
    assert len(one.alive) == 0


@pytest.mark.parametrize(("least", "spares"), [(1, 0), (2, 1), (0, 2), (3, 3)])
def test_never_fewer_than_the_least_and_its_spares(least: int, spares: int) -> None:
    one = world(run_ns=SECOND, min_workers=least, hot_spares=spares)
    flood(one, 60)
    one.run(60 * MINUTE)
    assert len(one.alive) == min(least + spares, 4)


@settings(max_examples=15)
@given(
    period_s=st.integers(1, 400),
    burst=st.integers(1, 12),
    run_s=st.sampled_from([0.05, 0.5, 2.0, 10.0]),
    spares=st.integers(0, 2),
)
def test_no_constant_load_starts_and_stops_for_ever(period_s, burst, run_s, spares) -> None:
    """Idle workers are kept longer each time that was regretted: until it outlasts the period."""
    one = world(run_ns=int(run_s * SECOND), hot_spares=spares)
    rounds = 60
    for number in range(rounds):
        flood(one, burst, at_ns=number * period_s * SECOND, name=f"{number}-")
    end = rounds * period_s * SECOND - 1  # before what follows the end of the load
    one.run(end)
    assert all(ending.error is None for ending in one.endings.values())
    doublings = max(0, math.ceil(math.log2(period_s / 60))) + 1
    assert len(one.stopped) <= 4 * doublings
    if rounds >= 8 * (doublings + 1):
        late = [moment for moment in (*one.started, *one.stopped) if moment > end // 2]
        assert not late


def test_spares_are_started_and_have_the_hottest_models() -> None:
    one = world(hot_spares=1)
    for number in range(20):
        one.submit(number * SECOND, f"j{number}", model="m" if number % 2 else "n")
    one.submit(9 * SECOND + SECOND // 2, "seldom", model="seldom")
    one.run(30 * SECOND)
    assert len(one.alive) == 2
    for worker in one.machine.fleet.workers.values():
        assert {"m", "n"} <= worker.models


def test_a_lost_worker_is_started_again_unasked_and_made_warm() -> None:
    one = world(hot_spares=1)
    flood(one, 5)
    one.run(10 * SECOND)
    one.kill("cpu-1")
    assert "cpu-1" in one.alive
    one.run(20 * SECOND)
    assert one.machine.fleet.workers["cpu-1"].models == {"m"}


def test_what_fails_to_start_is_started_less_and_less_often() -> None:
    one = world(hot_spares=1)
    flood(one, 5)
    one.run(10 * SECOND)
    one.start_ns = 10**18
    before = len(one.started)
    one.kill("cpu-2")
    for _ in range(600):
        one.run(one.now_ns + SECOND)
        if "cpu-2" in one.alive:
            one.kill("cpu-2")
    assert 5 <= len(one.started) - before <= 20


def test_nobody_starts_unasked_where_only_jobs_were_asked_for() -> None:
    one = world(is_adaptive=False, idle_ns=None)
    flood(one, 1)
    one.run(10 * SECOND)
    one.kill("cpu-1")
    one.run(MINUTE)
    assert not one.alive


# --- memory -----------------------------------------------------------------------------------


def weigh(one: World, held: int) -> None:
    for worker_id, epoch in list(one.alive.items()):
        one.post(
            ev.WorkerMemory(at_ns=one.now_ns, worker_id=worker_id, epoch=epoch, held_bytes=held)
        )


def test_no_worker_is_started_that_would_not_fit() -> None:
    one = world(run_ns=SECOND, memory_limit_bytes=900 * MIB)
    flood(one, 100)
    one.run(3 * SECOND)
    weigh(one, 300 * MIB)
    one.run(MINUTE)
    assert len(one.alive) == 2  # a third would need 3 x 300 and a quarter more


def test_free_memory_of_the_machine_is_a_ceiling_too_and_may_rise() -> None:
    one = world(run_ns=SECOND)
    flood(one, 200)
    one.run(3 * SECOND)
    weigh(one, 300 * MIB)
    one.post(ev.Capacity(at_ns=one.now_ns, free_bytes=200 * MIB))
    one.run(20 * SECOND)
    assert len(one.alive) == 1
    one.post(ev.Capacity(at_ns=one.now_ns, free_bytes=5_000 * MIB))
    one.run(40 * SECOND)
    assert len(one.alive) > 1


def test_idle_workers_go_when_memory_is_over_and_do_not_come_back() -> None:
    one = world(hot_spares=2, memory_limit_bytes=1_000 * MIB)
    flood(one, 3)
    one.run(10 * SECOND)
    assert len(one.alive) == 3
    weigh(one, 400 * MIB)
    one.run(20 * SECOND)
    assert len(one.alive) == 2
    for _ in range(20):
        weigh(one, 400 * MIB)
        one.run(one.now_ns + 10 * SECOND)
    assert len(one.stopped) == 1 and len(one.started) == 3


def test_the_first_worker_is_started_whatever_memory_says() -> None:
    one = world(memory_limit_bytes=1)
    flood(one, 1)
    one.run(10 * SECOND)
    assert one.endings["j0"].error is None


def test_an_idle_worker_of_another_target_makes_room_in_memory() -> None:
    one = world(memory_limit_bytes=500 * MIB)
    flood(one, 1)
    one.run(10 * SECOND)
    weigh(one, 300 * MIB)
    one.submit(11 * SECOND, "other", target=FIREFOX)
    one.run(20 * SECOND)
    assert one.endings["other"].error is None and [*one.alive] == ["wasm:firefox-1"]


# --- replacement ------------------------------------------------------------------------------


def test_an_old_worker_goes_when_its_replacement_is_ready_and_warm() -> None:
    one = world(min_workers=1, max_age_ns=10 * MINUTE)
    flood(one, 40, every_ns=30 * SECOND)
    one.run(15 * MINUTE)
    assert [*one.alive] == ["cpu-2"]
    (stopped,) = one.stopped
    ready = one.machine.fleet.workers["cpu-2"].ready_ns
    assert ready + one.load_ns <= stopped
    assert one.loads[-1].worker_id == "cpu-2"
    one.run(20 * MINUTE)
    assert all(ending.took_ns < SECOND for job, ending in one.endings.items() if job != "j0")


def test_a_worn_worker_is_replaced_and_no_job_waits_for_it() -> None:
    one = world(max_jobs_per_worker=10)
    flood(one, 45, every_ns=SECOND)
    one.run(50 * SECOND)
    assert 3 <= len(one.stopped) <= 4
    later = [ending.took_ns for ending in one.endings.values() if ending.submitted_ns > 3 * SECOND]
    assert max(later) <= one.run_ns


def test_without_room_the_old_one_goes_first() -> None:
    one = world(max_workers=1, max_jobs_per_worker=3)
    flood(one, 5)
    one.run(20 * SECOND)
    assert len(one.started) >= 2 and len(one.endings) == 5
    assert all(ending.error is None for ending in one.endings.values())


def test_a_worker_that_grows_is_replaced_and_one_that_loads_is_not() -> None:
    one = world(min_workers=1, max_growth_bytes=100 * MIB)
    one.submit(0, "a")
    one.run(10 * SECOND)
    weigh(one, 300 * MIB)
    one.submit(11 * SECOND, "b", model="large")
    one.run(20 * SECOND)
    weigh(one, 900 * MIB)
    weigh(one, 950 * MIB)
    one.run(30 * SECOND)
    assert not one.stopped
    weigh(one, 1_001 * MIB)
    one.run(40 * SECOND)
    assert [*one.alive] == ["cpu-2"]
    assert one.machine.fleet.workers["cpu-2"].models == {"m", "large"}


def test_a_replacement_that_does_not_start_leaves_the_old_one_at_work() -> None:
    one = world(min_workers=1, max_age_ns=MINUTE)
    flood(one, 1)
    one.run(30 * SECOND)
    one.start_ns = 10**18
    one.run(MINUTE + 10 * SECOND)
    assert set(one.alive) == {"cpu-1", "cpu-2"}
    error = do.Fail("x", ev.ErrorInfo(kind="BackendUnavailable", message="no"), 0).error
    del one.alive["cpu-2"]
    one.post(ev.WorkerFailed(at_ns=one.now_ns, worker_id="cpu-2", epoch=1, error=error))
    one.submit(one.now_ns, "k")
    one.run(one.now_ns + SECOND // 2)
    assert one.endings["k"].error is None and not one.stopped


def test_retired_targets_are_not_started_again_until_a_job_comes() -> None:
    one = world(hot_spares=1)
    flood(one, 3)
    one.run(10 * SECOND)
    one.post(ev.Retire(at_ns=one.now_ns, target=Target("cpu")))
    one.run(30 * MINUTE)
    assert not one.alive
    one.submit(one.now_ns, "again")
    one.run(one.now_ns + MINUTE // 2)
    assert len(one.alive) == 2


def test_draining_starts_nobody() -> None:
    one = world(hot_spares=2)
    flood(one, 2)
    one.run(10 * SECOND)
    one.post(ev.Drain(at_ns=one.now_ns))
    one.run(10 * MINUTE)
    assert not one.alive and len(one.started) == 3
