# SPDX-License-Identifier: Apache-2.0
"""Whatever happens in whatever order, the machine keeps its promises.

The world here does what the machine asks for, or fails at it, late or never. It keeps its own
books of what it was told, and finds in them whatever the machine must not say.
"""

from __future__ import annotations

from typing import Any

import attrs
import hypothesis
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from accelerate_core.errors import BackendUnavailable, ModelError, StoreError, WorkerLost
from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.breaker import BreakerState
from accelerate_core.fleet.machine import Machine
from accelerate_core.fleet.policy import FailureKind, GiveUp, JobView, Mend, Pin, Retry
from accelerate_core.fleet.settings import BreakerSettings, FleetSettings
from accelerate_core.fleet.state import WorkerStatus
from accelerate_core.types import Target, WorkerInfo

TARGETS = (
    Target("cpu"),
    Target("wasm", None, "firefox"),
    Target("webgpu", None, "chromium"),
)
MAX_WORKERS = 3
#: Steps in which everything goes well until every job has to be answered: so many, and for each
#: job that is open.
SOON, EACH = 200, 20


class Sometimes:
    """Do anything a strategy may, by the fleet's own random numbers: replays must be equal."""

    def decide(self, failed, job, fleet):
        rng = fleet.rng
        if rng.random() < 0.1:
            return GiveUp()
        return Retry(
            delay_ns=rng.choice([0, 0, 5]),
            avoid=(failed.worker_id,) if rng.random() < 0.5 else (),
            mend=rng.choice([None, None, *Mend]),
            target=rng.choice([None, None, *job.targets, *job.further]),
            model=rng.choice([None, *job.degraded]),
        )

    def hedge_after(self, job, fleet):
        return fleet.rng.choice([None, 3])


def settings_of(breaker: BreakerSettings | None, **more: Any) -> FleetSettings:
    """Return settings in which everything is late, hangs, opens and is quarantined soon."""
    return FleetSettings(
        max_workers=MAX_WORKERS,
        breaker=breaker,
        suspect_after_ns=2,
        overdue_ns=4,
        overdue_factor=1.0,
        overdue_calls=5,
        hung_ns=12,
        hung_factor=1.5,
        quarantine_after=2,
        quarantine_ns=6,
        quarantine_max_ns=20,
        **more,
    )


@attrs.define(eq=False)
class Body:
    """A worker as the world knows it."""

    epoch: int
    target: Target
    phase: str = "starting"  # up, mending, stopping, killed
    models: set[str] = attrs.field(factory=set)


