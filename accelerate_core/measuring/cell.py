# SPDX-License-Identifier: Apache-2.0
"""Measure one cell: inputs, reference, correctness, samples."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs

from ..config import Config
from ..errors import AccelerateError, ModelError, NumericalError
from ..host import Host
from ..protocols import Backend
from ..running.runner import Runner
from ..running.work import Answer, Work
from ..types import (
    Cell,
    CellStatus,
    KernelTime,
    LoadOptions,
    Measurement,
    ModelSpec,
    RunInfo,
    Target,
)
from . import noise, provenance
from .encoding import encode
from .matrix import Planned
from .numbers import (
    TOLERANCE,
    bind_dimensions,
    median,
    median_phases,
    relative_l2,
    series_key,
)
from .scenarios import Requests, take

if TYPE_CHECKING:
    from ..types import Array

#: Awaited before a cell (with -1) and before each sample of a stream (with its number, from 0):
#: two runs that are compared measure in turns.
Turn = Callable[[Cell, int], Awaitable[None]]


class Bench:
    """Measure cells of one run, sharing models and references between them."""

    def __init__(
        self,
        config: Config,
        host: Host,
        backends: Mapping[str, Backend],
        runner: Runner,
        run: RunInfo,
        progress: Callable[[Cell, str, int, int | None], None],
        *,
        is_profiled: bool = False,
        turn: Turn | None = None,
    ) -> None:
        self._config = config
        self._host = host
        self._backends = backends
        self._runner = runner
        self._run = run
        self._progress = progress
        self._is_profiled = is_profiled
        self._turn = turn
        #: How long each kernel took in one run of a cell, after those that are measured.
        self.profiles: dict[Cell, tuple[KernelTime, ...]] = {}
        self._specs: dict[tuple[str, str], ModelSpec | AccelerateError] = {}
        self._references: dict[tuple[str, str, int, int | None], Mapping[str, Array] | None] = {}

    def known_spec(self, planned: Planned) -> ModelSpec | None:
        """Return the cell's model if it was resolved."""
        spec = self._specs.get((planned.model.source, planned.cell.precision))
        return spec if isinstance(spec, ModelSpec) else None

    async def measure(self, planned: Planned) -> Measurement:
        """Return the cell's measurement; a typed error when it could not be made."""
        cell, benchmark = planned.cell, planned.benchmark
        if self._turn is not None:
            await self._turn(cell, -1)
        spec = await self._spec(planned, cell.precision)
        started = datetime.now(UTC)
        before = await asyncio.to_thread(noise.moment)
        encoded = await encode(self._host, planned, spec)
        reference = await self._reference(planned, spec, encoded.inputs)
        targets = (cell.target, *(one for one in benchmark.fallback if one != cell.target))
        work = Work(
            spec=spec,
            targets=targets,
            options=self._options(spec, encoded.inputs, targets),
            task=planned.model.task or spec.task,
        )
        self._progress(cell, "load", 0, None)
        loaded = await self._submit(work, None)
        first = await self._submit(work, encoded.inputs)
        tolerance = self._tolerance(planned) if reference is not None else None
        distance, wrong = _compare(first, reference, tolerance, str(cell))
        for _ in range(benchmark.warmup - 1):
            await self._submit(work, encoded.inputs)
        taken = await take(cell.scenario, benchmark, self._requests(cell, work, encoded.inputs))
        heard = noise.between(before, await asyncio.to_thread(noise.moment))
        answers = taken.answers
        if self._is_profiled:
            self.profiles[cell] = await self._profile(cell, work, encoded.inputs)
        inference = [answer.result.phases.in_page_ms for answer in answers]
        info = first.connection.info
        answered = Counter(str(one.connection.info.target) for one in answers)
        is_asked = all(cell.target.covers(one.connection.info.target) for one in (first, *answers))
        speed = taken.requests_per_second
        return Measurement(
            id=uuid.uuid4().hex,
            run_id=self._run.id,
            cell=cell,
            status=CellStatus.MISMATCH if wrong else CellStatus.OK,
            started_at=started,
            series_key=series_key(cell, spec.sha256, info),
            connection_id=first.connection.id,
            worker=info,
            model_sha256=spec.sha256,
            model_family=spec.family,
            task=work.task,
            is_required=planned.is_required,
            fell_back_from=None if is_asked else cell.target,
            samples_ms=taken.samples_ms,
            inference_samples_ms=tuple(one for one in inference if one is not None),
            phases=attrs.evolve(
                median_phases([answer.result.phases for answer in answers]),
                launch_ms=info.launch_ms,
                fetch_ms=loaded.handle.phases.fetch_ms,
                compile_ms=loaded.handle.phases.compile_ms,
                first_run_ms=loaded.handle.phases.first_run_ms or first.result.phases.in_page_ms,
                encode_ms=encoded.encode_ms,
                queue_ms=median(answer.queue_ms for answer in answers),
                decode_ms=await encoded.decode_ms(_arrays(answers[-1])),
            ),
            latency_ms=median(taken.samples_ms),
            inference_time_ms=median(inference),
            throughput_items_per_second=speed and speed * cell.batch_size,
            memory_bytes=await self._runner.memory(first.worker_id),
            relative_l2=distance,
            tolerance=tolerance if distance is not None else None,
            error=wrong.info if wrong else None,
            is_cached=loaded.handle.is_cached,
            sampling=attrs.evolve(taken.sampling, noise=heard),
            provenance={
                **provenance.of_run(self._run),
                # More than one where a worker was lost meanwhile and a fallback went on.
                "answered_by": dict(answered),
                "engine_version": info.engine_version,
                "browser_version": info.browser_version,
                "threads": info.threads,
                "warmup": max(1, benchmark.warmup),
                "max_connections": self._config.pool.max_connections,
                "precompile_shaders": self._config.pool.precompile_shaders,
                "load": dict(loaded.handle.details),
                "precision_error": spec.metadata.get("error"),
                "model_commit": spec.metadata.get("commit"),
            },
        )

    async def _submit(self, work: Work, inputs: Mapping[str, Array] | None) -> Answer:
        return await self._runner.submit(work, inputs, timeout_s=self._config.pool.job_timeout)

    def _requests(self, cell: Cell, work: Work, inputs: Mapping[str, Array]) -> Requests:
        turn = self._turn
        return Requests(
            submit=lambda: self._submit(work, inputs),
            progress=lambda done, total: self._progress(cell, "measure", done, total),
            turn=None if turn is None else lambda number: turn(cell, number),
        )

    async def _profile(
        self, cell: Cell, work: Work, inputs: Mapping[str, Array]
    ) -> tuple[KernelTime, ...]:
        """Return the kernels of one more run, loaded anew because timing them costs time."""
        self._progress(cell, "profile", 0, None)
        timed = attrs.evolve(work, options=attrs.evolve(work.options, profile=True))
        await self._submit(timed, inputs)
        return (await self._submit(timed, inputs)).result.profile

    def _tolerance(self, planned: Planned) -> float | None:
        chosen = {**TOLERANCE, **{str(k): v for k, v in planned.benchmark.tolerance.items()}}
        return chosen.get(planned.cell.precision)

    async def _spec(self, planned: Planned, precision: str) -> ModelSpec:
        key = (planned.model.source, precision)
        if key not in self._specs:
            self._progress(planned.cell, "model", 0, None)
            try:
                self._specs[key] = await asyncio.to_thread(
                    self._host.resolve_model,
                    planned.model.source,
                    name=planned.model.name,
                    precision=precision,
                )
            except AccelerateError as error:
                self._specs[key] = error
        spec = self._specs[key]
        if isinstance(spec, AccelerateError):
            raise spec
        return spec

    async def _reference(
        self, planned: Planned, spec: ModelSpec, inputs: Mapping[str, Array]
    ) -> Mapping[str, Array] | None:
        """Return native CPU's outputs for these inputs; None where there is no CPU backend.

        They are those of the model in fp32, or of `spec` itself where its source has no fp32.
        """
        cell = planned.cell
        try:
            exact = await self._spec(planned, "fp32")
        except ModelError:
            exact = spec
        key = (exact.sha256, exact.precision, cell.batch_size, cell.sequence_length)
        if key not in self._references:
            self._references[key] = None
            if "cpu" in self._backends:
                self._progress(cell, "reference", 0, None)
                work = Work(spec=exact, targets=(Target("cpu"),))
                self._references[key] = _arrays(await self._submit(work, inputs))
        return self._references[key]

    def _options(
        self, spec: ModelSpec, inputs: Mapping[str, Array], targets: Sequence[Target]
    ) -> LoadOptions:
        needs_sizes = any(self._backends[one.backend].loads_for_sizes(one) for one in targets)
        return LoadOptions(
            dimensions=bind_dimensions(spec, inputs) if needs_sizes else {},
            precompile=self._config.pool.precompile_shaders,
        )


def _compare(
    answer: Answer, reference: Mapping[str, Array] | None, tolerance: float | None, where: str
) -> tuple[float | None, NumericalError | None]:
    """Return the distance to the reference, and the error when it is too far."""
    if reference is None or answer.connection.info.is_simulated:
        return None, None
    try:
        distance = relative_l2(_arrays(answer), reference)
    except NumericalError as wrong:
        return None, wrong
    if tolerance is None or distance <= tolerance:
        return distance, None
    return distance, NumericalError(
        f"differs from native CPU by {distance:.2e} (relative L2)",
        where=where,
        accepted=(f"up to {tolerance:g}",),
    )


def _arrays(answer: Answer) -> dict[str, Array]:
    """Return an answer's outputs; nothing was asked to stay on the worker, so all are arrays."""
    return dict(answer.result.outputs)  # type: ignore[arg-type]
