# SPDX-License-Identifier: Apache-2.0
"""Jobs that need what only one worker has: they run there, or fail at once."""

from __future__ import annotations

import pytest

from accelerate_core.errors import Overloaded, SessionLost, WorkerLost
from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.policy import FailureKind, Mend, Pin, Retry
from accelerate_core.fleet.settings import SECOND, FleetSettings

from .test_machine import CPU, FIREFOX, Clock
from .test_machine_attempts import Mending, error_of, two_workers

HERE = Pin("cpu-2", 1)


def failed(clock: Clock, kind: FailureKind):
    """Have the pinned job `a` fail."""
    error = WorkerLost("it failed").info
    return clock(
        ev.AttemptFailed,
        job_id="a",
        attempt=1,
        worker_id="cpu-2",
        epoch=1,
        kind=kind,
        error=error,
    )


def test_a_pinned_job_goes_to_its_worker_though_that_is_busy() -> None:
    clock = two_workers()
    (dispatch,) = [one for one in clock.submit("a", pin=HERE) if isinstance(one, do.Dispatch)]
    assert (dispatch.job_id, dispatch.worker_id, dispatch.epoch) == ("a", "cpu-2", 1)
    (second,) = [one for one in clock.submit("b", pin=HERE) if isinstance(one, do.Dispatch)]
    assert second.worker_id == "cpu-2"
    # Nobody else is placed beside them.
    assert not [one for one in clock.submit("c") if isinstance(one, do.Dispatch)]
    assert clock.finished("a", worker="cpu-2") == [do.Complete("a", 1, "cpu-2", 1)]


@pytest.mark.parametrize("pin", [Pin("cpu-3", 1), Pin("cpu-2", 2), Pin("cpu-2", 0)])
def test_a_worker_of_another_epoch_does_not_have_it(pin: Pin) -> None:
    clock = two_workers()
    assert isinstance(error_of(clock.submit("a", pin=pin)), SessionLost)
    assert "a" not in clock.machine.jobs


def test_a_worker_without_the_model_does_not_have_it() -> None:
    clock = two_workers()
    assert isinstance(error_of(clock.submit("a", model="other", pin=HERE)), SessionLost)


def test_a_pinned_job_goes_down_with_its_worker_and_no_strategy_moves_it() -> None:
    clock = two_workers(recovery=Mending(Mend.PAGE))
    clock.submit("a", pin=HERE)
    out = clock(
        ev.WorkerLost,
        worker_id="cpu-2",
        epoch=1,
        error=WorkerLost("gone").info,
        kind=FailureKind.CRASH,
    )
    assert isinstance(error_of(out), WorkerLost)
    assert not [one for one in out if isinstance(one, do.Dispatch)]


def test_a_strategy_still_says_what_is_mended() -> None:
    clock = two_workers(recovery=Mending(Mend.PAGE))
    clock.submit("a", pin=HERE)
    out = failed(clock, FailureKind.HANG)
    assert [type(one) for one in out[:2]] == [do.Fail, do.MendWorker]
    # What was there is not, in the new epoch.
    assert isinstance(error_of(clock.submit("b", pin=HERE)), SessionLost)


def test_a_session_that_is_gone_is_no_fault_of_its_worker() -> None:
    asked = []

    class Strategy:
        def decide(self, failed, job, fleet):
            asked.append(failed)
            return Retry()

    clock = two_workers(recovery=Strategy())
    clock.submit("a", pin=HERE)
    out = failed(clock, FailureKind.SESSION)
    assert [type(one) for one in out] == [do.Fail] and not asked


def test_a_pinned_job_is_not_hedged_and_is_not_refused_for_a_full_queue() -> None:
    class Hedging:
        def decide(self, failed, job, fleet):
            return Retry()

        def hedge_after(self, job, fleet):
            return 1_000

    clock = two_workers(recovery=Hedging(), settings=FleetSettings(max_queue=1, max_workers=2))
    clock.submit("other", pin=HERE)
    clock.submit("waits")
    assert isinstance(error_of(clock.submit("refused")), Overloaded)
    out = clock.submit("a", pin=HERE)
    clock.now += SECOND
    out += clock(ev.Timer)
    assert [one.job_id for one in out if isinstance(one, do.Dispatch)] == ["a"]


def test_deadlines_hold_for_pinned_jobs() -> None:
    clock = two_workers()
    clock.submit("a", pin=HERE, deadline_ns=clock.now + SECOND)
    clock.now += 2 * SECOND
    assert [type(one) for one in clock(ev.Timer)] == [do.CancelAttempt, do.Fail]


def test_a_worker_with_sessions_is_the_last_to_make_room() -> None:
    clock = two_workers(settings=FleetSettings(max_workers=2))
    clock.finished()
    clock(ev.SessionsOpen, worker_id="cpu-1", epoch=1, count=1)
    stops = [one for one in clock.submit("a", targets=(FIREFOX,)) if isinstance(one, do.StopWorker)]
    assert [one.worker_id for one in stops] == ["cpu-2"]


def test_policies_see_how_many_sessions_a_worker_has_now() -> None:
    clock = two_workers()
    seen = []
    for count in (0, 2, 1):
        clock(ev.SessionsOpen, worker_id="cpu-2", epoch=1, count=count)
        seen.append(clock.machine.fleet.worker("cpu-2").sessions)
    assert seen == [0, 2, 1]


def test_a_job_keeps_away_from_workers_it_was_told_of() -> None:
    clock = two_workers()
    clock.finished()
    out = clock.submit("a", targets=(CPU,), tried=("cpu-1",))
    assert [one.worker_id for one in out if isinstance(one, do.Dispatch)] == ["cpu-2"]
