# SPDX-License-Identifier: Apache-2.0
"""The asyncio driver of the fleet machine: carries out instructions, reports back as events."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from . import events
from .errors import (
    AccelerateError,
    BackendUnavailable,
    JobTimeout,
    ModelError,
    PluginError,
    Unsupported,
    WorkerLost,
)
from .fleet import events as ev
from .fleet import instructions as do
from .fleet.machine import Machine
from .fleet.policy import FailureKind, JobView
from .protocols import Backend, Context, Recovery, Scheduler, Worker
from .types import (
    Connection,
    LoadOptions,
    ModelHandle,
    ModelSpec,
    Result,
    Target,
    WorkerEventKind,
    WorkerInfo,
)

if TYPE_CHECKING:
    from .protocols import Inputs

_log = logging.getLogger("accelerate.runner")

Observer = Callable[[events.Event], None]


@attrs.frozen(kw_only=True)
class Work:
    """Say what a job runs: a model, how it is loaded, and on which targets, best first."""

    spec: ModelSpec
    targets: tuple[Target, ...]
    options: LoadOptions = LoadOptions()
    task: str | None = None

    @property
    def key(self) -> str:
        """Identify the loaded model: the same model with other fixed sizes is another one."""
        sizes = ",".join(f"{name}={size}" for name, size in sorted(self.options.dimensions.items()))
        return f"{self.spec.sha256}[{sizes}]{'!' if self.options.precompile else ''}"


@attrs.frozen(kw_only=True)
class Answer:
    """Hold a job's result and how it came about. Times in milliseconds."""

    result: Result
    handle: ModelHandle
    worker_id: str
    connection: Connection
    attempts: int
    queue_ms: float  #: from submission to dispatch
    latency_ms: float  #: from submission to result


@attrs.define(eq=False)
class _Job:
    work: Work
    inputs: Inputs
    future: asyncio.Future[Answer]
    submitted_ns: int
    dispatched_ns: int = 0
    result: Result | None = None
    task: asyncio.Task[None] | None = None


@attrs.define(eq=False)
class _Live:
    worker: Worker
    epoch: int
    connection: Connection
    watcher: asyncio.Task[None] | None = None
    handles: dict[str, ModelHandle] = attrs.field(factory=dict)


