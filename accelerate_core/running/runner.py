# SPDX-License-Identifier: Apache-2.0
"""The asyncio driver of the fleet machine: carries out instructions, reports back as events."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from .. import events
from ..durable.stories import name_job, told
from ..errors import AccelerateError, Unsupported, WorkerLost
from ..fleet import events as ev
from ..fleet import instructions as do
from ..fleet.machine import Machine
from ..fleet.policy import Action, JobView, Membership
from ..fleet.settings import FleetSettings
from ..measuring.numbers import TOLERANCE
from ..protocols import Backend, Context, Recovery, Scheduler
from ..sessions.seats import Seat, Seats
from ..types import Result, Target, WorkerInfo
from .agreement import agree
from .attempts import Attempts, Call, Outcome
from .failures import typed
from .gauges import Gauges
from .meter import Meter
from .work import Answer, Work
from .workers import Workers

if TYPE_CHECKING:
    from ..protocols import Inputs

_log = logging.getLogger("accelerate.runner")

Observer = Callable[[events.Event], None]
#: Writes a job down; takes its id.
Persist = Callable[[str], Awaitable[None]]
#: Takes what the strategy says of a failed member of a group.
Decided = Callable[[Action], None]


@attrs.define(eq=False)
class _Job:
    work: Work
    call: Call | None  #: None where the model is loaded and not run
    future: asyncio.Future[Answer]
    submitted_ns: int
    persist: Persist | None = None
    decided: Decided | None = None
    dispatched_ns: int = 0
    #: By attempt: of several, the machine says which counts.
    outcomes: dict[int, Outcome] = attrs.field(factory=dict)


class Runner:
    """Own all workers and jobs of one host process. Use from one event loop."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        ctx: Context,
        *,
        scheduler: Scheduler | None = None,
        recovery: Recovery | None = None,
        settings: FleetSettings | None = None,
        run_id: str = "",
        observer: Observer | None = None,
    ) -> None:
        self._machine = Machine(scheduler=scheduler, recovery=recovery, settings=settings)
        self.max_workers = (settings or FleetSettings()).max_workers
        self._run_id = run_id
        self._observer = observer
        self._work: dict[str, Work] = {}
        self._jobs: dict[str, _Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Condition()
        self.meter = Meter(self._machine, name_of=self._name_of, tell=self._tell, run_id=run_id)
        self._workers = Workers(
            backends, ctx, run_id=run_id, post=self._post, tell=self._tell, spawn=self._spawn
        )
        self._attempts = Attempts(self._workers, post=self._post, spawn=self._spawn)
        self._gauges = Gauges(
            self._workers, settings or FleetSettings(), post=self._post, spawn=self._spawn
        )
        self.seats = Seats(self._workers, load=self.submit, post=self._post)
        self._post(ev.Snapshot(at_ns=_now(), seed=secrets.randbits(63)))

    # --- what callers use ---------------------------------------------------------------------

    async def submit(
        self,
        work: Work,
        inputs: Inputs | None,
        *,
        timeout_s: float | None = None,
        recovery_s: float | None = None,
        priority: int = 0,
        copies: int = 1,
        job_id: str | None = None,
        persist: Persist | None = None,
        seat: Seat | None = None,
        keep: Collection[str] = (),
        avoid: tuple[str, ...] = (),
        group: Membership | None = None,
        decided: Decided | None = None,
    ) -> Answer:
        """Run one job and return its answer; the job's typed error otherwise.

        `timeout_s` counts from submission, `recovery_s` from the first attempt that failed; jobs
        of a higher `priority` go first. `copies` workers do it side by side, and their answers are
        compared. With `persist` the job waits for a worker only once that has returned; if it
        raises, that is the answer. With a `seat` it runs there, in its session, or fails; outputs
        to `keep` stay there. A member of a `group` is tried once; what the strategy says of its
        failure goes to `decided`. No worker to `avoid` is used. Without inputs the model is loaded
        and not run. Cancelling the caller cancels the job and frees its worker.
        """
        if copies > 1 and keep:
            raise Unsupported(
                "outputs of a job with copies cannot stay on a worker: they are compared",
                where="keep",
                hint="Ask for one copy, or keep nothing.",
            )
        job_id = job_id or secrets.token_hex(16)
        now = _now()
        for one in (work, *work.degraded):
            self._work[one.key] = one
        session = seat.session if seat is not None else None
        call = Call(inputs, session, keep) if inputs is not None else None
        job = _Job(work, call, asyncio.get_running_loop().create_future(), now, persist, decided)
        self._jobs[job_id] = job
        view = JobView(
            id=job_id,
            model=work.key,
            targets=work.targets,
            task=work.task or work.spec.task,
            is_load_only=inputs is None,
            submitted_ns=now,
            deadline_ns=now + int(timeout_s * 1e9) if timeout_s is not None else None,
            recovery_ns=int(recovery_s * 1e9) if recovery_s is not None else None,
            priority=priority,
            degraded=tuple(one.key for one in work.degraded),
            copies=copies,
            is_durable=persist is not None,
            tried=avoid,
            pin=seat.pin if seat is not None else None,
            group=group,
        )
        self._post(ev.JobSubmitted(at_ns=now, job=view))
        try:
            return await job.future
        except asyncio.CancelledError:
            self._post(ev.JobCancelled(at_ns=_now(), job_id=job_id))
            raise
        finally:
            self._jobs.pop(job_id, None)

    def remember(self, history: Mapping[str, Any]) -> None:
        """Give policies past measurements (`FleetView.history`), in place of those before."""
        self._post(ev.Snapshot(at_ns=_now(), seed=secrets.randbits(63), history=history))

    def live(self) -> Mapping[str, WorkerInfo]:
        """Return the live workers, by id."""
        return {worker_id: one.worker.info for worker_id, one in self._workers.live.items()}

    async def memory(self, worker_id: str) -> int | None:
        """Return the bytes a worker's process tree holds, None where unknown or gone."""
        live = self._workers.live.get(worker_id)
        if live is None:
            return None
        try:
            held_bytes = await live.worker.memory()
        except AccelerateError as error:
            _log.warning("no memory figure for %s: %s", worker_id, error)
            return None
        if held_bytes is not None:
            self._post(
                ev.WorkerMemory(
                    at_ns=_now(), worker_id=worker_id, epoch=live.epoch, held_bytes=held_bytes
                )
            )
        return held_bytes

    async def retire(self, target: Target) -> None:
        """Stop the workers for a target once they are idle, and wait until they are gone."""
        self._post(ev.Retire(at_ns=_now(), target=target))
        await self._until(lambda: not any(True for _ in self._machine.fleet.covering((target,))))

    async def close(self) -> None:
        """Fail what is queued, stop all workers, free all backends. Safe to call twice."""
        for job_id, job in list(self._jobs.items()):
            self._post(ev.JobCancelled(at_ns=_now(), job_id=job_id))
            if not job.future.done():
                job.future.set_exception(WorkerLost("the fleet was closed"))
        self._workers.cancel_coming()
        self._post(ev.Drain(at_ns=_now()))
        await self._until(lambda: not self._machine.fleet.workers)
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._workers.close_backends()

    # --- machine and world --------------------------------------------------------------------

    def _post(self, event: ev.FleetEvent) -> None:
        said = self._machine.handle(event)
        self.meter.saw(event, said)
        for instruction in said:
            match instruction:
                case do.StartWorker():
                    self._workers.begin(instruction)
                    self._gauges.begin()
                case do.StopWorker():
                    self._spawn(self._workers.stop(instruction))
                case do.LoadModel():
                    work = self._work[instruction.model]
                    self._spawn(self._workers.load(instruction, work.spec, work.options))
                case do.UnloadModel():
                    self._spawn(self._workers.unload(instruction))
                case do.MendWorker():
                    self._attempts.cancel_on(instruction.worker_id)
                    self._workers.mend(instruction)
                case do.Dispatch():
                    self._dispatch(instruction)
                case do.CancelAttempt():
                    self._attempts.cancel(instruction)
                case do.Compare():
                    self._spawn(self._compare(instruction))
                case do.Persist():
                    self._spawn(self._persist(instruction.job_id))
                case do.Complete():
                    self._complete(instruction)
                case do.Fail():
                    self._fail(instruction)
                case do.WakeAt():
                    self._wake_at(instruction.at_ns)
        if isinstance(event, ev.WorkerStopped | ev.WorkerLost | ev.WorkerFailed):
            self._spawn(self._notify())

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(condition)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _wake_at(self, at_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay = max(0.0, (at_ns - _now()) / 1e9) + 0.001
        self._timer = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._post(ev.Timer(at_ns=_now()))

    def _name_of(self, key: str) -> str:
        work = self._work.get(key)
        return work.spec.name if work is not None else key

    def _tell(self, event: events.Event) -> None:
        if self._observer is not None:
            self._observer(event)

    # --- jobs ---------------------------------------------------------------------------------

    async def _persist(self, job_id: str) -> None:
        job = self._jobs.get(job_id)
        if job is None or job.persist is None:
            return  # cancelled meanwhile
        error = None
        try:
            await job.persist(job_id)
        except Exception as raised:
            error = typed(raised, "journal").info
        self._post(ev.Persisted(at_ns=_now(), job_id=job_id, error=error))

    def _dispatch(self, order: do.Dispatch) -> None:
        job = self._jobs.get(order.job_id)
        if job is not None and job.call is not None:
            job.dispatched_ns = job.dispatched_ns or _now()
            self._attempts.begin(order, job.call, job.outcomes)

    async def _compare(self, order: do.Compare) -> None:
        job = self._jobs.get(order.job_id)
        if job is None:
            return  # cancelled meanwhile
        answers = {number: job.outcomes[number].result.outputs for number in order.attempts}
        loosest = max(TOLERANCE.values())
        precisions = {job.outcomes[one].handle.spec.precision for one in answers}
        tolerance = max(TOLERANCE.get(one, loosest) for one in precisions)
        # Nothing was asked to stay on a worker, so all are arrays.
        accepted, odd = await asyncio.to_thread(agree, answers, tolerance)  # type: ignore[arg-type]
        for number in odd:
            where = job.outcomes[number].connection.id
            _log.warning("job %s: the answer of %s stands alone", order.job_id, where)
        self._post(ev.Compared(at_ns=_now(), job_id=order.job_id, accepted=accepted, odd=odd))

    def _complete(self, order: do.Complete) -> None:
        job = self._jobs.get(order.job_id)
        if job is None or job.future.done():
            return
        outcome = job.outcomes.get(order.attempt) or self._loaded(order, job.work)
        now = _now()
        answer = Answer(
            result=outcome.result,
            handle=outcome.handle,
            worker_id=order.worker_id,
            connection=outcome.connection,
            attempts=order.attempt,
            queue_ms=((job.dispatched_ns or now) - job.submitted_ns) / 1e6,
            latency_ms=(now - job.submitted_ns) / 1e6,
        )
        job.future.set_result(answer)
        if job.call is not None:
            self._job_finished(order, job, order.worker_id, order.attempt, None)

    def _loaded(self, order: do.Complete, work: Work) -> Outcome:
        """Return the outcome of a job that was only to load a model: the machine knows it there."""
        live = self._workers.live[order.worker_id]
        keys = [one.key for one in (work, *work.degraded)]
        handle = next(live.handles[key] for key in keys if key in live.handles)
        return Outcome(result=Result(outputs={}), handle=handle, connection=live.connection)

    def _fail(self, order: do.Fail) -> None:
        job = self._jobs.get(order.job_id)
        if job is None or job.future.done():
            return
        if order.action is not None and job.decided is not None:
            job.decided(order.action)
        error = AccelerateError.from_info(name_job(order.error, order.job_id, order.attempts))
        job.future.set_exception(error)
        self._job_finished(order, job, None, order.attempts, error)

    def _job_finished(
        self,
        order: do.Complete | do.Fail,
        job: _Job,
        worker_id: str | None,
        attempts: int,
        error: AccelerateError | None,
    ) -> None:
        if self._observer is None:
            return
        self._tell(
            events.JobFinished(
                run_id=self._run_id,
                at=datetime.now(UTC),
                job_id=order.job_id,
                model=job.work.spec.name,
                worker_id=worker_id,
                latency_ms=None if error else (_now() - job.submitted_ns) / 1e6,
                attempts=attempts,
                error=error.info if error else None,
                story=told(order.story),
            )
        )


def _now() -> int:
    return time.perf_counter_ns()
