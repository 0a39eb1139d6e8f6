# SPDX-License-Identifier: Apache-2.0
"""Whatever happens in whatever order, the machine keeps its promises."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
)

from accelerate_core.errors import BackendUnavailable, ModelError, WorkerLost
from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.machine import Machine
from accelerate_core.fleet.policy import FailureKind, JobView, Retry
from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.fleet.state import WorkerStatus
from accelerate_core.types import Target, WorkerInfo

TARGETS = (
    Target("cpu"),
    Target("wasm", None, "firefox"),
    Target("webgpu", None, "chromium"),
)
MAX_WORKERS = 2


class Sometimes:
    """Retry by the fleet's own random numbers, so that replays must be equal."""

    def decide(self, failed, job, fleet):
        avoid = (failed.worker_id,) if fleet.rng.random() < 0.5 else ()
        return Retry(delay_ns=fleet.rng.choice([0, 5]), avoid=avoid)


def machine() -> Machine:
    return Machine(recovery=Sometimes(), settings=FleetSettings(max_workers=MAX_WORKERS))


class FleetPromises(RuleBasedStateMachine):
    """Play a world that starts, loses, loads, runs and fails as the machine asks, or not."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = machine()
        self.now = 0
        # What the machine asked for and the world has not done yet.
        self.pending_starts: list[do.StartWorker] = []
        self.pending_loads: list[do.LoadModel] = []
        self.pending_runs: list[do.Dispatch] = []
        self.log: list[ev.FleetEvent] = []
        self.said: list[list[do.Instruction]] = []
        self.submitted: set[str] = set()
        self.cancelled: set[str] = set()
        self.answered: dict[str, int] = {}
        self.dispatched: set[tuple[str, int, str, int]] = set()
        self.alive: dict[str, int] = {}
        self.post(ev.Snapshot(at_ns=0, seed=7))

    def post(self, event: ev.FleetEvent) -> None:
        self.log.append(event)
        out = self.machine.handle(event)
        self.said.append(out)
        for one in out:
            match one:
                case do.StartWorker():
                    assert one.worker_id not in self.alive
                    self.alive[one.worker_id] = one.epoch
                    assert len(self.alive) <= MAX_WORKERS
                    self.pending_starts.append(one)
                case do.StopWorker():
                    assert self.alive.pop(one.worker_id) == one.epoch
                    self.post(
                        ev.WorkerStopped(
                            at_ns=self.tick(), worker_id=one.worker_id, epoch=one.epoch
                        )
                    )
                case do.LoadModel():
                    assert self.alive[one.worker_id] == one.epoch
                    self.pending_loads.append(one)
                case do.Dispatch():
                    key = (one.job_id, one.attempt, one.worker_id, one.epoch)
                    assert key not in self.dispatched, "an attempt is dispatched once"
                    assert self.alive[one.worker_id] == one.epoch, "only to live workers"
                    self.dispatched.add(key)
                    self.pending_runs.append(one)
                case do.Complete() | do.Fail():
                    assert one.job_id in self.submitted
                    assert one.job_id not in self.cancelled, "nobody waits for it"
                    self.answered[one.job_id] = self.answered.get(one.job_id, 0) + 1

    def tick(self) -> int:
        self.now += 1
        return self.now

    @rule(
        wanted=st.lists(st.sampled_from(TARGETS), min_size=1, max_size=3, unique=True),
        model=st.sampled_from("mn"),
        priority=st.integers(0, 1),
        load_only=st.booleans(),
        deadline=st.none() | st.integers(1, 30),
    )
    def submit(self, wanted, model, priority, load_only, deadline):
        job = f"job{len(self.submitted)}"
        self.submitted.add(job)
        now = self.tick()
        view = JobView(
            id=job,
            model=model,
            targets=tuple(wanted),
            priority=priority,
            is_load_only=load_only,
            deadline_ns=None if deadline is None else now + deadline,
        )
        self.post(ev.JobSubmitted(at_ns=now, job=view))

    @rule(data=st.data(), slots=st.integers(1, 2), works=st.booleans())
    def start_ends(self, data, slots, works):
        if not self.pending_starts:
            return
        index = data.draw(st.integers(0, len(self.pending_starts) - 1))
        start = self.pending_starts.pop(index)
        if works:
            self.ready(start, slots)
            return
        if self.alive.get(start.worker_id) == start.epoch:
            del self.alive[start.worker_id]
        self.post(
            ev.WorkerFailed(
                at_ns=self.tick(),
                worker_id=start.worker_id,
                epoch=start.epoch,
                error=BackendUnavailable("no").info,
            )
        )

    def ready(self, start, slots):
        info = WorkerInfo(target=start.target, slots=slots)
        self.post(
            ev.WorkerReady(
                at_ns=self.tick(), worker_id=start.worker_id, epoch=start.epoch, info=info
            )
        )

    def load(self, load):
        self.post(
            ev.ModelLoaded(
                at_ns=self.tick(), worker_id=load.worker_id, epoch=load.epoch, model=load.model
            )
        )

    @rule()
    def all_goes_well(self):
        """Start and load everything asked for, so that jobs run."""
        while self.pending_starts or self.pending_loads:
            if self.pending_starts:
                self.ready(self.pending_starts.pop(), 1)
            else:
                self.load(self.pending_loads.pop())

    @rule(data=st.data())
    def load_ends(self, data):
        if not self.pending_loads:
            return
        load = self.pending_loads.pop(data.draw(st.integers(0, len(self.pending_loads) - 1)))
        if data.draw(st.booleans()):
            self.load(load)
            return
        self.post(
            ev.LoadFailed(
                at_ns=self.tick(),
                worker_id=load.worker_id,
                epoch=load.epoch,
                model=load.model,
                kind=data.draw(st.sampled_from(FailureKind)),
                error=ModelError("bad").info,
            )
        )

    @rule(data=st.data(), twice=st.booleans())
    def run_ends(self, data, twice):
        """Answer an attempt, sometimes long after nobody cares, sometimes twice."""
        if not self.pending_runs:
            return
        index = data.draw(st.integers(0, len(self.pending_runs) - 1))
        run = self.pending_runs[index] if twice else self.pending_runs.pop(index)
        same = {
            "at_ns": self.tick(),
            "job_id": run.job_id,
            "attempt": run.attempt,
            "worker_id": run.worker_id,
            "epoch": run.epoch,
        }
        if data.draw(st.booleans()):
            self.post(ev.AttemptFinished(**same))
            return
        kind = data.draw(st.sampled_from(FailureKind))
        self.post(ev.AttemptFailed(**same, kind=kind, error=WorkerLost("x").info))

    @rule(data=st.data())
    def lose(self, data):
        ready = [one for one in self.machine.fleet.workers.values() if one.info is not None]
        if not ready:
            return
        worker = data.draw(st.sampled_from(ready))
        if self.alive.pop(worker.id, None) is None:
            return
        self.post(
            ev.WorkerLost(
                at_ns=self.tick(),
                worker_id=worker.id,
                epoch=worker.epoch,
                error=WorkerLost("gone").info,
            )
        )

    @rule(data=st.data())
    def cancel(self, data):
        waiting = sorted(self.machine.jobs)
        if not waiting:
            return
        job = data.draw(st.sampled_from(waiting))
        self.cancelled.add(job)
        self.post(ev.JobCancelled(at_ns=self.tick(), job_id=job))

    @rule(retired=st.sampled_from(TARGETS))
    def retire(self, retired):
        self.post(ev.Retire(at_ns=self.tick(), target=retired))

    @rule(later=st.integers(1, 40))
    def time_passes(self, later):
        self.now += later
        self.post(ev.Timer(at_ns=self.now))

    @invariant()
    def each_job_is_answered_at_most_once(self) -> None:
        assert all(count == 1 for count in self.answered.values())

    @invariant()
    def no_job_is_forgotten(self) -> None:
        open_jobs = self.submitted - set(self.answered) - self.cancelled
        assert open_jobs == set(self.machine.jobs)

    @invariant()
    def the_index_agrees_with_the_workers(self) -> None:
        fleet = self.machine.fleet
        ready = {one.id for one in fleet.workers.values() if one.status is WorkerStatus.READY}
        assert {one.id for one in fleet.least_loaded(99, TARGETS)} == ready
        for worker in fleet.workers.values():
            for job_id, job in worker.jobs.items():
                assert job.live[worker.id].worker is worker
                assert self.machine.jobs[job_id] is job
            seen = [one.id for one in fleet.idle((worker.target,))]
            assert (worker.id in seen) == worker.has_room
            for model in worker.models:
                with_model = [one.id for one in fleet.idle_with(model, (worker.target,))]
                assert (worker.id in with_model) == worker.has_room

    def teardown(self) -> None:
        replayed = machine()
        assert [replayed.handle(event) for event in self.log] == self.said


TestFleetPromises = FleetPromises.TestCase
TestFleetPromises.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
