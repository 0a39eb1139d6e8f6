# SPDX-License-Identifier: Apache-2.0
"""Which jobs are taken, in which order they are done, and what is refused at once."""

from __future__ import annotations

import itertools

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_core.errors import AccelerateError, BackendUnavailable, ModelError, WorkerLost
from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.admission import MEMORY_NS
from accelerate_core.fleet.machine import Machine
from accelerate_core.fleet.policy import FailureKind
from accelerate_core.fleet.rules import PRIORITY_NS
from accelerate_core.fleet.settings import SECOND, FleetSettings
from accelerate_core.testing.simulation import World

from .test_machine import CPU, FIREFOX, Clock


def world(*, run_ns: int = SECOND, **options) -> World:
    """Return a world whose one worker has done some jobs, so that latencies are known."""
    one = World(Machine(settings=FleetSettings(max_workers=1, **options)), run_ns=run_ns)
    for number in range(6):
        one.submit(0, f"before{number}")
    one.run(MINUTE)
    return one


MINUTE = 60 * SECOND


def submit(one: World, job: str, **fields) -> do.Fail | None:
    """Submit now, and return the refusal if it was refused at once."""
    one.submit(one.now_ns, job, **fields)
    one.run(one.now_ns)
    ending = one.endings.get(job)
    assert ending is None or ending.error is not None
    return ending.error if ending else None


def test_a_full_queue_says_when_a_part_of_it_will_be_done() -> None:
    one = world(max_queue=10)
    for number in range(11):
        assert submit(one, f"j{number}") is None
    refused = submit(one, "k")
    assert refused is not None and refused.kind == "Overloaded"
    # Ten wait and one is half done, one second each: a tenth of that.
    assert refused.retry_after == pytest.approx(1.05)


def test_what_cannot_be_in_time_is_refused_at_once() -> None:
    one = world(refuses_late=True)
    assert submit(one, "runs") is None
    assert submit(one, "waits") is None
    # Half of one, all of the other, and its own second: 2.5 s.
    late = submit(one, "late", deadline_ns=one.now_ns + 2 * SECOND)
    assert late is not None and late.kind == "Overloaded"
    assert late.retry_after == pytest.approx(0.5)
    assert submit(one, "fits", deadline_ns=one.now_ns + 3 * SECOND + 1) is None
    one.run(one.now_ns + MINUTE)
    assert one.endings["fits"].error is None


def test_priority_counts_when_judging_whether_it_can_be_in_time() -> None:
    one = world(refuses_late=True)
    for number in range(5):
        assert submit(one, f"j{number}") is None
    soon = one.now_ns + 2 * SECOND + 1
    assert submit(one, "low", deadline_ns=soon) is not None
    assert submit(one, "high", deadline_ns=soon, priority=1) is None
    one.run(one.now_ns + MINUTE)
    assert one.endings["high"].error is None


def test_deadlines_are_not_judged_unless_asked_or_before_anything_is_known() -> None:
    one = world()
    submit(one, "runs")
    assert submit(one, "late", deadline_ns=one.now_ns + 1) is None
    fresh = World(Machine(settings=FleetSettings(refuses_late=True)))
    assert submit(fresh, "first", deadline_ns=SECOND) is None


# --- never ------------------------------------------------------------------------------------


def test_a_backend_that_never_came_is_not_waited_for_again() -> None:
    clock = Clock()
    clock.submit()
    error = BackendUnavailable("no cpu").info
    clock(ev.WorkerFailed, worker_id="cpu-1", epoch=1, error=error)
    assert clock.submit("k") == [do.Fail("k", error, 0)]
    # With another target to go on with, it is not refused, and goes on there.
    on = clock.submit("l", (CPU, FIREFOX))
    assert on == [do.StartWorker("wasm:firefox-1", 1, FIREFOX)]
    clock.now += MEMORY_NS
    assert clock.submit("m") == [do.StartWorker("cpu-1", 2, CPU)]


def test_a_start_that_failed_for_now_or_once_worked_is_tried_again() -> None:
    clock = Clock()
    clock.submit()
    clock(ev.WorkerFailed, worker_id="cpu-1", epoch=1, error=WorkerLost("crashed").info)
    assert clock.submit("k") == [do.StartWorker("cpu-1", 2, CPU)]
    clock.ready(epoch=2)
    clock(ev.WorkerLost, worker_id="cpu-1", epoch=2, error=WorkerLost("gone").info)
    clock.submit("l")
    error = BackendUnavailable("no display for a moment").info
    clock(ev.WorkerFailed, worker_id="cpu-1", epoch=3, error=error)
    assert clock.submit("m") == [do.StartWorker("cpu-1", 4, CPU)]


