# SPDX-License-Identifier: Apache-2.0
"""Which worker does a job: the scheduler is asked, and its answer checked and carried out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..errors import BackendUnavailable
from ..types import Target
from . import instructions as do
from .alarm import Bell
from .desk import Desk
from .jobs import Jobs
from .lateness import overdue_after_ns
from .policy import FleetView, JobView, Pin, Placement, Reject, Wait
from .pool import Pool
from .queue import Line
from .rules import misplaced, policy_error, unseated
from .state import Attempt, JobState, JobStatus, WorkerState, WorkerStatus
from .unblocked import Unblocked

HedgeAfter: TypeAlias = Callable[[JobView, FleetView], int | None]

#: While more of the last attempts than this were hedges, hedges wait for what waits.
_MOST_HEDGES = 0.05
_TAKES_PINNED = (WorkerStatus.READY, WorkerStatus.SUSPECT)


class Placing:
    """Bring jobs to workers."""

    def __init__(self, desk: Desk, jobs: Jobs, pool: Pool) -> None:
        self._desk = desk
        self._jobs = jobs
        self._pool = pool
        # Only strategies that hedge have it.
        self._hedge_after: HedgeAfter | None = getattr(desk.recovery, "hedge_after", None)
        #: Jobs that are late, and found no free worker for a hedge.
        self._late: dict[str, JobState] = {}
        #: When circuits that jobs wait for are looked at again.
        self._wakes_ns: int | None = None

    def place(self) -> None:
        """Place what waits and hedge what is late, as far as there is room.

        What is late comes first, as it did before. While many attempts are hedges it comes last:
        then everything is late, and hedges make it later.
        """
        desk = self._desk
        has_room = bool(desk.fleet.freed) or desk.fleet.has_turned
        if desk.breakers.has_changed or desk.fleet.has_turned:
            desk.breakers.has_changed = desk.fleet.has_turned = False
            desk.queue.open_all()
            has_room = True
        is_calm = desk.fleet.hedged_share <= _MOST_HEDGES
        if self._late and has_room and is_calm:
            self._hedge_late()
        if desk.queue:
            self._place_queued()
        if self._late and has_room:
            desk.fleet.freed.clear()
            if not is_calm:
                self._hedge_late()

    def _hedge_late(self) -> None:
        for job in list(self._late.values()):
            self.want_hedge(job)

    def want_hedge(self, job: JobState) -> None:
        """Hedge a late job, now or as soon as a worker is free."""
        job.hedge_at_ns = None
        self._late.pop(job.id, None)
        is_alone = job.live and len(job.live) + len(job.answered) == job.copies
        if job.id not in self._desk.jobs or not is_alone:
            return
        attempts = job.attempts
        self._hedge(job)
        if job.attempts == attempts and job.id in self._desk.jobs:
            self._late[job.id] = job

    def _place_queued(self) -> None:
        queue, fleet = self._desk.queue, self._desk.fleet
        for group in fleet.freed:
            queue.open_for(group.target)
        if fleet.has_rested:
            queue.open_starved()
        fleet.freed.clear()
        fleet.has_rested = False
        while (line := queue.best()) is not None:
            if not self._place(queue.head(line), line):
                queue.close(line)

    def place_pinned(self, job_id: str, pin: Pin) -> None:
        """Give a job to the one worker that can do it, or fail it; it never waits for a slot."""
        job = self._desk.jobs.get(job_id)
        if job is None:
            return  # it was refused
        worker = self._pool.known(pin.worker_id, pin.epoch)
        if worker is None or worker.status not in _TAKES_PINNED or job.model not in worker.models:
            self._jobs.fail(job, unseated(pin))
        else:
            self._run_on(job, worker)

    def _hedge(self, job: JobState) -> None:
        """Start another attempt beside a late one, where a worker is free; none is started."""
        if job.asked.pin is not None:
            return
        fleet = self._desk.fleet
        blocked = self._desk.breakers.blocked(job.model, fleet.now_ns)
        if fleet.fallen or job.is_pressed(fleet.now_ns):
            self._reorder(job, blocked)
        asked = job.view(sees_fallbacks=self._desk.sees_fallbacks)
        try:
            decision = self._desk.scheduler.pick(asked, self._seen(blocked))
        except Exception as raised:
            self._jobs.fail(job, policy_error("scheduler", raised))
            return
        if isinstance(decision, Placement) and not misplaced(decision, job, asked, fleet, blocked):
            self._run_on(job, fleet.workers[decision.workers[0]], is_hedge=True)

    def model_loaded(self, worker: WorkerState, model: str) -> None:
        """Dispatch the jobs that waited for a model."""
        self._desk.fleet.loaded(worker, model)
        for job in list(worker.jobs.values()):
            attempt = job.live.get(worker.id)
            if attempt is not None and attempt.model == model and attempt.dispatched_ns is None:
                self._dispatch(job, attempt)

    def _place(self, job: JobState, line: Line) -> bool:
        """Place one attempt of a job, or start a worker for it; False when it has to wait."""
        desk = self._desk
        blocked = desk.breakers.blocked(job.model, desk.fleet.now_ns)
        if (settled := self._divert(job, blocked)) is not None:
            return settled
        asked = job.view(sees_fallbacks=desk.sees_fallbacks)
        try:
            decision = desk.scheduler.pick(asked, self._seen(blocked))
        except Exception as raised:
            self._jobs.fail(job, policy_error("scheduler", raised))
            return True
        if isinstance(decision, Placement):
            if (wrong := misplaced(decision, job, asked, desk.fleet, blocked)) is not None:
                self._jobs.fail(job, policy_error("scheduler", ValueError(wrong)))
            else:
                self._run_on(job, desk.fleet.workers[decision.workers[0]])
            return True
        if isinstance(decision, Reject):
            self._jobs.fail(job, BackendUnavailable(decision.reason))
            return True
        if isinstance(decision, Wait):
            line.is_starved = not self._pool.provide(job)
            self._ask_again(job, line, decision.until_ns)
            return False
        self._jobs.fail(job, policy_error("scheduler", TypeError(f"returned {decision!r}")))
        return True

    def _ask_again(self, job: JobState, line: Line, until_ns: int | None) -> None:
        now_ns = self._desk.fleet.now_ns
        if until_ns is None:
            line.asks_ns = None
        elif line.asks_ns is None or line.asks_ns <= now_ns or line.asks_for != job.id:
            # Else its moment is on its way.
            line.asks_for = job.id
            line.asks_ns = max(until_ns, now_ns + 1)
            self._desk.alarm.add(line.asks_ns, job.id)

    def _divert(self, job: JobState, blocked: frozenset[Target]) -> bool | None:
        """Bring a waiting job's targets into the order of now; None when they are in it.

        False when the circuits of all are open: it waits for one to be probed.
        """
        desk, was_diverted, first = self._desk, job.is_diverted, job.targets[0]
        is_usual = not (blocked or desk.fleet.fallen or was_diverted)
        if is_usual and not job.is_pressed(desk.fleet.now_ns):
            return None
        has_fallen = desk.fleet.has_fallen(first)
        if has_fallen and not self._pool.serves(job) and self._pool.has_room():
            self._pool.start(first)  # a fallback does its work: nobody else would ask for it
        if blocked:
            self._wake_for(job.model)
        if self._reorder(job, blocked):
            desk.queue.add(job)
            return True
        if not desk.fleet.is_blocked(first, blocked):
            return None
        if not was_diverted:
            names = ", ".join(map(str, job.targets))
            job.tell(desk.fleet.now_ns, "waits: circuit open", names)
        return False

    def _wake_for(self, model: str) -> None:
        """See to it that jobs are looked at when a circuit that is open permits a probe."""
        wakes_ns = self._desk.breakers.permits_at_ns(model, self._desk.fleet.now_ns)
        if wakes_ns is not None and wakes_ns != self._wakes_ns:
            self._wakes_ns = wakes_ns
            self._desk.alarm.add(wakes_ns, Bell.BREAKERS)

    def _reorder(self, job: JobState, blocked: frozenset[Target]) -> bool:
        """Put targets whose circuits are open last; whether that changed anything.

        Of the others, those that are of use now come before those that are not, if the first of
        them lost its last worker of use, or half the job's time is over.
        """
        fleet, asked = self._desk.fleet, job.asked.targets
        is_blocked = {one: fleet.is_blocked(one, blocked) for one in job.targets}
        first = min(job.targets, key=lambda one: (is_blocked[one], asked.index(one)))
        has_fallen, is_pressed = fleet.has_fallen(first), job.is_pressed(fleet.now_ns)

        def is_useless(one: Target) -> bool:
            if is_pressed:
                return not fleet.idle((one,), 1, blocked)
            return has_fallen and not fleet.is_up(one, blocked)

        ranks = {one: (is_blocked[one], is_useless(one), asked.index(one)) for one in job.targets}
        order = tuple(sorted(job.targets, key=lambda one: ranks[one]))
        job.is_diverted = has_fallen or is_pressed or any(is_blocked.values())
        if order == job.targets:
            return False
        job.targets = order
        job.tell(fleet.now_ns, "goes on with", str(order[0]))
        return True

    def _seen(self, blocked: frozenset[Target]) -> FleetView:
        """Return what a scheduler sees: no worker whose circuit is open."""
        return Unblocked(self._desk.fleet, blocked) if blocked else self._desk.fleet

    def _run_on(self, job: JobState, worker: WorkerState, *, is_hedge: bool = False) -> None:
        desk = self._desk
        job.attempts += 1
        now_ns = desk.fleet.now_ns
        attempt = Attempt(job.attempts, worker, job.model, placed_ns=now_ns, is_hedge=is_hedge)
        job.live[worker.id] = attempt
        desk.breakers.begin(attempt, now_ns)
        job.tell(now_ns, "hedged" if is_hedge else "placed", worker.id)
        if job.missing <= 0:
            desk.queue.discard(job)
        elif not is_hedge:
            desk.queue.add(job)  # its next copy has to go elsewhere
        worker.jobs[job.id] = job
        self._pool.took(worker, job.model)
        desk.fleet.touch(worker)
        if job.model in worker.models:
            self._dispatch(job, attempt)
            return
        if not is_hedge:
            job.status = JobStatus.LOADING
        if job.model not in worker.loading:
            worker.loading[job.model] = now_ns
            desk.say(do.LoadModel(worker.id, worker.epoch, job.model))

    def _dispatch(self, job: JobState, attempt: Attempt) -> None:
        desk, worker = self._desk, attempt.worker
        attempt.dispatched_ns = desk.fleet.now_ns
        if job.asked.is_load_only:
            self._jobs.complete(job, attempt)
            return
        job.status = JobStatus.RUNNING
        desk.fleet.dispatched(is_hedge=attempt.is_hedge)
        desk.say(do.Dispatch(job.id, attempt.number, worker.id, worker.epoch, attempt.model))
        if (after_ns := overdue_after_ns(desk, attempt)) is not None:
            attempt.check_at_ns = attempt.dispatched_ns + after_ns
            desk.alarm.add(attempt.check_at_ns, job.id)
        if self._hedge_after is not None and not attempt.is_hedge:
            self._plan_hedge(job, self._hedge_after)

    def _plan_hedge(self, job: JobState, hedge_after: HedgeAfter) -> None:
        desk = self._desk
        try:
            after_ns = hedge_after(job.view(), desk.fleet)
        except Exception as raised:
            self._jobs.fail(job, policy_error("recovery strategy", raised))
            return
        if after_ns is not None:
            job.hedge_at_ns = desk.fleet.now_ns + after_ns
            desk.alarm.add(job.hedge_at_ns, job.id)
