# SPDX-License-Identifier: Apache-2.0
"""The fleet machine: events in, instructions out."""

from __future__ import annotations

from typing import Any

import pytest

from accelerate_core.errors import BackendUnavailable, ModelError, WorkerLost
from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.machine import MAX_ATTEMPTS, Machine
from accelerate_core.fleet.policy import (
    FailureKind,
    JobView,
    Placement,
    Reject,
    Retry,
)
from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.types import Target, WorkerInfo

CPU = Target("cpu")
FIREFOX = Target("wasm", None, "firefox")


class Clock:
    """Drive a machine with rising times."""

    def __init__(self, **options: Any) -> None:
        self.machine = Machine(**options)
        self.now = 0

    def __call__(self, event: type, /, **fields: Any) -> list[do.Instruction]:
        self.now += 1_000
        return self.machine.handle(event(at_ns=self.now, **fields))

    def submit(self, job: str = "j", targets: tuple[Target, ...] = (CPU,), **fields: Any):
        view = JobView(
            id=job,
            model=fields.pop("model", "m"),
            targets=targets,
            submitted_ns=self.now,
            **fields,
        )
        return self(ev.JobSubmitted, job=view)

    def ready(self, worker: str = "cpu-1", target: Target = CPU, epoch: int = 1, slots: int = 1):
        info = WorkerInfo(target=target, slots=slots)
        return self(ev.WorkerReady, worker_id=worker, epoch=epoch, info=info)

    def loaded(self, worker: str = "cpu-1", model: str = "m", epoch: int = 1):
        return self(ev.ModelLoaded, worker_id=worker, epoch=epoch, model=model)

    def finished(self, job: str = "j", attempt: int = 1, worker: str = "cpu-1", epoch: int = 1):
        return self(ev.AttemptFinished, job_id=job, attempt=attempt, worker_id=worker, epoch=epoch)

    def failed(self, kind: FailureKind, error: Exception, attempt: int = 1, epoch: int = 1):
        return self(
            ev.AttemptFailed,
            job_id="j",
            attempt=attempt,
            worker_id="cpu-1",
            epoch=epoch,
            kind=kind,
            error=error.info,  # type: ignore[attr-defined]
        )

    def running(self) -> None:
        self.submit()
        self.ready()
        self.loaded()


class Again:
    """Retry for ever, anywhere."""

    def decide(self, failed, job, fleet):
        return Retry()


class Elsewhere:
    """Retry, not on the worker that failed."""

    def decide(self, failed, job, fleet):
        return Retry(avoid=(failed.worker_id,))


def test_a_job_starts_a_worker_loads_its_model_runs_and_completes() -> None:
    clock = Clock()
    assert clock.submit() == [do.StartWorker("cpu-1", 1, CPU)]
    assert clock.ready() == [do.LoadModel("cpu-1", 1, "m")]
    assert clock.loaded() == [do.Dispatch("j", 1, "cpu-1", 1, "m")]
    assert clock.finished() == [do.Complete("j", 1, "cpu-1", 1)]
    assert clock.machine.jobs == {}


def test_a_loaded_model_is_not_loaded_again() -> None:
    clock = Clock()
    clock.running()
    clock.finished()
    assert clock.submit("k") == [do.Dispatch("k", 1, "cpu-1", 1, "m")]


def test_a_load_only_job_completes_without_running() -> None:
    clock = Clock()
    clock.submit(is_load_only=True)
    clock.ready()
    assert clock.loaded() == [do.Complete("j", 1, "cpu-1", 1)]
    assert clock.machine.fleet.worker("cpu-1").running == 0


def test_a_busy_worker_takes_the_next_job_when_it_is_free() -> None:
    clock = Clock()
    clock.running()
    assert clock.submit("k") == []
    assert clock.finished() == [
        do.Complete("j", 1, "cpu-1", 1),
        do.Dispatch("k", 1, "cpu-1", 1, "m"),
    ]


def test_slots_run_jobs_side_by_side() -> None:
    clock = Clock()
    clock.submit("j")
    clock.submit("k")
    clock.ready(slots=2)
    assert clock.loaded() == [
        do.Dispatch("j", 1, "cpu-1", 1, "m"),
        do.Dispatch("k", 1, "cpu-1", 1, "m"),
    ]


def test_higher_priority_goes_first() -> None:
    clock = Clock()
    clock.running()
    clock.submit("low")
    clock.submit("high", priority=1)
    assert clock.finished()[1] == do.Dispatch("high", 1, "cpu-1", 1, "m")


def test_a_late_answer_of_an_old_epoch_is_dropped() -> None:
    clock = Clock(recovery=Again())
    clock.running()
    error = WorkerLost("gone").info
    lost = clock(ev.WorkerLost, worker_id="cpu-1", epoch=1, error=error)
    assert lost == [do.StartWorker("cpu-1", 2, CPU)]
    assert clock.finished() == []
    clock.ready(epoch=2)
    assert clock.loaded(epoch=2) == [do.Dispatch("j", 2, "cpu-1", 2, "m")]
    assert clock.finished(attempt=1, epoch=1) == []
    assert clock.finished(attempt=2, epoch=2) == [do.Complete("j", 2, "cpu-1", 2)]