@pytest.mark.parametrize("error", [BackendUnavailable("it was removed"), WorkerLost("it crashed")])
def test_what_worked_once_and_starts_no_more_is_not_waited_for(error: AccelerateError) -> None:
    clock = Clock()
    clock.running()
    clock.finished()
    clock(ev.WorkerLost, worker_id="cpu-1", epoch=1, error=WorkerLost("gone").info)
    for number in range(3):
        (start,) = clock.submit(f"j{number}")
        assert isinstance(start, do.StartWorker)
        same = {"worker_id": start.worker_id, "epoch": start.epoch}
        (failed,) = clock(ev.WorkerFailed, **same, error=error.info)
        assert isinstance(failed, do.Fail) and failed.error.message == error.info.message
    (refused,) = clock.submit("k")
    assert isinstance(refused, do.Fail) and refused.error.kind == error.info.kind
    assert refused.error.message == f"{error.info.message} (3 starts in a row failed)"
    assert clock.submit("l", (CPU, FIREFOX)) == [do.StartWorker("wasm:firefox-1", 1, FIREFOX)]
    clock.now += MEMORY_NS
    (again,) = clock.submit("m")
    assert isinstance(again, do.StartWorker) and again.target == CPU
    clock.ready(again.worker_id, epoch=again.epoch)
    assert isinstance(clock.loaded(again.worker_id, epoch=again.epoch)[0], do.Dispatch)


def test_starts_that_fail_beside_a_worker_refuse_nobody() -> None:
    clock = Clock()
    clock.running()
    clock.finished()
    for number in range(3):
        out = clock.submit(f"two{number}", copies=2)
        (start,) = [one for one in out if isinstance(one, do.StartWorker)]
        same = {"worker_id": start.worker_id, "epoch": start.epoch}
        out = clock(ev.WorkerFailed, **same, error=BackendUnavailable("no room").info)
        (cancel,) = [one for one in out if isinstance(one, do.CancelAttempt)]
        clock(ev.AttemptCancelled, **attrs.asdict(cancel))
    assert clock.submit("k") == [do.Dispatch("k", 1, "cpu-1", 1, "m")]


def test_a_model_no_worker_can_load_is_refused_at_once_and_others_are_not() -> None:
    clock = Clock()
    clock.submit()
    clock.ready()
    error = ModelError("no such operator").info
    clock(
        ev.LoadFailed,
        worker_id="cpu-1",
        epoch=1,
        model="m",
        kind=FailureKind.MODEL,
        error=error,
    )
    assert clock.submit("k") == [do.Fail("k", error, 0)]
    assert clock.submit("l", model="n") == [do.LoadModel("cpu-1", 1, "n")]


def test_a_failed_start_beside_a_worker_at_work_fails_no_job() -> None:
    clock = Clock(settings=FleetSettings(hot_spares=1))
    clock.submit()
    starts = clock.ready()
    assert do.StartWorker("cpu-2", 1, CPU) in starts
    clock.loaded()
    clock.submit("k")
    error = BackendUnavailable("no memory").info
    out = clock(ev.WorkerFailed, worker_id="cpu-2", epoch=1, error=error)
    assert not [one for one in out if isinstance(one, do.Fail)]
    assert do.Dispatch("k", 2, "cpu-1", 1, "m") in clock.finished() or "k" in clock.machine.jobs


# --- order ------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(jobs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4000)), max_size=40))
def test_jobs_are_done_by_priority_in_order_of_coming_and_nobody_starves(jobs) -> None:
    """One that comes so much later that its priority is outweighed comes later."""
    one = World(Machine(settings=FleetSettings(max_workers=1)), start_ns=10**15)
    came = {}
    at_ns = 0
    for number, (priority, after_ms) in enumerate(jobs):
        at_ns += after_ms * SECOND // 1000
        job = f"j{number}"
        came[job] = (at_ns, priority)
        one.submit(at_ns, job, priority=priority)
    one.run()
    done = sorted(came, key=lambda job: one.endings[job].ended_ns)
    for earlier, later in itertools.pairwise(done):
        (first_ns, first), (second_ns, second) = came[earlier], came[later]
        if first == second:
            assert first_ns <= second_ns
        if first_ns > second_ns:  # it overtook
            assert first > second
            assert first_ns - second_ns <= (first - second) * PRIORITY_NS


def test_a_low_job_is_done_though_high_ones_come_for_ever() -> None:
    one = world()
    one.submit(one.now_ns, "low")
    start = one.now_ns
    for number in range(300):
        one.submit(start + number * SECOND // 2, f"high{number}", priority=2)
    one.run(start + 3 * PRIORITY_NS)
    assert one.endings["low"].error is None
