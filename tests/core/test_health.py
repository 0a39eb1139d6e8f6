# SPDX-License-Identifier: Apache-2.0
"""Circuits that open, attempts that are late, workers that hang or fail in a row."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from accelerate_core.errors import AccelerateError, ModelError, WorkerLost
from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.breaker import BreakerState
from accelerate_core.fleet.defaults import FirstIdle
from accelerate_core.fleet.health import Condition, condition
from accelerate_core.fleet.policy import FailureKind, GiveUp, Mend, Placement, Retry
from accelerate_core.fleet.settings import SECOND, BreakerSettings, FleetSettings
from accelerate_core.fleet.state import WorkerState, WorkerStatus
from accelerate_core.types import Target

from .test_machine import CPU, FIREFOX, Again
from .test_machine import Clock as PlainClock

OPEN_AFTER_2 = BreakerSettings(minimum_calls=2, probes=1, open_ns=5 * SECOND)
MS = SECOND // 1000


class Clock(PlainClock):
    """On whose workers a cancelled attempt ends at once."""

    def __call__(self, event: type, /, **fields: Any) -> list[do.Instruction]:
        out = super().__call__(event, **fields)
        for one in out:
            if isinstance(one, do.CancelAttempt):
                ended = ev.AttemptCancelled(at_ns=self.now, **attrs.asdict(one))
                out += self.machine.handle(ended)
        return out


def broken(targets: tuple[Target, ...] = (CPU,), **settings: Any) -> Clock:
    """Return a fleet whose worker has failed two jobs: its circuit has just opened."""
    breaker = attrs.evolve(OPEN_AFTER_2, **settings)
    clock = Clock(settings=FleetSettings(breaker=breaker, quarantine_after=9))
    clock.submit("1", targets)
    clock.ready()
    clock.loaded()
    fail(clock, "1")
    clock.submit("2", targets)
    fail(clock, "2")
    return clock


def fail(
    clock: Clock,
    job: str,
    kind: FailureKind = FailureKind.INTERNAL,
    worker: str = "cpu-1",
    attempt: int = 1,
) -> list[do.Instruction]:
    error: AccelerateError = ModelError("bad") if kind is FailureKind.MODEL else WorkerLost("odd")
    same = {"job_id": job, "attempt": attempt, "worker_id": worker, "epoch": 1}
    return clock(ev.AttemptFailed, **same, kind=kind, error=error.info)


def state(clock: Clock, model: str | None = None) -> BreakerState:
    return clock.machine.breakers.states(clock.machine.fleet.now_ns)[model, CPU]


def story(clock: Clock, job: str) -> list[str]:
    return [one.what for one in clock.machine.jobs[job].story]


# --- circuits ---------------------------------------------------------------------------------


def test_a_target_that_fails_gets_no_more_jobs_until_it_is_probed() -> None:
    clock = broken()
    (wake,) = clock.submit("3")
    assert wake == do.WakeAt(clock.machine.fleet.now_ns - 1_000 + 5 * SECOND)
    assert story(clock, "3")[-1] == "waits: circuit open"
    assert clock.submit("4") == []
    clock.now = wake.at_ns
    assert [one for one in clock(ev.Timer) if isinstance(one, do.Dispatch)] == [
        do.Dispatch("3", 1, "cpu-1", 1, "m")
    ], "one probe, and no more"
    assert state(clock) is BreakerState.HALF_OPEN
    out = clock.finished("3")
    assert do.Dispatch("4", 1, "cpu-1", 1, "m") in out
    assert state(clock) is BreakerState.CLOSED


def test_a_probe_that_fails_opens_the_circuit_again() -> None:
    clock = broken()
    (wake,) = clock.submit("3")
    clock.submit("4")
    clock.now = wake.at_ns
    clock(ev.Timer)
    out = fail(clock, "3")
    assert [type(one) for one in out] == [do.Fail, do.WakeAt]
    assert out[1] == do.WakeAt(clock.now + 5 * SECOND)


def test_a_copy_that_is_a_probe_makes_way_for_the_other_copy() -> None:
    clock = broken()
    clock.submit("3", copies=2)
    clock.now += 5 * SECOND
    assert do.Dispatch("3", 1, "cpu-1", 1, "m") in clock(ev.Timer)
    assert story(clock, "3")[-1] == "waits: circuit open"
    assert do.StartWorker("cpu-2", 1, CPU) in clock.finished("3")


def test_a_cancelled_probe_lets_another_through() -> None:
    clock = broken()
    (wake,) = clock.submit("3")
    clock.submit("4")
    clock.now = wake.at_ns
    clock(ev.Timer)
    assert do.Dispatch("4", 1, "cpu-1", 1, "m") in clock(ev.JobCancelled, job_id="3")


def test_a_job_goes_on_to_its_next_target_and_back_when_the_first_is_well() -> None:
    clock = broken()
    start, wake = clock.submit("3", (CPU, FIREFOX))
    assert start == do.StartWorker("wasm:firefox-1", 1, FIREFOX)
    assert isinstance(wake, do.WakeAt), "for the probe"
    assert story(clock, "3")[-1] == "goes on with"
    clock.submit("4", (CPU, FIREFOX))
    clock.now += 5 * SECOND
    out = clock(ev.Timer)
    assert do.Dispatch("3", 1, "cpu-1", 1, "m") in out, "it was not placed elsewhere yet"
    out = clock.finished("3")
    assert do.Dispatch("4", 1, "cpu-1", 1, "m") in out
    assert clock.machine.jobs["4"].targets == (CPU, FIREFOX)


def test_no_target_is_used_that_the_job_does_not_list() -> None:
    clock = broken()
    assert not any(isinstance(one, do.StartWorker) for one in clock.submit("3"))


def test_a_deadline_counts_while_a_circuit_is_open() -> None:
    clock = broken()
    clock.submit("3", deadline_ns=clock.now + SECOND)
    clock.now += SECOND
    (failed, *_) = clock(ev.Timer)
    assert isinstance(failed, do.Fail) and failed.error.kind == "JobTimeout"


@pytest.mark.parametrize("kind", [FailureKind.MODEL, FailureKind.UNSUPPORTED, FailureKind.OVERLOAD])
def test_what_no_worker_can_help_opens_no_circuit(kind: FailureKind) -> None:
    clock = Clock(settings=FleetSettings(breaker=OPEN_AFTER_2))
    clock.running()
    fail(clock, "j", kind)
    for job in "klmn":
        clock.submit(job)
        fail(clock, job, kind)
    assert state(clock) is BreakerState.CLOSED
    assert clock.machine.fleet.workers["cpu-1"].status is WorkerStatus.READY


def test_a_model_that_fails_does_not_keep_others_from_the_target() -> None:
    settings = BreakerSettings(minimum_calls=2, failure_rate=0.9)
    clock = Clock(settings=FleetSettings(breaker=settings))
    clock.running()
    clock.finished()
    for job in "kl":
        clock.submit(job, model="n")
        clock.loaded(model="n")
        fail(clock, job)
    assert state(clock) is BreakerState.CLOSED and state(clock, "n") is BreakerState.OPEN
    assert clock.submit("o") == [do.Dispatch("o", 1, "cpu-1", 1, "m")]
    clock.finished("o")
    assert not any(isinstance(one, do.Dispatch) for one in clock.submit("p", model="n"))


def test_a_scheduler_that_remembers_a_blocked_worker_breaks_its_contract() -> None:
    seen: list[list[str]] = []

    class Stubborn(FirstIdle):
        def pick(self, job, fleet):
            if job.id != "any":
                return super().pick(job, fleet)
            assert fleet.worker("cpu-1") is None
            seen.append([one.id for one in fleet.least_loaded(9, job.targets)])
            return Placement(("cpu-1",))

    clock = Clock(scheduler=Stubborn(), settings=FleetSettings(breaker=OPEN_AFTER_2))
    clock.submit("1")
    clock.ready()
    clock.loaded()
    fail(clock, "1")
    clock.submit("2")
    engine = Target("cpu", "other")
    clock.submit("warm", (engine,), is_load_only=True)
    clock.ready("cpu/other-1", engine)
    fail(clock, "2")
    (refused, *_) = clock.submit("any")
    assert seen == [["cpu/other-1"]], "of two groups that serve it one is left"
    assert isinstance(refused, do.Fail) and "circuit is open" in refused.error.message


def answers(clock: Clock, took_ns: int, count: int = 20) -> BreakerState:
    """Answer jobs, each after that time, until the circuit opens."""
    for _ in range(count):
        job = f"job{clock.now}"
        clock.submit(job)
        clock.now += took_ns
        clock.finished(job)
        if state(clock) is BreakerState.OPEN:
            break
    return state(clock)


def answering(**settings: Any) -> Clock:
    clock = Clock(settings=FleetSettings(breaker=BreakerSettings(**settings), overdue_factor=1e6))
    clock.running()
    clock.finished()
    return clock


@pytest.mark.parametrize("usual_ns", [5 * MS, 50 * MS, 2 * SECOND, 100 * SECOND])
def test_slow_is_what_takes_far_longer_than_the_same_did_before(usual_ns: int) -> None:
    clock = answering(slow_call_factor=20.0)
    assert answers(clock, usual_ns) is BreakerState.CLOSED, "it always takes that long"
    assert answers(clock, 19 * usual_ns) is BreakerState.CLOSED
    clock = answering(slow_call_factor=20.0)
    answers(clock, usual_ns)
    assert answers(clock, 21 * usual_ns) is BreakerState.OPEN


def test_a_configured_duration_of_slow_calls_is_all_that_counts() -> None:
    clock = answering(slow_call_ns=SECOND)
    assert answers(clock, 1 * MS) is BreakerState.CLOSED
    assert answers(clock, 999 * MS) is BreakerState.CLOSED
    assert answers(clock, SECOND + MS) is BreakerState.OPEN
    assert answers(answering(slow_call_ns=SECOND), 2 * SECOND) is BreakerState.OPEN


def test_an_attempt_nobody_waits_for_any_more_was_slow_all_the_same() -> None:
    clock = answering(minimum_calls=1, window=1, slow_call_ns=SECOND)
    clock.submit("k")
    clock.now += 2 * SECOND
    clock(ev.JobCancelled, job_id="k")
    assert state(clock) is BreakerState.OPEN


def test_no_circuit_without_settings() -> None:
    clock = Clock(settings=FleetSettings(breaker=None))
    clock.running()
    fail(clock, "j")
    for number in range(50):
        assert clock.submit(f"{number}") == [do.Dispatch(f"{number}", 1, "cpu-1", 1, "m")]
        fail(clock, f"{number}")


def test_jobs_that_die_with_a_mended_worker_do_not_count_against_it() -> None:
    class MendFirst:
        def decide(self, failed, job, fleet):
            return Retry(mend=Mend.PAGE) if failed.kind is FailureKind.HANG else GiveUp()

    settings = BreakerSettings(minimum_calls=2, failure_rate=0.5)
    clock = Clock(recovery=MendFirst(), settings=FleetSettings(breaker=settings, max_workers=1))
    clock.submit("j")
    clock.ready(slots=4)
    clock.loaded()
    for job in "klm":
        clock.submit(job)
    fail(clock, "j", FailureKind.HANG)
    assert set(clock.machine.jobs) == {"j"}
    assert state(clock) is BreakerState.CLOSED


# --- quarantine -------------------------------------------------------------------------------


def quarantined(clock: Clock, first: int = 0, epoch: int = 1) -> list[do.Instruction]:
    """Have cpu-1 fail three jobs in a row."""
    out: list[do.Instruction] = []
    for number in range(first, first + 3):
        clock.submit(f"{number}")
        error = WorkerLost("odd").info
        same = {"job_id": f"{number}", "attempt": 1, "worker_id": "cpu-1", "epoch": epoch}
        out = clock(ev.AttemptFailed, **same, kind=FailureKind.NUMERICAL, error=error)
    return out


def in_quarantine(**options: Any) -> tuple[Clock, list[do.Instruction]]:
    lenient = BreakerSettings(minimum_calls=20)
    clock = Clock(settings=FleetSettings(breaker=lenient, **options))
    clock.running()
    clock.finished()
    return clock, quarantined(clock)


def test_a_worker_that_fails_in_a_row_is_quarantined_and_then_started_anew() -> None:
    clock, out = in_quarantine()
    worker = clock.machine.fleet.workers["cpu-1"]
    assert condition(worker) is Condition.QUARANTINED
    (wake,) = [one for one in out if isinstance(one, do.WakeAt)]
    assert wake.at_ns == clock.now + SECOND
    assert clock.submit("k") == [do.StartWorker("cpu-2", 1, CPU)], "others do its work"
    clock.now = wake.at_ns
    assert clock(ev.Timer) == [do.StopWorker("cpu-1", 1, kill=True)]


def test_pauses_grow_and_shrink_again() -> None:
    clock, out = in_quarantine(max_workers=1)
    pauses = []
    for epoch in range(2, 6):
        (wake,) = [one for one in out if isinstance(one, do.WakeAt)]
        pauses.append((wake.at_ns - clock.now) // SECOND)
        clock.now = wake.at_ns + (301 * SECOND if epoch == 5 else 0)
        clock(ev.Timer)
        clock(ev.WorkerStopped, worker_id="cpu-1", epoch=epoch - 1)
        clock.submit(f"restart{epoch}")
        clock.ready(epoch=epoch)
        clock.loaded(epoch=epoch)
        clock.finished(f"restart{epoch}", epoch=epoch)
        out = quarantined(clock, 10 * epoch, epoch)
    (wake,) = [one for one in out if isinstance(one, do.WakeAt)]
    pauses.append((wake.at_ns - clock.now) // SECOND)
    assert pauses == [1, 2, 4, 8, 1]


def test_an_answer_in_between_keeps_a_worker_out_of_quarantine() -> None:
    clock = Clock(settings=FleetSettings(breaker=BreakerSettings(minimum_calls=20)))
    clock.running()
    fail(clock, "j")
    for job, is_good in zip("klmno", (False, True, False, False, True), strict=True):
        clock.submit(job)
        clock.finished(job) if is_good else fail(clock, job)
    assert clock.machine.fleet.workers["cpu-1"].status is WorkerStatus.READY


def test_only_an_answer_that_was_compared_makes_up_for_an_odd_one() -> None:
    lenient = BreakerSettings(minimum_calls=20)
    clock = Clock(settings=FleetSettings(breaker=lenient, quarantine_after=2, max_workers=3))
    clock.submit("warm", copies=3)
    for name in ("cpu-1", "cpu-2", "cpu-3"):
        clock.ready(name)
        clock.loaded(name)
    clock(ev.JobCancelled, job_id="warm")
    first = clock.machine.fleet.workers["cpu-1"]

    def compare(job: str, *, is_odd: bool) -> None:
        """Have three workers answer; the first of them agrees with the others or does not."""
        runs = [one for one in clock.submit(job, copies=3) if isinstance(one, do.Dispatch)]
        for run in runs:
            clock.finished(job, run.attempt, run.worker_id)
        (mine,) = [run.attempt for run in runs if run.worker_id == "cpu-1"]
        (other, *_) = [run.attempt for run in runs if run.worker_id != "cpu-1"]
        clock(ev.Compared, job_id=job, accepted=other, odd=(mine,) if is_odd else ())

    compare("1", is_odd=True)
    clock.submit("alone", tried=("cpu-2", "cpu-3"))
    clock.finished("alone")
    assert first.failures == 1, "nobody compared that one"
    compare("2", is_odd=False)
    assert first.failures == 0
    compare("3", is_odd=True)
    assert first.status is WorkerStatus.READY
    compare("4", is_odd=True)
    assert first.status is WorkerStatus.QUARANTINED


def test_what_else_runs_on_a_quarantined_worker_is_done_first() -> None:
    clock = Clock(settings=FleetSettings(breaker=BreakerSettings(minimum_calls=20)))
    clock.submit("long")
    clock.ready(slots=2)
    clock.loaded()
    out = quarantined(clock)
    (wake,) = [one for one in out if isinstance(one, do.WakeAt)]
    clock.now = wake.at_ns
    assert clock(ev.Timer) == []
    assert clock.finished("long") == [
        do.Complete("long", 1, "cpu-1", 1),
        do.StopWorker("cpu-1", 1),
    ]


def test_a_fleet_that_closes_waits_for_no_quarantine() -> None:
    clock, _ = in_quarantine()
    assert do.StopWorker("cpu-1", 1) in clock(ev.Drain)


# --- what is late, and what hangs -------------------------------------------------------------


def seasoned(took_ns: int = 10 * MS, **options: Any) -> Clock:
    """Return two workers that have done 40 jobs of 10 ms; "late" runs on the first."""
    clock = Clock(**options)
    clock.submit("copies", copies=2)
    for worker in ("cpu-1", "cpu-2"):
        clock.ready(worker)
        clock.loaded(worker)
    clock(ev.JobCancelled, job_id="copies")
    for number in range(40):
        out = clock.submit(f"{number}")
        worker = next(one.worker_id for one in out if isinstance(one, do.Dispatch))
        clock.now += took_ns
        clock.finished(f"{number}", worker=worker)
    out = clock.submit("late")
    assert do.Dispatch("late", 1, "cpu-1", 1, "m") in out
    return clock


def run_until(clock: Clock, at_ns: int) -> list[do.Instruction]:
    clock.now = at_ns
    return [one for one in clock(ev.Timer) if not isinstance(one, do.WakeAt)]


def test_nothing_is_overdue_before_enough_was_seen() -> None:
    clock = Clock()
    clock.running()
    assert run_until(clock, 1000 * SECOND) == []


def test_an_overdue_attempt_is_hedged_whatever_the_strategy() -> None:
    clock = seasoned()
    start = clock.now
    assert run_until(clock, start + 20 * MS) == []
    assert run_until(clock, start + 20 * MS + 2_000) == [do.Dispatch("late", 2, "cpu-2", 1, "m")]
    assert story(clock, "late")[-2:] == ["overdue", "hedged"]
    assert clock.finished("late", 2, "cpu-2")[0] == do.Complete("late", 2, "cpu-2", 1)


def test_a_hedge_waits_for_a_worker_that_is_busy() -> None:
    clock = seasoned()
    clock.submit("other")
    assert run_until(clock, clock.now + 25 * MS) == []
    out = clock.finished("other", worker="cpu-2")
    assert do.Dispatch("late", 2, "cpu-2", 1, "m") in out


def test_a_worker_without_progress_hangs_and_is_ended_although_a_hedge_was_there() -> None:
    clock = seasoned()
    start = clock.now
    run_until(clock, start + 25 * MS)
    clock(ev.JobCancelled, job_id="none")
    out = run_until(clock, start + 10 * SECOND)
    assert out == [do.StopWorker("cpu-1", 1, kill=True)]
    assert "attempt failed: hang" in story(clock, "late")
    assert clock.finished("late", 2, "cpu-2")[0] == do.Complete("late", 2, "cpu-2", 1)


def test_progress_puts_the_verdict_off() -> None:
    clock = seasoned()
    start = clock.now
    run_until(clock, start + 25 * MS)
    clock.now = start + 9 * SECOND
    clock(ev.WorkerProgress, worker_id="cpu-1", epoch=1, doing="")
    ended = do.StopWorker("cpu-1", 1, kill=True)
    assert ended not in run_until(clock, start + 10 * SECOND)
    assert ended not in run_until(clock, start + 18 * SECOND)
    assert ended in run_until(clock, start + 20 * SECOND)


def test_a_load_beside_it_puts_the_verdict_off() -> None:
    clock = seasoned()
    start = clock.now
    worker = clock.machine.fleet.workers["cpu-1"]
    worker.loading["another"] = 0
    assert run_until(clock, start + 10 * SECOND)[-1:] != [do.StopWorker("cpu-1", 1, kill=True)]
    worker.loading.clear()
    assert do.StopWorker("cpu-1", 1, kill=True) in run_until(clock, start + 25 * SECOND)


def test_what_hangs_is_the_strategys_to_mend() -> None:
    class MendPage(Again):
        def decide(self, failed, job, fleet):
            assert failed.kind is FailureKind.HANG
            return Retry(mend=Mend.PAGE)

    clock = seasoned(recovery=MendPage())
    clock.submit("other")  # nobody is free to hedge
    out = run_until(clock, clock.now + 11 * SECOND)
    assert do.MendWorker("cpu-1", 2, Mend.PAGE) in out
    assert not any(isinstance(one, do.StopWorker) and one.worker_id == "cpu-1" for one in out)


# --- what users see ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "retired", "jobs", "seen"),
    [
        (WorkerStatus.STARTING, False, 0, Condition.STARTING),
        (WorkerStatus.READY, False, 0, Condition.READY),
        (WorkerStatus.READY, False, 1, Condition.BUSY),
        (WorkerStatus.READY, True, 1, Condition.DRAINING),
        (WorkerStatus.SUSPECT, False, 1, Condition.SUSPECT),
        (WorkerStatus.QUARANTINED, False, 0, Condition.QUARANTINED),
        (WorkerStatus.STOPPING, False, 0, Condition.DRAINING),
        (WorkerStatus.GONE, False, 0, Condition.LOST),
    ],
)
def test_how_a_worker_is(status: WorkerStatus, retired: bool, jobs: int, seen: Condition) -> None:
    clock = Clock()
    clock.submit()
    clock.ready()
    worker: WorkerState = clock.machine.fleet.workers["cpu-1"]
    worker.status, worker.is_retired = status, retired
    worker.jobs = dict(list(worker.jobs.items())[:jobs])
    assert condition(worker) is seen
