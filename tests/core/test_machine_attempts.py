# SPDX-License-Identifier: Apache-2.0
"""Jobs with more than one attempt at a time, workers in doubt, and jobs that are written down."""

from __future__ import annotations

import attrs
import pytest

from accelerate_core.errors import (
    AccelerateError,
    BackendUnavailable,
    JobTimeout,
    NumericalError,
    Overloaded,
    WorkerLost,
)
from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.policy import FailureKind, GiveUp, Latency, Mend, Retry
from accelerate_core.fleet.settings import SECOND, FleetSettings

from .test_machine import CPU, FIREFOX, Clock


class Hedging:
    """Start a second attempt after a microsecond."""

    def decide(self, failed, job, fleet):
        return GiveUp()

    def hedge_after(self, job, fleet):
        return 1_000


class Mending:
    def __init__(self, how: Mend) -> None:
        self.how = how

    def decide(self, failed, job, fleet):
        return Retry(mend=self.how if failed.kind is FailureKind.HANG else None)


def two_workers(**options) -> Clock:
    """Return a fleet of two ready workers with the model, and the job running on the first."""
    clock = Clock(**options)
    clock.submit("first", copies=2)
    clock.ready()
    clock.ready("cpu-2")
    for worker in ("cpu-1", "cpu-2"):
        clock.loaded(worker)
    for one in clock(ev.JobCancelled, job_id="first"):
        assert isinstance(one, do.CancelAttempt)
        clock(ev.AttemptCancelled, **attrs.asdict(one))
    assert [type(one) for one in clock.submit()][:1] == [do.Dispatch]
    return clock


def error_of(out: list[do.Instruction]) -> AccelerateError:
    (fail,) = [one for one in out if isinstance(one, do.Fail)]
    return AccelerateError.from_info(fail.error)


def test_copies_run_side_by_side_and_one_answer_is_given() -> None:
    clock = Clock()
    starts = clock.submit(copies=2)
    starts += clock.ready()
    assert [one.worker_id for one in starts if isinstance(one, do.StartWorker)] == [
        "cpu-1",
        "cpu-2",
    ]
    clock.ready("cpu-2")
    clock.loaded()
    clock.loaded("cpu-2")
    assert clock.finished() == []
    compare = clock.finished(attempt=2, worker="cpu-2")
    assert compare == [do.Compare("j", (1, 2))]
    done = clock(ev.Compared, job_id="j", accepted=2, odd=())
    assert done == [do.Complete("j", 2, "cpu-2", 1)]
    assert not clock.machine.jobs


def disagreeing(max_workers: int) -> tuple[Clock, list[do.Instruction]]:
    """Have both copies of "k" answer, and no majority agree."""
    clock = two_workers(settings=FleetSettings(max_workers=max_workers))
    clock.finished()
    clock.submit("k", copies=2)
    clock.finished("k", 1, "cpu-2")  # which has been idle for longer
    clock.finished("k", 2, "cpu-1")
    return clock, clock(ev.Compared, job_id="k", accepted=None, odd=(1, 2))


def test_two_copies_that_disagree_are_an_error_where_nobody_else_can_be_asked() -> None:
    clock, out = disagreeing(max_workers=2)
    error = error_of(out)
    assert isinstance(error, NumericalError) and "nor could another be asked" in str(error)
    assert not clock.machine.jobs
    assert not any(one.failures for one in clock.machine.fleet.workers.values()), "who is wrong?"