class FleetPromises(RuleBasedStateMachine):
    """Play a world that starts, loads, runs, mends, falls silent and fails as it likes."""

    @initialize(
        breaker=st.none()
        | st.builds(
            BreakerSettings,
            window=st.just(4),
            minimum_calls=st.integers(1, 3),
            probes=st.integers(1, 2),
            open_ns=st.just(9),
            half_open_ns=st.sampled_from([0, 15]),
        ),
        max_queue=st.sampled_from([3, 100]),
    )
    def begin(self, breaker, max_queue):
        self.settings = settings_of(breaker, max_queue=max_queue)
        self.machine = Machine(recovery=Sometimes(), settings=self.settings)
        self.now = 0
        self.wake: int | None = None
        self.bodies: dict[str, Body] = {}
        # What the machine asked for and the world has not done yet.
        self.starts: list[do.StartWorker] = []
        self.loads: list[do.LoadModel] = []
        self.runs: list[do.Dispatch] = []
        self.mends: list[do.MendWorker] = []
        self.stops: list[do.StopWorker] = []
        self.cancels: list[do.CancelAttempt] = []
        self.persists: list[str] = []
        self.compares: list[do.Compare] = []
        self.log: list[ev.FleetEvent] = []
        self.said: list[list[do.Instruction]] = []
        self.asked: dict[str, JobView] = {}
        self.cancelled: set[str] = set()
        self.answered: dict[str, int] = {}
        self.attempts: set[tuple[str, int]] = set()
        #: Jobs whose copies were tied, and get one more.
        self.tied: set[str] = set()
        #: (job, worker) -> the attempt that is under way there.
        self.live: dict[tuple[str, str], do.Dispatch] = {}
        #: (job, attempt) that was answered while it was under way.
        self.good: dict[tuple[str, int], do.Dispatch] = {}
        self.post(ev.Snapshot(at_ns=0, seed=7))

    # --- the world hears ----------------------------------------------------------------------

    def post(self, event: ev.FleetEvent) -> None:
        self.log.append(event)
        if isinstance(event, ev.AttemptFinished | ev.AttemptFailed):  # before it was cancelled
            key = (event.job_id, event.attempt, event.epoch)
            self.cancels = [
                one for one in self.cancels if (one.job_id, one.attempt, one.epoch) != key
            ]
        out = self.machine.handle(event)
        self.said.append(out)
        for one in out:
            self.obey(one)

    def obey(self, one: do.Instruction) -> None:
        match one:
            case do.StartWorker():
                assert one.worker_id not in self.bodies
                self.bodies[one.worker_id] = Body(one.epoch, one.target)
                # What is killed does not count any more.
                staying = [body for body in self.bodies.values() if body.phase != "killed"]
                assert len(staying) <= MAX_WORKERS
                self.starts.append(one)
            case do.StopWorker():
                body = self.body(one)
                assert body.phase == "up", "only what has come up can be stopped"
                body.phase = "killed" if one.kill else "stopping"
                self.end_all(one.worker_id)
                self.stops.append(one)
            case do.MendWorker():
                body = self.bodies[one.worker_id]
                assert one.epoch > body.epoch and body.phase == "up"
                self.end_all(one.worker_id)
                self.bodies[one.worker_id] = Body(one.epoch, body.target, "mending")
                self.mends.append(one)
            case do.LoadModel():
                assert self.body(one).phase == "up"
                assert one.model not in self.body(one).models, "it has it"
                self.loads.append(one)
            case do.UnloadModel():
                self.body(one).models.remove(one.model)
            case do.Persist():
                assert self.asked[one.job_id].is_durable
                self.persists.append(one.job_id)
            case do.Dispatch():
                self.hear_dispatch(one)
            case do.CancelAttempt():
                gone = self.live.pop((one.job_id, one.worker_id))
                assert (gone.attempt, gone.epoch) == (one.attempt, one.epoch)
                self.cancels.append(one)
            case do.Compare():
                found = [self.good[one.job_id, attempt] for attempt in one.attempts]
                assert len(found) == self.copies(one.job_id) > 1
                assert len({(run.worker_id, run.epoch) for run in found}) == len(found)
                self.compares.append(one)
            case do.Complete() | do.Fail():
                self.hear_answer(one)
            case do.WakeAt():
                self.wake = one.at_ns

    def hear_dispatch(self, one: do.Dispatch) -> None:
        job, body = self.asked[one.job_id], self.body(one)
        assert body.phase == "up", "only to workers that have come up"
        assert one.model in body.models, "only where the model is"
        assert one.model in (job.model, *job.degraded)
        assert any(target.covers(body.target) for target in job.targets)
        assert (one.job_id, one.attempt) not in self.attempts, "an attempt is dispatched once"
        assert (one.job_id, one.worker_id) not in self.live, "one attempt on a worker at a time"
        assert one.job_id not in self.persists, "first it is written down"
        assert not self.is_over(one.job_id), "nobody waits for it"
        self.attempts.add((one.job_id, one.attempt))
        self.live[one.job_id, one.worker_id] = one
        under_way = [job_id for job_id, _ in self.live if job_id == one.job_id]
        assert len(under_way) <= self.copies(one.job_id) + 1, "copies and one hedge"
        self.runs.append(one)

    def hear_answer(self, one: do.Complete | do.Fail) -> None:
        job = self.asked[one.job_id]
        assert one.job_id not in self.cancelled, "nobody waits for it"
        self.answered[one.job_id] = self.answered.get(one.job_id, 0) + 1
        if isinstance(one, do.Complete):
            self.live.pop((one.job_id, one.worker_id), None)
            if not job.is_load_only:
                run = self.good[one.job_id, one.attempt]
                assert (run.worker_id, run.epoch) == (one.worker_id, one.epoch)

    def body(self, one: Any) -> Body:
        body = self.bodies[one.worker_id]
        assert body.epoch == one.epoch, "to workers of this epoch only"
        return body

    def copies(self, job_id: str) -> int:
        return self.asked[job_id].copies + (job_id in self.tied)

    def is_over(self, job_id: str) -> bool:
        return job_id in self.answered or job_id in self.cancelled

    def end_all(self, worker_id: str) -> None:
        """Forget the attempts of a worker that is gone, stuck or made anew."""
        for key in [key for key in self.live if key[1] == worker_id]:
            del self.live[key]

    # --- the world acts -----------------------------------------------------------------------

    def tick(self) -> int:
        self.now += 1
        return self.now

    def at(self, one: Any) -> dict[str, Any]:
        return {"at_ns": self.tick(), "worker_id": one.worker_id, "epoch": one.epoch}

    def is_current(self, one: Any, *phases: str) -> bool:
        body = self.bodies.get(one.worker_id)
        return body is not None and body.epoch == one.epoch and body.phase in phases

    def come_up(self, one: do.StartWorker | do.MendWorker, slots: int) -> None:
        body = self.bodies[one.worker_id]
        body.phase = "up"
        self.post(ev.WorkerReady(**self.at(one), info=WorkerInfo(target=body.target, slots=slots)))

    def loaded(self, one: do.LoadModel) -> None:
        if self.is_current(one, "up"):
            self.bodies[one.worker_id].models.add(one.model)
        self.post(ev.ModelLoaded(**self.at(one), model=one.model))

    def stopped(self, one: do.StopWorker) -> None:
        del self.bodies[one.worker_id]
        self.post(ev.WorkerStopped(**self.at(one)))

    def cancelled_ends(self, one: do.CancelAttempt) -> None:
        same = {"job_id": one.job_id, "attempt": one.attempt}
        self.post(ev.AttemptCancelled(**self.at(one), **same))

    def written(self, job_id: str, *, well: bool = True) -> None:
        error = None if well else StoreError("the disk is full").info
        self.post(ev.Persisted(at_ns=self.tick(), job_id=job_id, error=error))

    def finish(self, one: do.Dispatch) -> None:
        if self.live.get((one.job_id, one.worker_id)) is one and self.is_current(one, "up"):
            self.good[one.job_id, one.attempt] = one
            del self.live[one.job_id, one.worker_id]
        self.post(ev.AttemptFinished(**self.at(one), job_id=one.job_id, attempt=one.attempt))

    def lost(self, worker_id: str) -> None:
        body = self.bodies.pop(worker_id)
        self.end_all(worker_id)
        error = WorkerLost("gone").info
        self.post(
            ev.WorkerLost(at_ns=self.tick(), worker_id=worker_id, epoch=body.epoch, error=error)
        )

    def compared(self, one: do.Compare, accepted: int | None) -> None:
        others = [attempt for attempt in one.attempts if attempt != accepted]
        odd = one.attempts if accepted is None else tuple(others[: (len(one.attempts) - 1) // 2])
        if accepted is None and len(odd) % 2 == 0:
            self.tied.add(one.job_id)
        self.post(ev.Compared(at_ns=self.tick(), job_id=one.job_id, accepted=accepted, odd=odd))

    def pick(self, data: st.DataObject, things: list[Any]) -> Any:
        return things.pop(data.draw(st.integers(0, len(things) - 1)))

    @rule(
        wanted=st.lists(st.sampled_from(TARGETS), min_size=1, max_size=3, unique=True),
        model=st.sampled_from("mn"),
        priority=st.integers(0, 1),
        load_only=st.sampled_from([False, False, False, True]),
        deadline=st.none() | st.integers(1, 60),
        recovery=st.none() | st.integers(1, 60),
        copies=st.sampled_from([1, 1, 2, 3]),
        durable=st.booleans(),
        degraded=st.sampled_from([(), ("small",)]),
        times=st.integers(1, 3),
    )
    def submit(
        self,
        wanted,
        model,
        priority,
        load_only,
        deadline,
        recovery,
        copies,
        durable,
        degraded,
        times,
    ):
        for _ in range(times):
            now = self.tick()
            job = JobView(
                id=f"job{len(self.asked)}",
                model=model,
                targets=tuple(wanted),
                priority=priority,
                is_load_only=load_only,
                submitted_ns=now,
                deadline_ns=None if deadline is None else now + deadline,
                recovery_ns=recovery,
                copies=1 if load_only else copies,
                is_durable=durable and not load_only,
                degraded=degraded,
            )
            self.asked[job.id] = job
            self.post(ev.JobSubmitted(at_ns=now, job=job))

    @precondition(lambda self: self.bodies)
    @rule(data=st.data(), off=st.sampled_from([0, 0, 1]))
    def submit_pinned(self, data, off):
        worker_id = data.draw(st.sampled_from(sorted(self.bodies)))
        body = self.bodies[worker_id]
        now = self.tick()
        job = JobView(
            id=f"job{len(self.asked)}",
            model=data.draw(st.sampled_from("mn")),
            targets=(body.target,),
            submitted_ns=now,
            pin=Pin(worker_id, body.epoch - off),
        )
        self.asked[job.id] = job
        self.post(ev.JobSubmitted(at_ns=now, job=job))

    @precondition(lambda self: self.starts)
    @rule(data=st.data(), slots=st.integers(1, 2), works=st.sampled_from([True, True, False]))
    def start_ends(self, data, slots, works):
        start = self.pick(data, self.starts)
        if works:
            self.come_up(start, slots)
            return
        del self.bodies[start.worker_id]
        self.post(ev.WorkerFailed(**self.at(start), error=BackendUnavailable("no").info))

    @precondition(lambda self: self.mends)
    @rule(data=st.data(), works=st.booleans())
    def mend_ends(self, data, works):
        mend = self.pick(data, self.mends)
        if not self.is_current(mend, "mending"):
            return
        if works:
            self.come_up(mend, 1)
        else:
            self.lost(mend.worker_id)

    @precondition(lambda self: self.stops)
    @rule(data=st.data())
    def stop_ends(self, data):
        self.stopped(self.pick(data, self.stops))

    @precondition(lambda self: self.loads)
    @rule(data=st.data(), kind=st.sampled_from([None, None, *FailureKind]))
    def load_ends(self, data, kind):
        load = self.pick(data, self.loads)
        if kind is None:
            self.loaded(load)
            return
        error = ModelError("bad").info
        self.post(ev.LoadFailed(**self.at(load), model=load.model, kind=kind, error=error))

    @rule(data=st.data())
    @precondition(lambda self: self.cancels)
    def a_cancelled_attempt_ends(self, data):
        self.cancelled_ends(self.pick(data, self.cancels))

    @precondition(lambda self: self.persists)
    @rule(data=st.data(), well=st.sampled_from([True, True, False]))
    def persist_ends(self, data, well):
        self.written(self.pick(data, self.persists), well=well)

    @precondition(lambda self: self.compares)
    @rule(data=st.data())
    def compare_ends(self, data):
        compare = self.pick(data, self.compares)
        self.compared(compare, data.draw(st.sampled_from([None, *compare.attempts])))

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), times=st.integers(1, 3))
    def runs_finish(self, data, times):
        for _ in range(min(times, len(self.runs))):
            self.finish(self.pick(data, self.runs))

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), kind=st.sampled_from([None, *FailureKind]), again=st.booleans())
    def run_ends(self, data, kind, again):
        """Answer an attempt, sometimes long after nobody cares, sometimes twice."""
        run = self.pick(data, self.runs)
        if again:
            self.runs.append(run)
        if kind is None:
            self.finish(run)
            return
        if self.live.get((run.job_id, run.worker_id)) is run and self.is_current(run, "up"):
            del self.live[run.job_id, run.worker_id]
        same = {"job_id": run.job_id, "attempt": run.attempt}
        error = WorkerLost("x").info
        self.post(ev.AttemptFailed(**self.at(run), **same, kind=kind, error=error))

    def up(self) -> list[str]:
        return sorted(one for one, body in self.bodies.items() if body.phase == "up")

    @precondition(lambda self: self.up())
    @rule(data=st.data())
    def lose(self, data):
        self.lost(data.draw(st.sampled_from(self.up())))

    @precondition(lambda self: self.up())
    @rule(data=st.data(), silent=st.sampled_from([1, 2, 9]))
    def fall_silent(self, data, silent):
        name = data.draw(st.sampled_from(self.up()))
        epoch = self.bodies[name].epoch
        self.post(ev.WorkerSilent(at_ns=self.tick(), worker_id=name, epoch=epoch, silent_ns=silent))

    @precondition(lambda self: self.up())
    @rule(data=st.data(), kind=st.sampled_from([ev.WorkerHeard, ev.WorkerProgress]))
    def be_heard(self, data, kind):
        name = data.draw(st.sampled_from(self.up()))
        more = {"doing": "something"} if kind is ev.WorkerProgress else {}
        same = {"worker_id": name, "epoch": self.bodies[name].epoch}
        self.post(kind(at_ns=self.tick(), **same, **more))

    @precondition(lambda self: self.machine.jobs)
    @rule(data=st.data())
    def cancel(self, data):
        job = data.draw(st.sampled_from(sorted(self.machine.jobs)))
        self.cancelled.add(job)
        self.post(ev.JobCancelled(at_ns=self.tick(), job_id=job))

    @rule(retired=st.sampled_from(TARGETS))
    def retire(self, retired):
        self.post(ev.Retire(at_ns=self.tick(), target=retired))

    @rule(later=st.sampled_from([1, 3, 10, 40]))
    def time_passes(self, later):
        """Ring when the machine has asked for it, and only then."""
        end = self.now + later
        while self.wake is not None and self.wake <= end:
            self.ring()
        self.now = max(self.now, end)

    def ring(self) -> None:
        assert self.wake is not None
        self.now = max(self.now, self.wake)
        self.wake = None
        self.post(ev.Timer(at_ns=self.now))

    @rule(times=st.integers(1, 8))
    def all_goes_well(self, times):
        """Do some of what is asked for, so that jobs run and are answered."""
        for _ in range(times):
            if not self.go_well():
                return

    def go_well(self) -> bool:
        """Do the first thing asked for; False when there is none."""
        slots = 1 + self.now % 2
        if self.starts:
            self.come_up(self.starts.pop(0), slots)
        elif self.mends:
            mend = self.mends.pop(0)
            if self.is_current(mend, "mending"):
                self.come_up(mend, slots)
        elif self.stops:
            self.stopped(self.stops.pop(0))
        elif self.loads:
            self.loaded(self.loads.pop(0))
        elif self.cancels:
            self.cancelled_ends(self.cancels.pop(0))
        elif self.persists:
            self.written(self.persists.pop(0))
        elif self.compares:
            compare = self.compares.pop(0)
            self.compared(compare, compare.attempts[0])
        elif self.runs:
            self.finish(self.runs.pop(0))
        else:
            return False
        return True

    # --- promises -----------------------------------------------------------------------------

    @invariant()
    def each_job_is_answered_at_most_once(self) -> None:
        assert all(count == 1 for count in self.answered.values())

    @invariant()
    def no_job_is_forgotten(self) -> None:
        open_jobs = set(self.asked) - set(self.answered) - self.cancelled
        assert open_jobs == set(self.machine.jobs)

    @invariant()
    def the_machine_knows_what_runs(self) -> None:
        known = {
            (job.id, worker_id)
            for job in self.machine.jobs.values()
            for worker_id, attempt in job.live.items()
            if attempt.dispatched_ns is not None
        }
        assert known == set(self.live)

    @invariant()
    def the_index_agrees_with_the_workers(self) -> None:
        fleet = self.machine.fleet
        ready = {one.id for one in fleet.workers.values() if one.status is WorkerStatus.READY}
        assert {one.id for one in fleet.least_loaded(99, TARGETS)} == ready
        for worker in fleet.workers.values():
            here = [one for one in self.cancels if one.worker_id == worker.id]
            if self.bodies[worker.id].phase == "up":
                ending = {(one.job_id, one.attempt) for one in here if one.epoch == worker.epoch}
                assert ending == worker.ending
            for job_id, job in worker.jobs.items():
                assert job.live[worker.id].worker is worker
                assert self.machine.jobs[job_id] is job
            view = fleet.worker(worker.id)
            assert view is None or (
                (view.epoch, view.models, view.running, view.sessions)
                == (worker.epoch, worker.models, worker.taken, worker.sessions)
            ), "policies see what is there now"
            seen = [one.id for one in fleet.idle((worker.target,))]
            assert (worker.id in seen) == worker.has_room
            for model in worker.models:
                with_model = [one.id for one in fleet.idle_with(model, (worker.target,))]
                assert (worker.id in with_model) == worker.has_room

    @invariant()
    def no_probe_is_lost_or_made_up(self) -> None:
        if self.settings.breaker is None:
            return
        breakers = self.machine.breakers
        for circuit, state in breakers.states(self.machine.fleet.now_ns).items():
            if state is not BreakerState.HALF_OPEN:
                continue
            breaker = breakers._of[circuit]
            probing = sum(
                attempt.calls.get(breaker) == breaker._period
                for job in self.machine.jobs.values()
                for attempt in job.live.values()
            )
            ended = breaker._calls.count
            unspent = breaker._permits
            assert probing + ended + unspent == self.settings.breaker.probes
            assert unspent >= 0

    def teardown(self) -> None:
        if not hasattr(self, "machine"):
            return
        self.everybody_is_answered_in_the_end()
        self.a_fleet_that_closes_leaves_nothing()
        replayed = Machine(recovery=Sometimes(), settings=self.settings)
        assert [replayed.handle(event) for event in self.log] == self.said

    def everybody_is_answered_in_the_end(self) -> None:
        """Let all go well: timers ring only when they were asked for."""
        for _ in range(SOON + EACH * len(self.machine.jobs)):
            self.hear_the_suspects()
            if not self.machine.jobs:
                return
            if self.go_well():
                continue
            assert self.wake is not None, f"they wait for nothing: {self.stories()}"
            self.ring()
        raise AssertionError(f"never answered: {self.stories()}")

    def a_fleet_that_closes_leaves_nothing(self) -> None:
        self.post(ev.Drain(at_ns=self.tick()))
        while self.go_well():
            pass
        assert not self.machine.fleet.workers and not self.bodies

    def hear_the_suspects(self) -> None:
        for worker in list(self.machine.fleet.workers.values()):
            if worker.status is WorkerStatus.SUSPECT:
                same = {"worker_id": worker.id, "epoch": worker.epoch}
                self.post(ev.WorkerHeard(at_ns=self.tick(), **same))

    def stories(self) -> dict[str, list[Any]]:
        return {job.id: job.story for job in self.machine.jobs.values()}


TestFleetPromises = FleetPromises.TestCase
TestFleetPromises.settings = hypothesis.settings(
    max_examples=60,
    stateful_step_count=40,
    # Shrinking takes longer than a test may.
    phases=(Phase.reuse, Phase.generate),
)
