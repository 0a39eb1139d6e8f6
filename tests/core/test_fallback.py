# SPDX-License-Identifier: Apache-2.0
"""When a job takes the next of its targets: the first fails, is stuck, or takes half its time."""

from __future__ import annotations

from accelerate_core.errors import WorkerLost
from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.latency import ENOUGH
from accelerate_core.fleet.settings import SECOND, FleetSettings

from .test_machine import CPU, FIREFOX, Again, Clock

BOTH = (CPU, FIREFOX)
OTHER = "wasm:firefox-1"


def two_targets(**settings: float) -> Clock:
    """Return a fleet with a worker of each target, the model loaded, and "a" running on the CPU."""
    clock = Clock(recovery=Again(), settings=FleetSettings(max_workers=2, **settings))
    clock.submit("f", (FIREFOX,))
    clock.ready(OTHER, FIREFOX)
    clock.loaded(OTHER)
    clock.finished("f", worker=OTHER)
    clock.submit("a")
    clock.ready()
    clock.loaded()
    return clock


def practised() -> Clock:
    """Return such a fleet that knows how long the CPU takes, with nothing to do."""
    clock = two_targets(overdue_calls=1, overdue_ns=SECOND)
    clock.finished("a")
    for number in range(ENOUGH):
        clock.submit(str(number))
        clock.finished(str(number))
    return clock


def lose(clock: Clock, worker: str = "cpu-1") -> list[do.Instruction]:
    error = WorkerLost("gone").info
    return clock(ev.WorkerLost, worker_id=worker, epoch=1, error=error)


def dispatched(out: list[do.Instruction]) -> list[tuple[str, str]]:
    return [(one.job_id, one.worker_id) for one in out if isinstance(one, do.Dispatch)]


def test_what_waits_for_a_lost_worker_goes_to_a_fallback_that_is_ready() -> None:
    clock = two_targets()
    assert dispatched(clock.submit("b", BOTH)) == [], "busy is no reason"
    out = lose(clock)
    assert dispatched(out) == [("b", OTHER)]
    assert any(isinstance(one, do.StartWorker) and one.target == CPU for one in out)


def test_the_asked_target_is_used_again_as_soon_as_it_is_ready() -> None:
    clock = two_targets()
    lose(clock)
    clock.submit("b", BOTH)
    clock.submit("c", BOTH)
    clock.ready(epoch=2)
    out = clock.loaded(epoch=2)
    clock(ev.JobCancelled, job_id="a")
    assert dispatched(out) == [("a", "cpu-1")]
    assert dispatched(clock(ev.AttemptCancelled, job_id="a", attempt=2, worker_id="cpu-1", epoch=2))
    assert clock.machine.jobs["c"].targets == BOTH


def test_no_fallback_is_started_in_place_of_a_lost_worker() -> None:
    clock = Clock(recovery=Again())
    clock.submit("a", BOTH)
    clock.ready()
    clock.loaded()
    out = lose(clock)
    assert [one.target for one in out if isinstance(one, do.StartWorker)] == [CPU]


def test_it_is_started_again_although_a_fallback_does_its_work() -> None:
    clock = two_targets()
    clock.finished("a")
    lose(clock)
    out = clock.submit("b", BOTH)
    assert dispatched(out) == [("b", OTHER)]
    assert CPU in {one.target for one in clock.machine.fleet.workers.values()}


def test_a_worker_that_was_stopped_has_not_failed() -> None:
    clock = two_targets(idle_ns=SECOND, min_workers=0)
    clock.finished("a")
    clock(ev.Retire, target=CPU)
    clock(ev.WorkerStopped, worker_id="cpu-1", epoch=1)
    assert dispatched(clock.submit("b", BOTH)) == []
    assert clock.machine.jobs["b"].targets == BOTH


def test_what_waits_behind_a_late_attempt_goes_to_a_fallback() -> None:
    clock = practised()
    clock.submit("b")
    clock.submit("c", BOTH)
    clock.now += SECOND
    assert dispatched(clock(ev.Timer)) == [("c", OTHER)]
    clock.submit("d", BOTH)
    clock.finished("b")
    assert clock.machine.jobs["d"].live.keys() == {"cpu-1"}, "it is not stuck any more"
    assert not clock.machine.fleet.fallen


def test_a_late_attempt_itself_is_hedged_on_a_fallback() -> None:
    clock = practised()
    clock.submit("b", BOTH)
    clock.now += SECOND
    assert dispatched(clock(ev.Timer)) == [("b", OTHER)]


def test_half_its_time_is_all_a_job_waits_for_the_asked_target() -> None:
    clock = two_targets()
    (wake,) = clock.submit("b", BOTH, deadline_ns=clock.now + 10 * SECOND)
    assert isinstance(wake, do.WakeAt)
    clock.now = wake.at_ns - 10_000
    assert dispatched(clock(ev.Timer)) == []
    clock.now = wake.at_ns
    assert dispatched(clock(ev.Timer)) == [("b", OTHER)]


def test_a_job_short_of_time_takes_whichever_target_is_free_first() -> None:
    clock = two_targets()
    clock.submit("f2", (FIREFOX,))
    clock.submit("b", BOTH, deadline_ns=clock.now + 10 * SECOND)
    clock.now += 6 * SECOND
    assert dispatched(clock(ev.Timer)) == []
    assert dispatched(clock.finished("f2", worker=OTHER)) == [("b", OTHER)]
