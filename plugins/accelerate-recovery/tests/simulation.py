# SPDX-License-Identifier: Apache-2.0
"""Play a real fleet machine with faults, in virtual time, against every strategy.

    python plugins/accelerate-recovery/tests/simulation.py

prints the table of docs/recovery.md. Nothing is measured on a browser here: the times a fault
costs are those below, taken from measurements on one machine; the decisions are the real ones.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from accelerate_recovery import (
    CoordinatedPolicy,
    FailoverPolicy,
    ImmediatePolicy,
    ParallelPolicy,
    ProgressivePolicy,
    RestartPolicy,
    RetryPolicy,
)

from accelerate_core.errors import ErrorInfo
from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.defaults import NoRecovery
from accelerate_core.fleet.machine import Machine
from accelerate_core.fleet.policy import FailureKind, JobView, Mend
from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.protocols import Recovery
from accelerate_core.types import Target, WorkerInfo

MS = 1_000_000
SECOND = 1000 * MS
TARGETS = (Target("webgpu", None, "chromium"), Target("webgpu", None, "firefox"))
MODEL = "m" * 64
#: Workers of each target.
WORKERS = 4

START, STOP, LOAD, RUN, REFUSE = 1000 * MS, 50 * MS, 150 * MS, 40 * MS, 1 * MS
MENDS = {Mend.DEVICE: 160 * MS, Mend.PAGE: 400 * MS}
BETWEEN_JOBS, BETWEEN_FAULTS = 50 * MS, 1500 * MS
BEGINS, LASTS, DEADLINE = 8 * SECOND, 18 * SECOND, 5 * SECOND
#: A stopped process: silent after this, given up after that.
SILENT, HUNG = 350 * MS, 1500 * MS
SLOW_FOR, SLOWER = 500 * MS, 10
BUSY_FOR = 400 * MS

STRATEGIES: dict[str, Callable[[], Recovery]] = {
    "none": NoRecovery,
    "immediate": ImmediatePolicy,
    "coordinated": CoordinatedPolicy,
    "retry": RetryPolicy,
    "restart": RestartPolicy,
    "failover": FailoverPolicy,
    "progressive": ProgressivePolicy,
    "parallel": ParallelPolicy,
}
FAULTS = ("killed", "stopped", "device lost", "broken page", "slow", "overloaded")


@attrs.define
class Living:
    """One worker of one epoch, and what is wrong with it."""

    epoch: int
    target: Target
    is_ready: bool = False
    is_hung: bool = False
    #: What every attempt there fails with.
    fails: FailureKind | None = None
    slow_until: int = 0
    busy_until: int = 0
    running: dict[str, do.Dispatch] = attrs.field(factory=dict)


@attrs.frozen
class Outcome:
    """What became of the jobs that a kind of fault met under one strategy."""

    strategy: str
    fault: str
    hit: int  #: jobs that a fault met
    recovered: int  #: of them, answered
    lost: int  #: of all jobs
    #: From the fault to the answer without the run itself, of the recovered; sorted, nanoseconds.
    took_ns: tuple[int, ...]
    attempts: int  #: of all jobs
    restarts: int

    @property
    def share(self) -> float:
        """Which part of the jobs that were hit got their answer."""
        return self.recovered / self.hit

    def percentile_ms(self, part: int) -> float:
        """Return a percentile of the time it took."""
        return self.took_ns[min(len(self.took_ns) * part // 100, len(self.took_ns) - 1)] / MS


class World:
    """Carry out what the machine asks for, in virtual time, and break it now and then."""

    def __init__(self, recovery: Recovery, fault: str, seed: int) -> None:
        self.machine = Machine(
            recovery=recovery,
            settings=FleetSettings(max_workers=2 * WORKERS, min_workers=WORKERS),
        )
        self.rng = random.Random(seed)
        self.fault = fault
        self.now = 0
        self.workers: dict[str, Living] = {}
        self.hit: dict[str, int] = {}  # job -> when a fault first met it
        self.answered: dict[str, int | None] = {}
        self.attempts = 0
        self.restarts = 0
        self._moments: list[tuple[int, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._timer = 0

    def play(self) -> None:
        """Run it from start to end."""
        self.post(ev.Snapshot, seed=self.rng.randrange(1 << 30))
        for target in TARGETS:
            self.submit(f"warm {target}", (target,), deadline_ns=None, copies=WORKERS)
        for number in range(LASTS // BETWEEN_JOBS):
            at = BEGINS + number * BETWEEN_JOBS + self.rng.randrange(BETWEEN_JOBS)
            self.after(at, lambda name=f"job {number}": self.submit(name, TARGETS))
        for at in range(BEGINS + SECOND, BEGINS + LASTS, BETWEEN_FAULTS):
            self.after(at + self.rng.randrange(BETWEEN_FAULTS), self.strike)
        while self._moments and self.now < BEGINS + LASTS + DEADLINE:
            self.now, _, act = heapq.heappop(self._moments)
            act()

    def after(self, delay: int, act: Callable[[], None]) -> None:
        """Let something happen later."""
        heapq.heappush(self._moments, (self.now + delay, next(self._count), act))

    # --- what the machine is told, and asks for -----------------------------------------------

    def post(self, event: Callable[..., ev.FleetEvent], **fields: Any) -> None:
        """Tell the machine something, and do what it says."""
        for one in self.machine.handle(event(at_ns=self.now, **fields)):
            self.carry_out(one)

    def submit(self, name: str, targets: tuple[Target, ...], **fields: Any) -> None:
        """Ask for one answer."""
        times = {"submitted_ns": self.now, "deadline_ns": self.now + DEADLINE}
        view = JobView(id=name, model=MODEL, targets=targets, **{**times, **fields})
        self.post(ev.JobSubmitted, job=view)

    def carry_out(self, one: do.Instruction) -> None:
        """Do one thing the machine asked for."""
        match one:
            case do.StartWorker():
                self.workers[one.worker_id] = Living(one.epoch, one.target)
                self.after(self.about(START), lambda: self.ready(one.worker_id, one.epoch))
            case do.StopWorker():
                self.restarts += one.kill
                del self.workers[one.worker_id]
                self.later(STOP, one, ev.WorkerStopped)
            case do.MendWorker():
                target = self.workers[one.worker_id].target
                self.workers[one.worker_id] = Living(one.epoch, target)
                delay = self.about(MENDS[one.how])
                self.after(delay, lambda: self.ready(one.worker_id, one.epoch))
            case do.LoadModel():
                self.later(self.about(LOAD), one, ev.ModelLoaded, model=one.model)
            case do.Dispatch():
                self.dispatch(one)
            case do.CancelAttempt():
                if worker := self.known(one.worker_id, one.epoch):
                    worker.running.pop(one.job_id, None)
                    ends = {"job_id": one.job_id, "attempt": one.attempt}
                    self.later(0, one, ev.AttemptCancelled, **ends)
            case do.Compare():
                self.post(ev.Compared, job_id=one.job_id, accepted=one.attempts[0])
            case do.WakeAt():
                self.wake_at(one.at_ns)
            case do.Complete():
                self.answered[one.job_id] = self.now
            case do.Fail():
                self.answered[one.job_id] = None

    def later(self, delay: int, one: Any, event: Callable[..., ev.FleetEvent], **more: Any) -> None:
        """Report what a worker did, if it still can."""
        fields = {"worker_id": one.worker_id, "epoch": one.epoch, **more}

        def report() -> None:
            worker = self.known(one.worker_id, one.epoch)
            if event is ev.WorkerStopped or (worker is not None and not worker.is_hung):
                self.post(event, **fields)

        self.after(delay, report)

    def ready(self, worker_id: str, epoch: int) -> None:
        """Report a worker that has come up."""
        if worker := self.known(worker_id, epoch):
            worker.is_ready = True
            info = WorkerInfo(target=worker.target)
            self.post(ev.WorkerReady, worker_id=worker_id, epoch=epoch, info=info)

    def dispatch(self, one: do.Dispatch) -> None:
        """Run an attempt for as long as it takes there."""
        worker = self.workers[one.worker_id]
        self.attempts += 1
        worker.running[one.job_id] = one
        if worker.busy_until > self.now:
            self.fail_later(one, FailureKind.OVERLOAD, REFUSE)
        elif worker.fails is not None:
            self.fail_later(one, worker.fails, REFUSE)
        else:
            is_slow = worker.slow_until > self.now
            if is_slow:
                self.hit.setdefault(one.job_id, self.now)
            self.end_later(one, self.about(RUN) * (SLOWER if is_slow else 1), None)

    def fail_later(self, one: do.Dispatch, kind: FailureKind, delay: int) -> None:
        """Have an attempt fail."""
        self.end_later(one, delay, kind)

    def end_later(self, one: do.Dispatch, delay: int, kind: FailureKind | None) -> None:
        """End an attempt, if nothing else has ended it by then."""

        def end() -> None:
            worker = self.known(one.worker_id, one.epoch)
            if worker is None or worker.is_hung or worker.running.get(one.job_id) is not one:
                return
            del worker.running[one.job_id]
            fields: dict[str, Any] = attrs.asdict(one)
            del fields["model"]
            if kind is None:
                self.post(ev.AttemptFinished, **fields)
                return
            self.hit.setdefault(one.job_id, self.now)
            error = ErrorInfo(kind="WorkerLost", message=str(kind))
            self.post(ev.AttemptFailed, **fields, kind=kind, error=error)

        self.after(delay, end)

    def wake_at(self, at: int) -> None:
        """Ring once, at the moment asked for last."""
        self._timer = number = next(self._count)

        def ring() -> None:
            if self._timer == number:
                self.post(ev.Timer)

        self.after(max(at - self.now, 0), ring)

    # --- what goes wrong ----------------------------------------------------------------------

    def strike(self) -> None:
        """Let the fault happen to a worker of the first target; one that works, if there is."""
        alive = [
            (worker_id, worker)
            for worker_id, worker in self.workers.items()
            if worker.target == TARGETS[0] and worker.is_ready and not worker.is_hung
        ]
        if not alive:
            return
        worker_id, worker = self.rng.choice([one for one in alive if one[1].running] or alive)
        met = [worker]
        match self.fault:
            case "killed":
                del self.workers[worker_id]
                self.lose(worker_id, worker, FailureKind.CRASH)
            case "stopped":
                worker.is_hung = True
                self.after(SILENT, lambda: self.silent(worker_id, worker))
                self.after(HUNG, lambda: self.lose(worker_id, worker, FailureKind.HANG))
            case "device lost":
                self.break_down(worker, FailureKind.DEVICE_LOST)
            case "broken page":
                self.break_down(worker, FailureKind.INTERNAL)
            case "slow":
                worker.slow_until = self.now + SLOW_FOR
            case "overloaded":
                met = []
                for _, one in alive:
                    one.busy_until = self.now + BUSY_FOR
        for one in met:
            for job_id in one.running:
                self.hit.setdefault(job_id, self.now)
        if self.fault == "slow":
            for order in list(worker.running.values()):
                worker.running[order.job_id] = again = attrs.evolve(order)
                self.end_later(again, self.about(RUN) * SLOWER, None)

    def break_down(self, worker: Living, kind: FailureKind) -> None:
        """Let everything fail there until it is mended."""
        worker.fails = kind
        for order in list(worker.running.values()):
            worker.running[order.job_id] = again = attrs.evolve(order)
            self.fail_later(again, kind, 4 * MS)

    def silent(self, worker_id: str, worker: Living) -> None:
        """Miss a heartbeat."""
        if self.known(worker_id, worker.epoch) is worker:
            self.post(ev.WorkerSilent, worker_id=worker_id, epoch=worker.epoch, silent_ns=SILENT)

    def lose(self, worker_id: str, worker: Living, kind: FailureKind) -> None:
        """Report a worker that is gone."""
        if self.workers.get(worker_id) is worker:
            del self.workers[worker_id]
        error = ErrorInfo(kind="WorkerLost", message=str(kind))
        self.post(ev.WorkerLost, worker_id=worker_id, epoch=worker.epoch, error=error, kind=kind)

    def known(self, worker_id: str, epoch: int) -> Living | None:
        """Return a worker if it is of this epoch."""
        worker = self.workers.get(worker_id)
        return worker if worker is not None and worker.epoch == epoch else None

    def about(self, length: int) -> int:
        """Return a length of time give or take a fifth."""
        return int(length * self.rng.uniform(0.8, 1.2))


def simulate(strategy: str, fault: str, seed: int = 1) -> Outcome:
    """Return what became of the jobs of one run."""
    world = World(STRATEGIES[strategy](), fault, seed)
    world.play()
    asked = [job for job in world.answered if job.startswith("job")]
    took = sorted(
        max(at - since - RUN, 0)
        for job, since in world.hit.items()
        if (at := world.answered.get(job)) is not None
    )
    lost = sum(world.answered[job] is None for job in asked)
    return Outcome(
        strategy=strategy,
        fault=fault,
        hit=len(world.hit),
        recovered=len(took),
        lost=lost + len(world.machine.jobs),
        took_ns=tuple(took),
        attempts=world.attempts - len(TARGETS) * WORKERS,
        restarts=world.restarts,
    )


def simulate_all() -> Iterator[Outcome]:
    """Yield the outcome of every strategy under every fault."""
    for strategy in STRATEGIES:
        for fault in FAULTS:
            yield simulate(strategy, fault)


def table(outcomes: list[Outcome]) -> str:
    """Return them as a Markdown table."""
    rows = [["strategy", *FAULTS], ["---"] * (len(FAULTS) + 1)]
    for strategy in STRATEGIES:
        found = {one.fault: one for one in outcomes if one.strategy == strategy}
        rows.append([f"`{strategy}`", *(cell(found[fault]) for fault in FAULTS)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def cell(one: Outcome) -> str:
    """Return the recovered share and the times it took."""
    share = f"{100 * one.share:.0f}%"
    if not one.took_ns:
        return share
    return f"{share}, {one.percentile_ms(50):.0f} / {one.percentile_ms(95):.0f} ms"


if __name__ == "__main__":
    print(table(list(simulate_all())))
