# SPDX-License-Identifier: Apache-2.0
"""A world in virtual time: it does what the fleet machine says, and takes the time it is told."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from ..errors import ErrorInfo
from ..fleet import events as ev
from ..fleet import instructions as do
from ..fleet.machine import Machine
from ..fleet.policy import JobView
from ..fleet.settings import SECOND
from ..types import Target, WorkerInfo

CPU = Target("cpu")


@attrs.frozen
class Ending:
    """How a job ended; times in nanoseconds."""

    submitted_ns: int
    ended_ns: int
    error: ErrorInfo | None
    story: tuple[do.Chapter, ...] = ()

    @property
    def took_ns(self) -> int:
        """From submission to answer."""
        return self.ended_ns - self.submitted_ns


class World:
    """Start workers, load models and run jobs, each in its time, as `machine` says.

    Deterministic. `run_ns` is how long every attempt takes, or tells it for each; None: for ever.
    `load_ns` is the same for loads. `cancel_ns` is how long a cancelled attempt keeps its place;
    None: as long as it would have taken. Workers never fail by themselves; tests may post what they
    like.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        start_ns: int = 2 * SECOND,
        load_ns: int | Callable[[do.LoadModel], int] = SECOND // 10,
        run_ns: int | Callable[[do.Dispatch], int | None] = SECOND // 10,
        slots: int = 1,
        stop_ns: int = 0,
        cancel_ns: int | None = 0,
    ) -> None:
        self.machine = machine
        self.start_ns = start_ns
        self.load_ns = load_ns
        self.run_ns = run_ns
        self.slots = slots
        self.stop_ns = stop_ns
        self.cancel_ns = cancel_ns
        self.now_ns = 0
        #: When workers were started and stopped.
        self.started: list[int] = []
        self.stopped: list[int] = []
        self.loads: list[do.LoadModel] = []
        #: How often it was told what; "killed" are workers that were not asked to stop.
        self.told: Counter[str] = Counter()
        self.endings: dict[str, Ending] = {}
        self.alive: dict[str, int] = {}
        self._coming: list[tuple[int, int, ev.FleetEvent]] = []
        self._count = 0
        self._submitted: dict[str, int] = {}
        self._ends_ns: dict[tuple[str, int], int] = {}

    def at(self, at_ns: int, event: type[Any], **fields: Any) -> None:
        """Let something happen at a moment."""
        self._count += 1
        heapq.heappush(self._coming, (at_ns, self._count, event(at_ns=at_ns, **fields)))

    def submit(
        self, at_ns: int, job_id: str, *, model: str = "m", target: Target = CPU, **fields: Any
    ) -> None:
        """Let a job come at a moment; `targets`, where it allows several."""
        self._submitted[job_id] = at_ns
        fields.setdefault("targets", (target,))
        view = JobView(id=job_id, model=model, submitted_ns=at_ns, **fields)
        self.at(at_ns, ev.JobSubmitted, job=view)

    def run(self, until_ns: int | None = None) -> None:
        """Let everything happen up to a moment, or until nothing is left to happen."""
        while self._coming and (until_ns is None or self._coming[0][0] <= until_ns):
            self.now_ns, _, event = heapq.heappop(self._coming)
            self.post(event)
        if until_ns is not None:
            self.now_ns = max(self.now_ns, until_ns)

    def post(self, event: ev.FleetEvent) -> list[do.Instruction]:
        """Let something happen now."""
        out = self.machine.handle(event)
        for one in out:
            self._do(one)
        return out

    def kill(self, worker_id: str) -> None:
        """Lose a worker now."""
        epoch = self.alive.pop(worker_id)
        error = ErrorInfo(kind="WorkerLost", message="killed")
        self.post(ev.WorkerLost(at_ns=self.now_ns, worker_id=worker_id, epoch=epoch, error=error))

    def _do(self, one: do.Instruction) -> None:
        now = self.now_ns
        self.told[type(one).__name__] += 1
        match one:
            case do.StartWorker(worker_id, epoch, target):
                self.started.append(now)
                self.alive[worker_id] = epoch
                info = WorkerInfo(target=target, slots=self.slots)
                self.at(
                    now + self.start_ns,
                    ev.WorkerReady,
                    worker_id=worker_id,
                    epoch=epoch,
                    info=info,
                )
            case do.StopWorker(worker_id, epoch, kill):
                self.told["killed"] += kill
                self.stopped.append(now)
                self.alive.pop(worker_id, None)
                self.at(now + self.stop_ns, ev.WorkerStopped, worker_id=worker_id, epoch=epoch)
            case do.LoadModel(worker_id, epoch, model):
                self.loads.append(one)
                load_ns = self.load_ns if isinstance(self.load_ns, int) else self.load_ns(one)
                self.at(
                    now + load_ns,
                    ev.ModelLoaded,
                    worker_id=worker_id,
                    epoch=epoch,
                    model=model,
                )
            case do.Dispatch(job_id, attempt, worker_id, epoch):
                took_ns = self.run_ns if isinstance(self.run_ns, int) else self.run_ns(one)
                if took_ns is not None:
                    self._ends_ns[job_id, attempt] = now + took_ns
                    self.at(
                        now + took_ns,
                        ev.AttemptFinished,
                        job_id=job_id,
                        attempt=attempt,
                        worker_id=worker_id,
                        epoch=epoch,
                    )
            case do.CancelAttempt(job_id, attempt, worker_id, epoch):
                ends_ns = self._ends_ns.get((job_id, attempt), now)
                self.at(
                    ends_ns if self.cancel_ns is None else now + self.cancel_ns,
                    ev.AttemptCancelled,
                    job_id=job_id,
                    attempt=attempt,
                    worker_id=worker_id,
                    epoch=epoch,
                )
            case do.Complete(job_id, story=story):
                self.endings[job_id] = Ending(self._submitted[job_id], now, None, story)
            case do.Fail(job_id, error):
                self.endings[job_id] = Ending(self._submitted[job_id], now, error, one.story)
            case do.WakeAt(at_ns):
                self.at(max(at_ns, now), ev.Timer)
