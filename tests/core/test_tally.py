# SPDX-License-Identifier: Apache-2.0
"""Metrics and health: what the machine does is counted once, and said in users' words."""

from __future__ import annotations

from typing import Any

import pytest

from accelerate_core.errors import AccelerateError, WorkerLost
from accelerate_core.fleet import events as ev
from accelerate_core.fleet import report
from accelerate_core.fleet.metric import METRICS, Point
from accelerate_core.fleet.policy import FailureKind, Mend, Retry
from accelerate_core.fleet.settings import SECOND, BreakerSettings, FleetSettings
from accelerate_core.fleet.tally import Tally
from accelerate_core.metrics import Totals

from .test_machine import CPU, FIREFOX, Clock

HEALTHY: dict[str, Any] = {"tripped": {}, "pending": 0, "lost": 0, "lost_ns": None, "now_ns": 0}


class Metered(Clock):
    """A machine whose events are counted."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.tally, self.totals = Tally(), Totals()
        self.points: list[Point] = []

    def __call__(self, event: type, /, **fields: Any) -> Any:
        self.now += 1_000
        happened = event(at_ns=self.now, **fields)
        said = self.machine.handle(happened)
        points = self.tally.take(happened, said)
        self.totals.add(points, self.now)
        self.points += points
        return said

    def lost(self, worker: str = "cpu-1", epoch: int = 1) -> Any:
        error = WorkerLost("gone").info
        kind = FailureKind.CRASH
        return self(ev.WorkerLost, worker_id=worker, epoch=epoch, error=error, kind=kind)


class Anew:
    """Try again, on the next target, with the worker mended where the failure is a hang."""

    def decide(self, failed: Any, job: Any, fleet: Any) -> Retry:
        target = job.further[0] if job.further else None
        mend = Mend.PAGE if failed.kind is FailureKind.HANG else None
        return Retry(avoid=(failed.worker_id,), target=target, mend=mend)


def test_a_job_that_goes_well_is_counted_once() -> None:
    clock = Metered()
    clock.running()
    assert clock.totals.pending() == 0 and clock.totals.jobs().answered == 0
    clock.now += 20_000_000
    clock.finished()
    clock.finished()  # late, and dropped
    jobs, workers = clock.totals.jobs(), clock.totals.workers(None)
    assert (jobs.submitted, jobs.answered, jobs.attempts, jobs.retries) == (1, 1, 1, 0)
    assert jobs.duration and jobs.duration.count == 1 and 20 <= jobs.duration.p99_ms < 21
    assert jobs.wait and jobs.wait.p50_ms < 1
    assert workers.live == 1 and workers.starts == {"cpu": 1}
    assert workers.busy_s == pytest.approx(0.020, rel=0.01)


def test_a_loss_is_a_failed_attempt_and_a_failover() -> None:
    clock = Metered(recovery=Anew())
    clock.submit(targets=(CPU, FIREFOX))
    clock.ready()
    clock.loaded()
    clock.lost()
    clock.ready("wasm:firefox-1", FIREFOX)
    clock.loaded("wasm:firefox-1")
    clock.finished(attempt=2, worker="wasm:firefox-1")
    jobs, workers = clock.totals.jobs(), clock.totals.workers(None)
    assert jobs.failed_attempts == {"crash": 1} and workers.losses == {"crash": 1}
    assert (jobs.attempts, jobs.retries, jobs.failovers, jobs.answered) == (2, 1, 1, 1)
    assert jobs.failed == {} and workers.live == 1


def test_mending_is_counted_and_so_is_what_it_interrupts() -> None:
    clock = Metered(recovery=Anew())
    clock.running()
    clock.failed(FailureKind.HANG, AccelerateError("x"))
    clock.ready(epoch=2)
    clock.loaded(epoch=2)
    clock.finished(attempt=2, epoch=2)
    jobs, workers = clock.totals.jobs(), clock.totals.workers(None)
    assert workers.mends == {"page": 1} and workers.live == 1
    assert jobs.failed_attempts == {"hang": 1} and (jobs.retries, jobs.answered) == (1, 1)


def test_memory_is_that_of_the_workers_that_are_left() -> None:
    clock = Metered()

    def held() -> float:
        return sum(one.value for one in clock.points if one.name == "accelerate.worker.memory")

    clock.running()
    for held_bytes in (700, 700, 500):
        clock(ev.WorkerMemory, worker_id="cpu-1", epoch=1, held_bytes=held_bytes)
        assert held() == held_bytes
    clock(ev.WorkerMemory, worker_id="cpu-1", epoch=2, held_bytes=9)  # of another life
    assert held() == 500
    clock.lost()
    assert held() == 0


def test_how_a_job_ended_without_an_answer() -> None:
    clock = Metered()
    clock.running()
    clock.submit("k")
    assert clock.totals.pending() == 1
    clock(ev.JobCancelled, job_id="k")
    clock.failed(FailureKind.MODEL, AccelerateError("bad"))
    clock(ev.JobSubmitted, job=clock_job_without_a_worker())
    failed = ev.WorkerFailed
    error = AccelerateError("no such browser").info
    clock(failed, worker_id="wasm:firefox-1", epoch=1, error=error)
    jobs = clock.totals.jobs()
    assert jobs.cancelled == 1 and jobs.failed == {"AccelerateError": 2} and jobs.pending == 0
    assert clock.totals.workers(None).failed_starts == {"AccelerateError": 1}


def clock_job_without_a_worker() -> Any:
    from accelerate_core.fleet.policy import JobView

    return JobView(id="far", model="m", targets=(FIREFOX,))


def test_every_metric_keeps_to_the_conventions() -> None:
    for metric in METRICS.values():
        assert metric.name.startswith("accelerate.") and metric.name == metric.name.lower()
        assert not metric.name.endswith(("_s", "_ms", "seconds", "_total", ".total"))
        assert metric.unit in ("s", "By") or metric.unit.startswith("{")
        assert (metric.instrument == "histogram") <= (metric.unit == "s")
        assert metric.description.endswith(".")


def test_health_says_what_is_wrong() -> None:
    clock = Metered(settings=FleetSettings(breaker=BreakerSettings(window=1, minimum_calls=1)))
    clock.submit(targets=(CPU,))
    assert [one.state for one in report.workers(clock.machine.fleet, clock.now)] == ["starting"]
    clock.ready()
    clock.loaded()
    (busy,) = report.workers(clock.machine.fleet, clock.now + SECOND)
    assert (busy.state, busy.jobs, busy.models, busy.epoch) == ("busy", 1, ("m",), 1)
    assert busy.age_s >= 1 and report.utilisation([busy]) == 1.0
    assert report.verdict([busy], **HEALTHY).status == "healthy"
    clock(ev.WorkerSilent, worker_id="cpu-1", epoch=1, silent_ns=SECOND)
    known = report.workers(clock.machine.fleet, clock.now)
    suspect = report.verdict(known, **HEALTHY)
    assert (suspect.status, suspect.reasons) == ("degraded", ("cpu-1 is silent",))
    clock.failed(FailureKind.INTERNAL, AccelerateError("x"))
    circuits = clock.machine.breakers.states(clock.now)
    tripped = report.breakers(circuits, name_of=lambda key: f"model {key}")
    assert tripped == {"cpu": "open", "model m on cpu": "open"}
    assert report.verdict([busy], **{**HEALTHY, "tripped": tripped}).status == "degraded"


def test_health_remembers_a_loss_for_a_while_and_knows_when_it_is_stuck() -> None:
    lately = {**HEALTHY, "lost": 1, "lost_ns": 0, "now_ns": 3 * SECOND}
    told = report.verdict([], **lately)
    assert (told.status, told.reasons) == ("degraded", ("a worker was lost 3 s ago",))
    assert report.verdict([], **{**lately, "now_ns": 61 * SECOND}).status == "healthy"
    stuck = report.verdict([], **{**HEALTHY, "pending": 2})
    assert stuck.status == "unhealthy" and "2 jobs wait" in stuck.reasons[0]
    assert stuck["jobs_pending"] == 2
    with pytest.raises(KeyError):
        stuck["nonsense"]