class Runner:
    """Own all workers and jobs of one host process. Use from one event loop."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        ctx: Context,
        *,
        scheduler: Scheduler | None = None,
        recovery: Recovery | None = None,
        max_workers: int = 4,
        run_id: str = "",
        observer: Observer | None = None,
    ) -> None:
        self._backends = backends
        self._ctx = ctx
        self._machine = Machine(scheduler=scheduler, recovery=recovery, max_workers=max_workers)
        self._run_id = run_id
        self._observer = observer
        self._work: dict[str, Work] = {}
        self._jobs: dict[str, _Job] = {}
        self._live: dict[str, _Live] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._idle = asyncio.Condition()
        self._post(ev.Snapshot(at_ns=_now(), seed=secrets.randbits(63)))

    # --- what callers use ---------------------------------------------------------------------

    async def submit(self, work: Work, inputs: Inputs, *, timeout_s: float | None = None) -> Answer:
        """Run one job and return its answer; the job's typed error otherwise.

        Cancelling the caller cancels the job and frees its worker.
        """
        job_id = uuid.uuid4().hex
        now = _now()
        self._work[work.key] = work
        job = _Job(work, inputs, asyncio.get_running_loop().create_future(), now)
        self._jobs[job_id] = job
        view = JobView(
            id=job_id,
            model=work.key,
            targets=work.targets,
            task=work.task or work.spec.task,
            deadline_ns=now + int(timeout_s * 1e9) if timeout_s is not None else None,
        )
        self._post(ev.JobSubmitted(at_ns=now, job=view))
        try:
            return await job.future
        except asyncio.CancelledError:
            self._post(ev.JobCancelled(at_ns=_now(), job_id=job_id))
            raise
        finally:
            self._jobs.pop(job_id, None)

    def live(self) -> Mapping[str, WorkerInfo]:
        """Return the live workers, by id."""
        return {worker_id: one.worker.info for worker_id, one in self._live.items()}

    async def memory(self, worker_id: str) -> int | None:
        """Return the bytes a worker's process tree holds, None where unknown or gone."""
        live = self._live.get(worker_id)
        if live is None:
            return None
        try:
            return await live.worker.memory()
        except AccelerateError as error:
            _log.warning("no memory figure for %s: %s", worker_id, error)
            return None

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
        for task in self._starting.values():
            task.cancel()
        self._post(ev.Drain(at_ns=_now()))
        await self._until(lambda: not self._machine.fleet.workers)
        for timer in self._timers:
            timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for name, backend in self._backends.items():
            try:
                await backend.close()
            except Exception:
                _log.exception("backend %s did not close cleanly", name)

    # --- machine and world --------------------------------------------------------------------

    def _post(self, event: ev.FleetEvent) -> None:
        for instruction in self._machine.handle(event):
            match instruction:
                case do.StartWorker():
                    task = self._spawn(self._start(instruction))
                    self._starting[instruction.worker_id] = task
                case do.StopWorker():
                    self._spawn(self._stop(instruction))
                case do.LoadModel():
                    self._spawn(self._load(instruction))
                case do.Dispatch():
                    self._dispatch(instruction)
                case do.CancelAttempt():
                    job = self._jobs.get(instruction.job_id)
                    if job is not None and job.task is not None:
                        job.task.cancel()
                case do.Complete():
                    self._complete(instruction)
                case do.Fail():
                    self._fail(instruction)
                case do.WakeAt():
                    self._wake_at(instruction.at_ns)
        if isinstance(event, ev.WorkerStopped | ev.WorkerLost | ev.WorkerFailed):
            self._spawn(self._notify())

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._idle:
            await self._idle.wait_for(condition)

    async def _notify(self) -> None:
        async with self._idle:
            self._idle.notify_all()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _wake_at(self, at_ns: int) -> None:
        loop = asyncio.get_running_loop()

        def fire() -> None:
            self._timers.discard(handle)
            self._post(ev.Timer(at_ns=_now()))

        handle = loop.call_later(max(0.0, (at_ns - _now()) / 1e9) + 0.001, fire)
        self._timers.add(handle)

    def _tell(self, event: events.Event) -> None:
        if self._observer is not None:
            self._observer(event)

    # --- workers ------------------------------------------------------------------------------

    async def _start(self, order: do.StartWorker) -> None:
        started_at = datetime.now(UTC)
        try:
            backend = self._backends.get(order.target.backend)
            if backend is None:
                raise BackendUnavailable(
                    f"no backend {order.target.backend!r} is loaded", accepted=tuple(self._backends)
                )
            worker = await backend.start(order.target, self._ctx)
        except (Exception, asyncio.CancelledError) as error:
            self._starting.pop(order.worker_id, None)
            self._post(
                ev.WorkerFailed(
                    at_ns=_now(),
                    worker_id=order.worker_id,
                    epoch=order.epoch,
                    error=_typed(error, str(order.target)).info,
                )
            )
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        self._starting.pop(order.worker_id, None)
        connection = Connection(
            id=f"{order.worker_id}#{order.epoch}-{uuid.uuid4().hex[:8]}",
            run_id=self._run_id,
            started_at=started_at,
            info=worker.info,
        )
        live = _Live(worker, order.epoch, connection)
        self._live[order.worker_id] = live
        live.watcher = self._spawn(self._watch(order.worker_id, live))
        self._tell(
            events.WorkerStarted(
                run_id=self._run_id,
                at=datetime.now(UTC),
                worker_id=order.worker_id,
                epoch=order.epoch,
                connection=connection,
            )
        )
        self._post(
            ev.WorkerReady(
                at_ns=_now(), worker_id=order.worker_id, epoch=order.epoch, info=worker.info
            )
        )

    async def _watch(self, worker_id: str, live: _Live) -> None:
        """Turn a worker's own events into the fleet's."""
        try:
            async for event in live.worker.events():
                if event.kind is WorkerEventKind.LOST:
                    error = WorkerLost(event.message or "the worker is gone", where=worker_id)
                    await self._lose(worker_id, live, error)
                    return
                _log.info("%s: %s %s", worker_id, event.kind, event.message)
        except Exception as error:
            await self._lose(worker_id, live, _typed(error, worker_id))

    async def _lose(self, worker_id: str, live: _Live, error: AccelerateError) -> None:
        if self._live.get(worker_id) is not live:
            return
        del self._live[worker_id]
        self._gone(worker_id, live, error)
        self._post(
            ev.WorkerLost(at_ns=_now(), worker_id=worker_id, epoch=live.epoch, error=error.info)
        )
        await self._close_worker(worker_id, live, kill=True)

    async def _stop(self, order: do.StopWorker) -> None:
        live = self._live.pop(order.worker_id, None)
        if live is not None:
            if live.watcher is not None:
                live.watcher.cancel()
            await self._close_worker(order.worker_id, live, kill=False)
            self._gone(order.worker_id, live, None)
        self._post(ev.WorkerStopped(at_ns=_now(), worker_id=order.worker_id, epoch=order.epoch))

    async def _close_worker(self, worker_id: str, live: _Live, *, kill: bool) -> None:
        try:
            await live.worker.close(kill=kill)
        except Exception:
            _log.exception("%s did not close cleanly", worker_id)

    def _gone(self, worker_id: str, live: _Live, error: AccelerateError | None) -> None:
        now = datetime.now(UTC)
        lived = (now - live.connection.started_at).total_seconds()
        self._tell(
            events.WorkerGone(
                run_id=self._run_id,
                at=now,
                worker_id=worker_id,
                epoch=live.epoch,
                target=live.worker.info.target,
                connection=attrs.evolve(live.connection, duration_s=lived),
                error=error.info if error else None,
            )
        )

    # --- models and jobs ----------------------------------------------------------------------

    async def _load(self, order: do.LoadModel) -> None:
        live = self._live.get(order.worker_id)
        if live is None:
            return  # its loss is on the way
        work = self._work[order.model]
        try:
            live.handles[order.model] = await live.worker.load(work.spec, work.options)
        except Exception as error:
            typed = _typed(error, order.worker_id)
            self._post(
                ev.LoadFailed(
                    at_ns=_now(),
                    worker_id=order.worker_id,
                    epoch=order.epoch,
                    model=order.model,
                    kind=classify(typed),
                    error=typed.info,
                )
            )
            return
        self._post(
            ev.ModelLoaded(
                at_ns=_now(), worker_id=order.worker_id, epoch=order.epoch, model=order.model
            )
        )

    def _dispatch(self, order: do.Dispatch) -> None:
        job = self._jobs.get(order.job_id)
        if job is not None:
            job.dispatched_ns = _now()
            job.task = self._spawn(self._attempt(order, job))

    async def _attempt(self, order: do.Dispatch, job: _Job) -> None:
        live = self._live.get(order.worker_id)
        try:
            if live is None or live.epoch != order.epoch:
                raise WorkerLost("the worker is gone", where=order.worker_id)
            result = await live.worker.run(live.handles[order.model], job.inputs)
        except Exception as error:
            typed = _typed(error, order.worker_id)
            self._post(
                ev.AttemptFailed(
                    at_ns=_now(),
                    job_id=order.job_id,
                    attempt=order.attempt,
                    worker_id=order.worker_id,
                    epoch=order.epoch,
                    kind=classify(typed),
                    error=typed.info,
                )
            )
            return
        job.result = result
        self._post(
            ev.AttemptFinished(
                at_ns=_now(),
                job_id=order.job_id,
                attempt=order.attempt,
                worker_id=order.worker_id,
                epoch=order.epoch,
            )
        )

    def _complete(self, order: do.Complete) -> None:
        job = self._jobs.get(order.job_id)
        live = self._live.get(order.worker_id)
        if job is None or job.future.done() or job.result is None or live is None:
            return
        now = _now()
        answer = Answer(
            result=job.result,
            handle=live.handles[job.work.key],
            worker_id=order.worker_id,
            connection=live.connection,
            attempts=order.attempt,
            queue_ms=(job.dispatched_ns - job.submitted_ns) / 1e6,
            latency_ms=(now - job.submitted_ns) / 1e6,
        )
        job.future.set_result(answer)
        self._job_finished(order.job_id, job, order.worker_id, order.attempt, None)

    def _fail(self, order: do.Fail) -> None:
        job = self._jobs.get(order.job_id)
        if job is None or job.future.done():
            return
        error = AccelerateError.from_info(order.error)
        job.future.set_exception(error)
        self._job_finished(order.job_id, job, None, order.attempts, error)

    def _job_finished(
        self,
        job_id: str,
        job: _Job,
        worker_id: str | None,
        attempts: int,
        error: AccelerateError | None,
    ) -> None:
        self._tell(
            events.JobFinished(
                run_id=self._run_id,
                at=datetime.now(UTC),
                job_id=job_id,
                model=job.work.spec.name,
                worker_id=worker_id,
                latency_ms=None if error else (_now() - job.submitted_ns) / 1e6,
                attempts=attempts,
                error=error.info if error else None,
            )
        )


def classify(error: AccelerateError) -> FailureKind:
    """Return what kind of failure an error is."""
    for kind, word in (
        (WorkerLost, FailureKind.LOST),
        (JobTimeout, FailureKind.TIMEOUT),
        (ModelError, FailureKind.MODEL),
        (Unsupported, FailureKind.UNSUPPORTED),
        (BackendUnavailable, FailureKind.BACKEND),
    ):
        if isinstance(error, kind):
            return word
    return FailureKind.INTERNAL


def _typed(error: BaseException, where: str) -> AccelerateError:
    if isinstance(error, AccelerateError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return BackendUnavailable("cancelled while starting", where=where)
    _log.error("untyped error from %s", where, exc_info=error)
    return PluginError(
        f"failed with {type(error).__name__}: {error}",
        where=where,
        hint="This is a bug of the backend; --debug shows where.",
    )


def _now() -> int:
    return time.perf_counter_ns()