def test_a_third_worker_decides_between_two_that_disagree() -> None:
    clock, out = disagreeing(max_workers=3)
    assert out == [do.StartWorker("cpu-3", 1, CPU)]
    clock.ready("cpu-3")
    assert clock.loaded("cpu-3") == [do.Dispatch("k", 3, "cpu-3", 1, "m")]
    assert clock.finished("k", 3, "cpu-3") == [do.Compare("k", (1, 2, 3))]
    (done,) = clock(ev.Compared, job_id="k", accepted=1, odd=(2,))
    assert done == do.Complete("k", 1, "cpu-2", 1)
    assert isinstance(done, do.Complete)
    told = [one.what for one in done.story]
    assert told[-4:] == ["no majority", "placed", "answered", "stands alone"]
    assert {one.id: one.failures for one in clock.machine.fleet.workers.values()} == {
        "cpu-1": 1,
        "cpu-2": 0,
        "cpu-3": 0,
    }


def test_three_that_disagree_are_an_error() -> None:
    clock, _ = disagreeing(max_workers=4)
    clock.ready("cpu-3")
    clock.loaded("cpu-3")
    clock.finished("k", 3, "cpu-3")
    error = error_of(clock(ev.Compared, job_id="k", accepted=None, odd=(1, 2, 3)))
    assert isinstance(error, NumericalError) and "3 workers answered" in str(error)


def test_two_disagree_and_the_third_cannot_be_started() -> None:
    clock, _ = disagreeing(max_workers=3)
    reason = BackendUnavailable("no memory").info
    out = clock(ev.WorkerFailed, worker_id="cpu-3", epoch=1, error=reason)
    assert isinstance(error_of(out), NumericalError)


def test_an_answer_keeps_the_epoch_in_which_it_was_given() -> None:
    """Its worker may be mended between its answer and that of the other copy."""
    clock = two_workers(recovery=Mending(Mend.PAGE))
    clock.finished()
    clock.submit("k", copies=2)
    clock.finished("k", 1, "cpu-2")
    clock.submit("l")
    same = {"job_id": "l", "attempt": 1, "worker_id": "cpu-2", "epoch": 1}
    error = WorkerLost("stuck").info
    out = clock(ev.AttemptFailed, **same, kind=FailureKind.HANG, error=error)
    assert do.MendWorker("cpu-2", 2, Mend.PAGE) in out
    clock.finished("k", 2, "cpu-1")
    out = clock(ev.Compared, job_id="k", accepted=1, odd=(2,))
    assert out[0] == do.Complete("k", 1, "cpu-2", 1)


def test_a_late_attempt_is_hedged_and_the_first_answer_wins() -> None:
    clock = two_workers(recovery=Hedging())
    clock.now += 10_000
    out = clock(ev.Timer)
    assert do.Dispatch("j", 2, "cpu-2", 1, "m") in out
    assert clock.finished(attempt=2, worker="cpu-2") == [
        do.Complete("j", 2, "cpu-2", 1),
        do.CancelAttempt("j", 1, "cpu-1", 1),
    ]
    assert clock.finished() == []


def test_a_late_attempt_is_hedged_as_soon_as_a_worker_is_free() -> None:
    clock = two_workers(recovery=Hedging())
    clock.submit("k")
    clock.now += 10_000
    assert not [one for one in clock(ev.Timer) if isinstance(one, do.Dispatch)]  # all are busy
    out = clock.finished("k", 1, "cpu-2")
    assert do.Dispatch("j", 2, "cpu-2", 1, "m") in out


def test_what_a_few_stuck_attempts_took_makes_nobody_else_less_late() -> None:
    usual = Latency(p50_ns=50, p95_ns=90, count=40)
    stuck = Latency(p50_ns=50, p95_ns=14_000, count=40)
    assert (usual.late_ns, stuck.late_ns) == (90, 500)


def test_a_failure_beside_a_hedge_is_not_the_jobs() -> None:
    clock = two_workers(recovery=Hedging())
    clock.now += 10_000
    clock(ev.Timer)
    assert clock.failed(FailureKind.INTERNAL, WorkerLost("odd")) == []
    assert clock.finished(attempt=2, worker="cpu-2") == [do.Complete("j", 2, "cpu-2", 1)]