def test_a_restarted_worker_is_another_worker_to_the_job_that_avoids_it() -> None:
    clock = Clock(recovery=Elsewhere())
    clock.running()
    clock(ev.WorkerLost, worker_id="cpu-1", epoch=1, error=WorkerLost("gone").info)
    assert clock.ready(epoch=2) == [do.LoadModel("cpu-1", 2, "m")]


def test_avoiding_a_live_worker_starts_another() -> None:
    clock = Clock(recovery=Elsewhere())
    clock.running()
    asked = clock.failed(FailureKind.INTERNAL, WorkerLost("odd"))
    assert asked == [do.StartWorker("cpu-2", 1, CPU)]


@pytest.mark.parametrize("kind", [FailureKind.MODEL, FailureKind.UNSUPPORTED])
def test_a_models_own_error_is_never_retried(kind: FailureKind) -> None:
    clock = Clock(recovery=Again())
    clock.running()
    assert clock.failed(kind, ModelError("bad")) == [do.Fail("j", ModelError("bad").info, 1)]


def test_no_policy_retries_for_ever() -> None:
    clock = Clock(recovery=Again())
    clock.running()
    for attempt in range(1, MAX_ATTEMPTS):
        clock.failed(FailureKind.INTERNAL, WorkerLost("odd"), attempt=attempt)
    last = clock.failed(FailureKind.INTERNAL, WorkerLost("odd"), attempt=MAX_ATTEMPTS)
    assert [type(one) for one in last] == [do.Fail]


def test_a_model_that_kills_its_worker_at_load_is_given_up_in_the_end() -> None:
    clock = Clock(recovery=Again())
    clock.submit()
    said: list[do.Instruction] = []
    for epoch in range(1, MAX_ATTEMPTS + 1):
        clock.ready(epoch=epoch)
        lost = WorkerLost("gone").info
        said = clock(ev.WorkerLost, worker_id="cpu-1", epoch=epoch, error=lost)
    assert [type(one) for one in said] == [do.Fail]


def test_a_fallback_is_used_only_when_the_first_cannot_start() -> None:
    clock = Clock()
    assert clock.submit(targets=(FIREFOX, CPU)) == [do.StartWorker("wasm:firefox-1", 1, FIREFOX)]
    error = BackendUnavailable("no firefox").info
    failed = clock(ev.WorkerFailed, worker_id="wasm:firefox-1", epoch=1, error=error)
    assert failed == [do.StartWorker("cpu-1", 1, CPU)]


def test_an_idle_worker_of_a_later_target_does_not_lure_the_job() -> None:
    clock = Clock()
    clock.running()
    clock.finished()
    asked = clock.submit("k", targets=(FIREFOX, CPU))
    assert asked == [do.StartWorker("wasm:firefox-1", 1, FIREFOX)]


def test_without_a_fallback_the_start_error_reaches_the_job() -> None:
    clock = Clock()
    clock.submit()
    error = BackendUnavailable("no cpu").info
    failed = clock(ev.WorkerFailed, worker_id="cpu-1", epoch=1, error=error)
    assert failed == [do.Fail("j", error, 0)]


def test_an_idle_worker_makes_room_for_another_target() -> None:
    clock = Clock(settings=FleetSettings(max_workers=1))
    clock.running()
    clock.finished()
    assert clock.submit("k", targets=(FIREFOX,)) == [do.StopWorker("cpu-1", 1)]
    stopped = clock(ev.WorkerStopped, worker_id="cpu-1", epoch=1)
    assert stopped == [do.StartWorker("wasm:firefox-1", 1, FIREFOX)]


def test_a_busy_worker_is_not_stopped_to_make_room() -> None:
    clock = Clock(settings=FleetSettings(max_workers=1))
    clock.running()
    assert clock.submit("k", targets=(FIREFOX,)) == []
    assert clock.finished() == [do.Complete("j", 1, "cpu-1", 1), do.StopWorker("cpu-1", 1)]


def test_a_deadline_cancels_the_attempt_and_fails_the_job() -> None:
    clock = Clock()
    deadline = 1_000_000_000
    assert do.WakeAt(deadline) in clock.submit(deadline_ns=deadline)
    clock.ready()
    clock.loaded()
    clock.now = deadline
    cancel, fail = clock(ev.Timer)
    assert cancel == do.CancelAttempt("j", 1, "cpu-1", 1)
    assert isinstance(fail, do.Fail) and fail.error.kind == "JobTimeout"
    assert clock.finished() == []


def test_a_deadline_during_a_load_says_what_the_worker_was_doing() -> None:
    clock = Clock()
    clock.submit(deadline_ns=1_000_000_000)
    clock.ready()
    assert clock(ev.WorkerProgress, worker_id="cpu-1", epoch=1, doing="compiling the model") == []
    clock.now = 1_000_000_000
    (fail,) = clock(ev.Timer)
    assert isinstance(fail, do.Fail) and "(loading, compiling the model)" in fail.error.message


