# SPDX-License-Identifier: Apache-2.0
"""Run a configuration: cells to jobs, answers to measurements, measurements to the store."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from . import events, provenance
from .assembly import Assembly, assemble, used_targets
from .config import Config
from .errors import AccelerateError, BackendUnavailable, ConfigError, NumericalError, Unsupported
from .host import Host
from .matrix import Planned, plan, select
from .measure import (
    TOLERANCE,
    bind_dimensions,
    median,
    median_phases,
    relative_l2,
    series_key,
    synthetic_inputs,
)
from .protocols import Backend, Processor
from .runner import Answer, Runner, Work
from .types import (
    Availability,
    Cell,
    CellStatus,
    LoadOptions,
    Measurement,
    ModelSpec,
    RunInfo,
    RunSummary,
    Target,
)

if TYPE_CHECKING:
    from .types import Array

_log = logging.getLogger("accelerate.pipeline")

#: Fewer samples than this are no median; the budget does not go below it.
MIN_SAMPLES = 3

Observer = Callable[[events.Event], None]


@attrs.frozen
class Outcome:
    """Hold what a run left: its summary, and the reports that were written."""

    summary: RunSummary
    reports: Mapping[str, Path | None]
    problems: tuple[str, ...] = ()


async def discover(backends: Mapping[str, Backend]) -> dict[str, Sequence[Availability]]:
    """Ask every backend what exists here; nothing is started."""
    offers = await asyncio.gather(*(backend.discover() for backend in backends.values()))
    return dict(zip(backends, offers, strict=True))


async def preview(config: Config, host: Host, only: Sequence[str] = ()) -> tuple[Planned, ...]:
    """Return the cells a run would measure; ConfigError as `run` would raise it."""
    from .assembly import make_backends

    backends = make_backends(config, host, used_targets(config, host))
    return select(plan(config, await discover(backends)), only)


async def run(
    config: Config,
    host: Host,
    *,
    observer: Observer | None = None,
    only: Sequence[str] = (),
    stop: asyncio.Event | None = None,
) -> Outcome:
    """Measure every cell of a configuration and return what was found.

    Setting `stop` ends the run cleanly: what was measured is kept, the rest is SKIPPED.
    Errors of single cells are in the summary; what is raised concerns the whole run.
    """
    if not config.benchmarks:
        raise ConfigError(
            "there is nothing to run",
            where=config.path,
            hint='Add [[models]] and [[benchmarks]] targets = ["cpu"].',
        )
    with assemble(config, host) as assembly:
        planned = select(plan(config, await discover(assembly.backends)), only)
        return await _Run(config, host, assembly, planned, observer, stop).run()


class _Run:
    """One run: its identity, its fleet, and what it has found so far."""

    def __init__(
        self,
        config: Config,
        host: Host,
        assembly: Assembly,
        planned: Sequence[Planned],
        observer: Observer | None,
        stop: asyncio.Event | None,
    ) -> None:
        self.config = config
        self.host = host
        self.assembly = assembly
        self.planned = planned
        self.observer = observer
        self.stop = stop or asyncio.Event()
        self.info = RunInfo(
            id=uuid.uuid4().hex,
            started_at=datetime.now(UTC),
            name=config.name or None,
            project_commit=provenance.commit(Path.cwd()),
            host=provenance.machine(),
        )
        self.measurements: list[Measurement] = []
        self.saving: set[asyncio.Task[Any]] = set()
        self.specs: dict[tuple[str, str], ModelSpec | AccelerateError] = {}
        self.references: dict[tuple[str, int, int | None], Mapping[str, Array] | None] = {}
        self.runner = Runner(
            assembly.backends,
            host.context,
            scheduler=assembly.scheduler,
            recovery=assembly.recovery,
            max_workers=config.pool.max_connections,
            run_id=self.info.id,
            observer=self.tell,
        )

    async def run(self) -> Outcome:
        store = self.assembly.store
        await asyncio.to_thread(store.save_run, self.info)
        self.tell(
            events.RunStarted(
                run_id=self.info.id,
                at=self.info.started_at,
                run=self.info,
                cells=tuple(one.cell for one in self.planned),
            )
        )
        try:
            await self.cells()
        finally:
            # Shielded: a second Ctrl-C must not leave a browser behind.
            await asyncio.shield(self.runner.close())
            await asyncio.gather(*self.saving)
            self.info = attrs.evolve(
                self.info, finished_at=datetime.now(UTC), is_interrupted=self.stop.is_set()
            )
            await asyncio.to_thread(store.save_run, self.info)
        summary = RunSummary(run=self.info, measurements=tuple(self.measurements))
        paths, problems = await self.report(summary)
        now = datetime.now(UTC)
        self.tell(events.RunFinished(run_id=self.info.id, at=now, summary=summary))
        if summary.is_failed:
            self.tell(events.RunFailed(run_id=self.info.id, at=now, summary=summary))
        return Outcome(summary, paths, (*problems, *self.observer_problems()))

    async def cells(self) -> None:
        stopped = asyncio.create_task(self.stop.wait())
        try:
            for index, planned in enumerate(self.planned):
                if self.stop.is_set():
                    await self.keep(self.unmeasured(planned, CellStatus.SKIPPED, None))
                    continue
                self.tell(
                    events.CellStarted(run_id=self.info.id, at=datetime.now(UTC), cell=planned.cell)
                )
                work = asyncio.create_task(self.cell(planned))
                try:
                    await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not work.done():
                        work.cancel()
                        await asyncio.wait({work})
                if work.cancelled():
                    await self.keep(self.unmeasured(planned, CellStatus.SKIPPED, None))
                else:
                    await self.keep(work.result())
                following = self.planned[index + 1 :]
                target = planned.cell.target
                # An idle browser would take memory and time from the next cell's.
                if not following or following[0].cell.target != target:
                    await self.runner.retire(target)
        finally:
            stopped.cancel()

    async def cell(self, planned: Planned) -> Measurement:
        """Measure one cell; its failure is its measurement."""
        try:
            if planned.missing is not None and not planned.benchmark.fallback:
                raise planned.missing
            return await self.measure(planned)
        except (BackendUnavailable, Unsupported) as error:
            return self.unmeasured(planned, CellStatus.MISSING, error)
        except AccelerateError as error:
            return self.unmeasured(planned, CellStatus.FAILED, error)

    async def measure(self, planned: Planned) -> Measurement:
        cell, benchmark = planned.cell, planned.benchmark
        spec = await self.spec(planned, cell.precision)
        started = datetime.now(UTC)
        encoded, encode_ms, processor = await self.encode(planned, spec)
        reference = await self.reference(planned, encoded)
        targets = (cell.target, *(one for one in benchmark.fallback if one != cell.target))
        work = Work(
            spec=spec,
            targets=targets,
            options=self.options(spec, encoded, targets),
            task=planned.model.task or spec.task,
        )
        timeout = self.config.pool.job_timeout
        self.progress(cell, "load")
        first = await self.runner.submit(work, encoded, timeout_s=timeout)
        error, distance = None, None
        tolerance = benchmark.tolerance.get(cell.precision, TOLERANCE.get(cell.precision))  # type: ignore[call-overload]
        if reference is not None and not first.connection.info.is_simulated:
            try:
                distance = relative_l2(_arrays(first), reference)
                if tolerance is not None and distance > tolerance:
                    raise NumericalError(
                        f"differs from native CPU by {distance:.2e} (relative L2)",
                        where=str(cell),
                        accepted=(f"up to {tolerance:g}",),
                    )
            except NumericalError as wrong:
                error = wrong
        for _ in range(benchmark.warmup - 1):
            await self.runner.submit(work, encoded, timeout_s=timeout)
        answers = await self.samples(planned, work, encoded)
        decode_ms = await self.decode_ms(processor, answers[-1], encoded)
        latencies = tuple(answer.latency_ms for answer in answers)
        inference = [answer.result.phases.in_page_ms for answer in answers]
        info = first.connection.info
        latency = median(latencies)
        return Measurement(
            id=uuid.uuid4().hex,
            run_id=self.info.id,
            cell=cell,
            status=CellStatus.MISMATCH if error else CellStatus.OK,
            started_at=started,
            series_key=series_key(cell, spec.sha256, info),
            connection_id=first.connection.id,
            worker=info,
            model_sha256=spec.sha256,
            model_family=spec.family,
            task=work.task,
            is_required=planned.is_required,
            fell_back_from=None if cell.target.covers(info.target) else cell.target,
            samples_ms=latencies,
            inference_samples_ms=tuple(one for one in inference if one is not None),
            phases=attrs.evolve(
                median_phases([answer.result.phases for answer in answers]),
                launch_ms=info.launch_ms,
                fetch_ms=first.handle.phases.fetch_ms,
                compile_ms=first.handle.phases.compile_ms,
                first_run_ms=first.handle.phases.first_run_ms or first.result.phases.in_page_ms,
                encode_ms=encode_ms,
                queue_ms=median(answer.queue_ms for answer in answers),
                decode_ms=decode_ms,
            ),
            latency_ms=latency,
            inference_time_ms=median(inference),
            throughput_items_per_second=1e3 * cell.batch_size / latency if latency else None,
            memory_bytes=await self.runner.memory(first.worker_id),
            relative_l2=distance,
            tolerance=tolerance if reference is not None else None,
            error=error.info if error else None,
            is_cached=first.handle.is_cached,
            provenance={
                **provenance.software(),
                "engine_version": info.engine_version,
                "browser_version": info.browser_version,
                "threads": info.threads,
                "warmup": benchmark.warmup,
                "precompile_shaders": self.config.pool.precompile_shaders,
                "load": dict(first.handle.details),
            },
        )

    async def samples(
        self, planned: Planned, work: Work, encoded: Mapping[str, Array]
    ) -> list[Answer]:
        """Run the timed repeats: all of them, or as many as the budget allows."""
        benchmark = planned.benchmark
        answers: list[Answer] = []
        ends = time.perf_counter() + benchmark.budget
        least = min(MIN_SAMPLES, benchmark.repeats)
        while len(answers) < benchmark.repeats:
            if len(answers) >= least and time.perf_counter() > ends:
                break
            self.progress(planned.cell, "measure", len(answers), benchmark.repeats)
            answers.append(
                await self.runner.submit(work, encoded, timeout_s=self.config.pool.job_timeout)
            )
        return answers

    # --- models, inputs, references -----------------------------------------------------------

    async def spec(self, planned: Planned, precision: str) -> ModelSpec:
        key = (planned.model.source, precision)
        if key not in self.specs:
            self.progress(planned.cell, "model")
            try:
                self.specs[key] = await asyncio.to_thread(
                    self.host.resolve_model,
                    planned.model.source,
                    name=planned.model.name,
                    precision=precision,
                )
            except AccelerateError as error:
                self.specs[key] = error
        spec = self.specs[key]
        if isinstance(spec, AccelerateError):
            raise spec
        return spec

    async def encode(
        self, planned: Planned, spec: ModelSpec
    ) -> tuple[Mapping[str, Array], float | None, Processor | None]:
        """Return the cell's inputs and how long making them took."""
        cell = planned.cell
        if spec.processor is None:
            made = await asyncio.to_thread(
                synthetic_inputs, spec, cell.batch_size, cell.sequence_length
            )
            return made, None, None
        source = self.host.source(planned.model.source)
        processor = await asyncio.to_thread(source.processor, spec.processor)
        raw = processor.sample(cell.batch_size, cell.sequence_length)

        def timed() -> tuple[Mapping[str, Array], float]:
            started = time.perf_counter()
            encoded = processor.encode(raw, sequence_length=cell.sequence_length)
            return encoded, (time.perf_counter() - started) * 1e3

        # The first call builds the tokenizer; the second is what a request costs.
        await asyncio.to_thread(timed)
        encoded, encode_ms = await asyncio.to_thread(timed)
        return encoded, encode_ms, processor

    async def decode_ms(
        self, processor: Processor | None, answer: Answer, encoded: Mapping[str, Array]
    ) -> float | None:
        if processor is None:
            return None

        def timed() -> float:
            started = time.perf_counter()
            processor.decode(_arrays(answer), encoded)
            return (time.perf_counter() - started) * 1e3

        return await asyncio.to_thread(timed)

    async def reference(
        self, planned: Planned, encoded: Mapping[str, Array]
    ) -> Mapping[str, Array] | None:
        """Return native CPU's fp32 outputs for these inputs; None where there is no CPU backend."""
        cell = planned.cell
        key = (planned.model.source, cell.batch_size, cell.sequence_length)
        if key not in self.references:
            self.references[key] = None
            if "cpu" in self.assembly.backends:
                self.progress(cell, "reference")
                spec = await self.spec(planned, "fp32")
                work = Work(spec=spec, targets=(Target("cpu"),))
                answer = await self.runner.submit(
                    work, encoded, timeout_s=self.config.pool.job_timeout
                )
                self.references[key] = _arrays(answer)
        return self.references[key]

    def options(
        self, spec: ModelSpec, encoded: Mapping[str, Array], targets: Sequence[Target]
    ) -> LoadOptions:
        needs_sizes = any(
            self.assembly.backends[target.backend].needs_static_shapes for target in targets
        )
        return LoadOptions(
            dimensions=bind_dimensions(spec, encoded) if needs_sizes else {},
            precompile=self.config.pool.precompile_shaders,
        )

    # --- keeping and telling ------------------------------------------------------------------

    def unmeasured(
        self, planned: Planned, status: CellStatus, error: AccelerateError | None
    ) -> Measurement:
        spec = self.specs.get((planned.model.source, planned.cell.precision))
        known = spec if isinstance(spec, ModelSpec) else None
        return Measurement(
            id=uuid.uuid4().hex,
            run_id=self.info.id,
            cell=planned.cell,
            status=status,
            started_at=datetime.now(UTC),
            series_key=series_key(planned.cell, known.sha256 if known else None, None),
            model_sha256=known.sha256 if known else None,
            model_family=known.family if known else None,
            task=planned.model.task or (known.task if known else None),
            is_required=planned.is_required,
            error=error.info if error else None,
            provenance=provenance.software(),
        )

    async def keep(self, measurement: Measurement) -> None:
        """Store a measurement; it counts, and is told, once it is committed."""
        # The row refers to its connection, which must be there first.
        await asyncio.gather(*self.saving)
        await asyncio.to_thread(self.assembly.store.save_measurement, measurement)
        self.measurements.append(measurement)
        self.tell(
            events.MeasurementStored(
                run_id=self.info.id, at=datetime.now(UTC), measurement=measurement
            )
        )

    def progress(self, cell: Cell, phase: str, done: int = 0, total: int | None = None) -> None:
        self.tell(
            events.CellProgress(
                run_id=self.info.id,
                at=datetime.now(UTC),
                cell=cell,
                phase=phase,
                done=done,
                total=total,
            )
        )

    def tell(self, event: events.Event) -> None:
        if isinstance(event, events.WorkerStarted | events.WorkerGone) and event.connection:
            saving = asyncio.ensure_future(
                asyncio.to_thread(self.assembly.store.save_connection, event.connection)
            )
            self.saving.add(saving)
            saving.add_done_callback(self.saved)
        self.assembly.bus.send(event)
        if self.observer is not None:
            self.observer(event)

    def saved(self, task: asyncio.Task[Any]) -> None:
        # A failed save stays, so that the next `keep` raises it.
        if not task.cancelled() and task.exception() is None:
            self.saving.discard(task)

    async def report(self, summary: RunSummary) -> tuple[dict[str, Path | None], list[str]]:
        """Write every report; one that fails is a problem, not the end of the others."""
        paths: dict[str, Path | None] = {}
        problems: list[str] = []
        for name, report in self.assembly.reports.items():
            try:
                paths[name] = await asyncio.to_thread(report.write, summary)
            except Exception as error:
                _log.exception("report %s failed", name)
                problems.append(f"report {name}: {error}")
        return paths, problems

    def observer_problems(self) -> list[str]:
        return [
            f"{failure.observer} failed {failure.count} times, last: {failure.last.message}"
            for failure in self.assembly.bus.failures()
        ]


def _arrays(answer: Answer) -> dict[str, Array]:
    """Return an answer's outputs; nothing was asked to stay on the worker, so all are arrays."""
    return dict(answer.result.outputs)  # type: ignore[arg-type]