def test_a_silent_worker_gets_no_jobs_and_its_own_are_hedged() -> None:
    clock = two_workers()
    out = clock(ev.WorkerSilent, worker_id="cpu-1", epoch=1, silent_ns=SECOND)
    assert do.Dispatch("j", 2, "cpu-2", 1, "m") in out
    assert clock.machine.fleet.idle((CPU,)) == ()
    # It only was slow: its answer counts, and it works on.
    clock(ev.WorkerHeard, worker_id="cpu-1", epoch=1)
    assert clock.finished()[0] == do.Complete("j", 1, "cpu-1", 1)


def test_a_moment_of_silence_is_no_reason_to_doubt() -> None:
    clock = two_workers()
    assert clock(ev.WorkerSilent, worker_id="cpu-1", epoch=1, silent_ns=1_000) == []


@pytest.mark.parametrize("how", [Mend.DEVICE, Mend.PAGE])
def test_a_mended_worker_is_of_another_epoch_and_loads_anew(how: Mend) -> None:
    clock = Clock(recovery=Mending(how))
    clock.running()
    out = clock.failed(FailureKind.HANG, WorkerLost("stuck"))
    assert out == [do.MendWorker("cpu-1", 2, how)]
    assert clock.finished() == [], "an answer of before the mending counts no more"
    assert clock.ready(epoch=2) == [do.LoadModel("cpu-1", 2, "m")]
    assert clock.loaded(epoch=2) == [do.Dispatch("j", 2, "cpu-1", 2, "m")]


def test_mending_by_restart_kills_and_starts_another() -> None:
    clock = Clock(recovery=Mending(Mend.RESTART))
    clock.running()
    out = clock.failed(FailureKind.HANG, WorkerLost("stuck"))
    assert out[0] == do.StopWorker("cpu-1", 1, kill=True)
    assert isinstance(out[1], do.StartWorker)


def test_mending_recovers_what_else_ran_there() -> None:
    clock = Clock(recovery=Mending(Mend.PAGE))
    clock.submit()
    clock.ready(slots=2)
    clock.loaded()
    clock.submit("k")
    out = clock.failed(FailureKind.HANG, WorkerLost("stuck"))
    assert [one for one in out if isinstance(one, do.MendWorker)] == [
        do.MendWorker("cpu-1", 2, Mend.PAGE)
    ]
    assert set(clock.machine.jobs) == {"j", "k"}


def test_a_durable_job_is_written_down_before_it_runs() -> None:
    clock = two_workers()
    assert clock.submit("k", is_durable=True) == [do.Persist("k")]
    assert do.Dispatch("k", 1, "cpu-2", 1, "m") in clock(ev.Persisted, job_id="k")
    assert clock(ev.Persisted, job_id="k") == []


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    clock = Clock(settings=FleetSettings(max_workers=1, max_queue=2))
    clock.running()
    clock.submit("k")
    clock.submit("l")
    refused = error_of(clock.submit("m"))
    assert isinstance(refused, Overloaded) and refused.info.retry_after
    assert set(clock.machine.jobs) == {"j", "k", "l"}


def test_recovery_may_choose_among_the_jobs_own_targets_only() -> None:
    class Elsewhere:
        def decide(self, failed, job, fleet):
            return Retry(target=FIREFOX)

    clock = Clock(recovery=Elsewhere())
    clock.submit(targets=(CPU, FIREFOX))
    clock.ready()
    clock.loaded()
    out = clock.failed(FailureKind.CRASH, WorkerLost("gone"))
    assert [one.target for one in out if isinstance(one, do.StartWorker)] == [FIREFOX]
    clock = Clock(recovery=Elsewhere())
    clock.running()
    assert do.Dispatch("j", 2, "cpu-1", 1, "m") in clock.failed(
        FailureKind.CRASH, WorkerLost("gone")
    )