def test_what_a_load_said_is_forgotten_with_it() -> None:
    clock = Clock()
    clock.submit(deadline_ns=1_000_000_000)
    clock.ready()
    clock(ev.WorkerProgress, worker_id="cpu-1", epoch=1, doing="compiling the model")
    clock.loaded()
    clock(ev.WorkerProgress, worker_id="cpu-1", epoch=1, doing="late")
    clock.now = 1_000_000_000
    assert [one.error.message for one in clock(ev.Timer) if isinstance(one, do.Fail)] == [
        "no answer after 1.0 s (running)"
    ]


@pytest.mark.parametrize("end", [ev.AttemptCancelled, ev.AttemptFinished])
def test_a_cancelled_job_frees_its_worker_when_its_attempt_has_ended_there(end: Any) -> None:
    clock = Clock()
    clock.running()
    clock.submit("k")
    assert clock(ev.JobCancelled, job_id="j") == [do.CancelAttempt("j", 1, "cpu-1", 1)]
    ended = {"job_id": "j", "attempt": 1, "worker_id": "cpu-1"}
    assert clock(end, epoch=2, **ended) == [], "another epoch's"
    assert clock(end, epoch=1, **ended) == [do.Dispatch("k", 1, "cpu-1", 1, "m")]


def test_a_delayed_retry_waits_for_its_time() -> None:
    class Later:
        def decide(self, failed, job, fleet):
            return Retry(delay_ns=5_000_000)

    clock = Clock(recovery=Later())
    clock.running()
    (wake,) = clock.failed(FailureKind.INTERNAL, WorkerLost("odd"))
    assert isinstance(wake, do.WakeAt)
    clock.now = wake.at_ns
    assert clock(ev.Timer) == [do.Dispatch("j", 2, "cpu-1", 1, "m")]


@pytest.mark.parametrize(
    "answer",
    [
        Placement(("nobody",)),
        Placement(()),
        Placement(("cpu-1", "cpu-1")),
        "cpu-1",
        None,
        Reject("no"),
        RuntimeError("broken"),
    ],
)
def test_a_scheduler_that_breaks_its_contract_fails_that_job_only(answer: Any) -> None:
    class Odd:
        def pick(self, job, fleet):
            if job.id != "odd":
                return Placement(("cpu-1",))
            if isinstance(answer, Exception):
                raise answer
            return answer

    clock = Clock(scheduler=Odd())
    (fail,) = clock.submit("odd")
    assert isinstance(fail, do.Fail) and fail.job_id == "odd"
    assert fail.error.kind == ("BackendUnavailable" if answer == Reject("no") else "PluginError")


def test_a_recovery_policy_that_raises_fails_the_job() -> None:
    class Broken:
        def decide(self, failed, job, fleet):
            raise RuntimeError("broken")

    clock = Clock(recovery=Broken())
    clock.running()
    (fail,) = clock.failed(FailureKind.INTERNAL, WorkerLost("odd"))
    assert isinstance(fail, do.Fail) and fail.error.kind == "PluginError"


def test_a_failed_load_fails_its_jobs_and_the_worker_lives_on() -> None:
    clock = Clock(recovery=Again())
    clock.submit()
    clock.ready()
    failed = clock(
        ev.LoadFailed,
        worker_id="cpu-1",
        epoch=1,
        model="m",
        kind=FailureKind.MODEL,
        error=ModelError("bad").info,
    )
    assert failed == [do.Fail("j", ModelError("bad").info, 1)]
    assert clock.submit("k", model="n") == [do.LoadModel("cpu-1", 1, "n")]


def test_retired_workers_stop_when_idle() -> None:
    clock = Clock()
    clock.running()
    assert clock(ev.Retire, target=CPU) == []
    assert clock.finished() == [do.Complete("j", 1, "cpu-1", 1), do.StopWorker("cpu-1", 1)]


def test_draining_refuses_new_jobs_and_stops_everything_in_the_end() -> None:
    clock = Clock()
    clock.running()
    assert clock(ev.Drain) == []
    (refused,) = clock.submit("k")
    assert isinstance(refused, do.Fail)
    assert do.StopWorker("cpu-1", 1) in clock.finished()


def test_a_worker_that_comes_up_while_draining_is_stopped() -> None:
    clock = Clock()
    clock.submit()
    clock(ev.JobCancelled, job_id="j")
    clock(ev.Drain)
    assert clock.ready() == [do.StopWorker("cpu-1", 1)]


def test_giving_up_is_the_default() -> None:
    clock = Clock()
    clock.running()
    (fail,) = clock.failed(FailureKind.INTERNAL, WorkerLost("odd"))
    assert isinstance(fail, do.Fail) and fail.attempts == 1


def test_time_never_runs_backwards_for_policies() -> None:
    clock = Clock()
    clock.submit()
    before = clock.machine.fleet.now_ns
    clock.machine.handle(ev.Timer(at_ns=before - 500))
    assert clock.machine.fleet.now_ns == before
