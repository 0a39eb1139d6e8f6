# SPDX-License-Identifier: Apache-2.0
"""Half an hour with every core taken, in virtual time: nothing healthy is ended."""

from __future__ import annotations

import heapq
import random
from collections import Counter

import pytest

from accelerate_core.errors import ErrorInfo
from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.machine import Machine
from accelerate_core.fleet.policy import FailedAttempt, FleetView, JobView, Retry
from accelerate_core.fleet.settings import SECOND, BreakerSettings, FleetSettings
from accelerate_core.running.attempts import CANCEL_TIMEOUT_S
from accelerate_core.types import WorkerInfo

from .test_machine import CPU

MINUTE = 60 * SECOND
#: When the cores are taken, and when they are free again.
TAKEN = range(2 * MINUTE, 32 * MINUTE)


class Again:
    def decide(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Retry:
        return Retry()


class World:
    """Workers that answer after a time, or never; nobody says what it is doing meanwhile."""

    def __init__(self, usual_ns: int, workers: int) -> None:
        settings = FleetSettings(
            max_workers=workers, min_workers=workers, breaker=BreakerSettings()
        )
        self.machine = Machine(recovery=Again(), settings=settings)
        self.usual_ns = usual_ns
        self.rng = random.Random(5)
        self.now = 0
        self.counts: Counter[str] = Counter()
        self.stuck: tuple[str, int] | None = None
        self._coming: list[tuple[int, int, ev.FleetEvent]] = []
        self._number = 0

    def later(self, after_ns: int, event: type[ev.FleetEvent], **fields: object) -> None:
        self._number += 1
        at_ns = self.now + after_ns
        heapq.heappush(self._coming, (at_ns, self._number, event(at_ns=at_ns, **fields)))  # type: ignore[call-arg]

    def run(self, until_ns: int) -> None:
        while self._coming and self._coming[0][0] <= until_ns:
            self.now, _, event = heapq.heappop(self._coming)
            for order in self.machine.handle(event):
                self.obey(order)

    def obey(self, order: do.Instruction) -> None:
        self.counts[type(order).__name__] += 1
        match order:
            case do.StartWorker(worker_id, epoch, target):
                info = WorkerInfo(target=target)
                self.later(SECOND, ev.WorkerReady, worker_id=worker_id, epoch=epoch, info=info)
            case do.StopWorker(worker_id, epoch, kill):
                self.counts["killed"] += kill
                self.later(1, ev.WorkerStopped, worker_id=worker_id, epoch=epoch)
            case do.LoadModel(worker_id, epoch, model):
                self.later(1, ev.ModelLoaded, worker_id=worker_id, epoch=epoch, model=model)
            case do.Dispatch(job_id, attempt, worker_id, epoch, _):
                if (worker_id, epoch) != self.stuck:
                    same = {"job_id": job_id, "attempt": attempt}
                    same |= {"worker_id": worker_id, "epoch": epoch}
                    self.later(self.takes(), ev.AttemptFinished, **same)
            case do.CancelAttempt(job_id, attempt, worker_id, epoch):
                where = {"worker_id": worker_id, "epoch": epoch}
                if (worker_id, epoch) != self.stuck:
                    self.later(1, ev.AttemptCancelled, job_id=job_id, attempt=attempt, **where)
                else:  # what the runner does of one that does not stop
                    self.counts["killed"] += 1
                    error = ErrorInfo(kind="WorkerLost", message="does not stop")
                    self.later(
                        round(CANCEL_TIMEOUT_S * SECOND), ev.WorkerLost, error=error, **where
                    )
            case do.WakeAt(at_ns):
                self.later(at_ns - self.now, ev.Timer)

    def takes(self) -> int:
        slow = 10 if self.now in TAKEN else 1
        return round(slow * self.usual_ns * self.rng.uniform(0.8, 1.3))

    def submit_every(self, gap_ns: int, from_ns: int, until_ns: int) -> None:
        for number, at_ns in enumerate(range(from_ns, until_ns, gap_ns)):
            job = JobView(id=f"{from_ns}-{number}", model="m", targets=(CPU,), submitted_ns=at_ns)
            self._number += 1
            event = ev.JobSubmitted(at_ns=at_ns, job=job)
            heapq.heappush(self._coming, (at_ns, self._number, event))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("usual_ns", [SECOND // 20, 2 * SECOND])
def test_tenfold_latencies_cost_hedges_and_never_a_worker(workers: int, usual_ns: int) -> None:
    world = World(usual_ns, workers)
    gap_ns = max(SECOND, 13 * usual_ns // workers)
    world.submit_every(gap_ns // 10, 0, TAKEN.start)
    world.submit_every(gap_ns, TAKEN.start, TAKEN.stop)
    world.run(TAKEN.stop + 30 * MINUTE)
    assert not world.machine.jobs, "everybody was answered"
    assert world.counts["Fail"] == world.counts["killed"] == world.counts["MendWorker"] == 0
    hedges = world.counts["Dispatch"] - world.counts["Complete"]
    assert hedges <= 0.1 * world.counts["Complete"]
    if workers > 1:
        assert hedges, "the test would not see a false alarm"


def test_a_worker_that_hangs_while_all_are_slow_is_ended() -> None:
    world = World(SECOND // 20, 3)
    world.submit_every(SECOND // 10, 0, TAKEN.start)
    world.submit_every(SECOND, TAKEN.start, TAKEN.stop)
    world.run(TAKEN.start + 10 * MINUTE)
    name, worker = next(iter(world.machine.fleet.workers.items()))
    world.stuck = (name, worker.epoch)
    world.run(TAKEN.start + 15 * MINUTE)
    assert world.counts["killed"] == 1
    world.run(TAKEN.stop + 30 * MINUTE)
    assert not world.machine.jobs and world.counts["killed"] == 1 and not world.counts["Fail"]