def test_the_story_tells_what_happened_in_order() -> None:
    clock = two_workers(recovery=Mending(Mend.RESTART))
    clock.failed(FailureKind.HANG, WorkerLost("stuck"))
    (done,) = [one for one in clock.finished(attempt=2, worker="cpu-2")][:1]
    assert isinstance(done, do.Complete)
    assert [one.what for one in done.story] == [
        "submitted",
        "placed",
        "attempt failed: hang",
        "placed",
        "answered",
    ]
    assert [one.at_ns for one in done.story] == sorted(one.at_ns for one in done.story)


class Later:
    """Try again for ever, a second later."""

    def decide(self, failed, job, fleet):
        return Retry(delay_ns=SECOND)


def test_a_job_is_recovered_for_as_long_as_it_may_be() -> None:
    clock = Clock(recovery=Later())
    clock.submit(recovery_ns=SECOND * 3 // 2)
    clock.ready()
    clock.loaded()
    assert do.WakeAt(clock.now + 1_000 + SECOND) in clock.failed(FailureKind.HANG, WorkerLost("x"))
    clock.now += SECOND
    assert do.Dispatch("j", 2, "cpu-1", 1, "m") in clock(ev.Timer)  # within that time
    clock.now += SECOND
    out = clock(ev.Timer)
    assert do.CancelAttempt("j", 2, "cpu-1", 1) in out
    error = error_of(out)
    assert isinstance(error, JobTimeout) and "within 1.5 s" in str(error)


def test_the_last_failure_is_the_error_of_a_job_that_may_not_be_recovered() -> None:
    clock = Clock(recovery=Later())
    clock.submit(recovery_ns=0)
    clock.ready()
    clock.loaded()
    assert isinstance(error_of(clock.failed(FailureKind.HANG, WorkerLost("x"))), WorkerLost)


def test_a_strategy_is_told_how_long_and_how_often_a_job_failed_and_what_is_left() -> None:
    seen = []

    class Watching:
        def decide(self, failed, job, fleet):
            seen.append((failed.attempt, failed.failures, failed.failing_since_ns, job.further))
            return Retry()

    clock = Clock(recovery=Watching())
    clock.submit(targets=(CPU, FIREFOX))
    clock.ready()
    clock.loaded()
    clock.failed(FailureKind.INTERNAL, WorkerLost("odd"))
    first = clock.now
    clock.failed(FailureKind.INTERNAL, WorkerLost("odd"), attempt=2)
    assert seen == [(1, 1, first, (FIREFOX,)), (2, 2, first, (FIREFOX,))]


def test_the_fleet_knows_which_part_of_its_attempts_are_hedges() -> None:
    clock = two_workers(recovery=Hedging())
    assert clock.machine.fleet.hedged_share == 0.0
    clock.now += 10_000
    clock(ev.Timer)
    assert clock.machine.fleet.hedged_share == 1 / 128  # however few there were
    for _ in range(200):
        clock.machine.fleet.dispatched(is_hedge=False)
    assert clock.machine.fleet.hedged_share == 0.0


def test_a_late_answer_of_an_earlier_attempt_on_the_same_worker_counts_not() -> None:
    class Again:
        def decide(self, failed, job, fleet):
            return Retry()

    clock = Clock(recovery=Again())
    clock.running()
    assert do.Dispatch("j", 2, "cpu-1", 1, "m") in clock.failed(
        FailureKind.TIMEOUT, WorkerLost("late")
    )
    assert clock.finished(attempt=1) == []
    assert clock.finished(attempt=2)[0] == do.Complete("j", 2, "cpu-1", 1)


def test_a_late_job_that_was_answered_meanwhile_is_not_hedged() -> None:
    clock = Clock(settings=FleetSettings(max_workers=1))
    clock.running()
    clock(ev.WorkerSilent, worker_id="cpu-1", epoch=1, silent_ns=SECOND)  # nobody is free
    assert clock.finished() == [do.Complete("j", 1, "cpu-1", 1)]
    assert clock(ev.WorkerHeard, worker_id="cpu-1", epoch=1) == []
