# SPDX-License-Identifier: Apache-2.0
"""Run a configuration: cells to jobs, answers to measurements, measurements to the store."""

from __future__ import annotations

import asyncio
import functools
import logging
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

from .. import events
from ..assembly import Assembly, assemble, check_tables, make_backends, used_targets
from ..config import Config
from ..durable import resuming
from ..errors import AccelerateError, BackendUnavailable, ConfigError, Unsupported
from ..host import Host
from ..protocols import Backend
from ..running.runner import Runner
from ..status import Status, published
from ..types import Availability, Cell, CellStatus, Measurement, RunInfo, RunSummary, Target
from . import provenance
from .cell import Bench, Turn
from .judging import Judge
from .matrix import Planned, plan, select
from .numbers import series_key
from .profiles import Profiles
from .telling import Observer, Teller

_log = logging.getLogger("accelerate.pipeline")


@attrs.frozen
class Outcome:
    """Hold what a run left: its summary, and the reports that were written."""

    summary: RunSummary
    reports: Mapping[str, Path | None]
    problems: tuple[str, ...] = ()
    profiles: Profiles = attrs.field(factory=dict)  #: of every cell, for a run that was profiled
    #: What analyses found worse than its history, also when measured again, or well again.
    regressions: tuple[events.Regression, ...] = ()
    still_worse: tuple[str, ...] = ()  #: what earlier runs told of, a line each

    @property
    def is_failed(self) -> bool:
        """Whether a measurement fails the run, or a regression that the settings want to."""
        return self.summary.is_failed or any(one.fails_run for one in self.regressions)


async def discover(backends: Mapping[str, Backend]) -> dict[str, Sequence[Availability]]:
    """Ask every backend what exists here; nothing is started."""
    offers = await asyncio.gather(*(backend.discover() for backend in backends.values()))
    return dict(zip(backends, offers, strict=True))


async def preview(config: Config, host: Host, only: Sequence[str] = ()) -> tuple[Planned, ...]:
    """Return the cells a run would measure; ConfigError as `run` would raise it."""
    check_tables(config, host)
    backends = make_backends(config, host, used_targets(config, host))
    return select(plan(config, await discover(backends)), only)


async def run(
    config: Config,
    host: Host,
    *,
    observer: Observer | None = None,
    only: Sequence[str] = (),
    stop: asyncio.Event | None = None,
    is_profiled: bool = False,
    resume: bool | None = None,
    turn: Turn | None = None,
) -> Outcome:
    """Measure every cell of a configuration and return what was found.

    Setting `stop` ends the run cleanly: what was measured is kept, the rest is SKIPPED.
    A durable run (`[pool] durable`, or `resume`) continues the one of the same configuration that
    was killed or interrupted: what that measured is not measured again. With `resume=False` it
    starts anew. Errors of single cells are in the summary; what is raised concerns the whole run.
    """
    if not config.benchmarks:
        raise ConfigError(
            "there is nothing to run",
            where=config.path,
            hint='Add [[models]] and [[benchmarks]] targets = ["cpu"].',
        )
    is_durable = config.pool.durable or bool(resume)
    if is_durable:
        resuming.check_store(config)
    with assemble(config, host) as assembly:
        planned = select(plan(config, await discover(assembly.backends)), only)
        wanted = resuming.fingerprint(config, only)
        earlier = None
        if is_durable and resume is not False:
            earlier = await asyncio.to_thread(resuming.find, assembly.store, wanted)
        return await _Run(
            config,
            host,
            assembly,
            planned,
            observer,
            stop,
            is_profiled,
            fingerprint=wanted,
            earlier=earlier,
            is_durable=is_durable,
            turn=turn,
        ).run()


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
        is_profiled: bool,
        *,
        fingerprint: str,
        earlier: RunSummary | None,
        is_durable: bool,
        turn: Turn | None,
    ) -> None:
        self.config = config
        self.host = host
        self.assembly = assembly
        self.planned = planned
        self.stop = stop or asyncio.Event()
        ci = host.run_metadata()
        self.info = RunInfo(
            id=uuid.uuid4().hex,
            started_at=datetime.now(UTC),
            name=config.name or None,
            # A job may have the files of a commit without Git.
            project_commit=provenance.commit(Path.cwd()) or ci.get("commit"),
            host=provenance.machine(),
            fingerprint=fingerprint,
            ci=ci,
        )
        self.teller = Teller(assembly, observer, _link(config, self.info))
        self.is_durable = is_durable
        self.measurements: list[Measurement] = []
        self.by_cell = {one.cell: one for one in planned}
        if earlier is not None:
            self.go_on(earlier)
        self.judge = Judge(assembly.analyses, assembly.store, self.again, self.teller.conclude)
        self.runner = Runner(
            assembly.backends,
            host.context,
            scheduler=assembly.scheduler,
            recovery=assembly.recovery,
            settings=config.pool.fleet_settings(),
            run_id=self.info.id,
            observer=self.teller.tell,
        )
        self.bench = Bench(
            config,
            host,
            assembly.backends,
            self.runner,
            self.info,
            self.progress,
            is_profiled=is_profiled,
            turn=turn,
        )

    def go_on(self, earlier: RunSummary) -> None:
        """Be the run of a process that died, and keep what that measured."""
        cells = {one.cell for one in self.planned}
        self.measurements = [one for one in earlier.measurements if one.cell in cells]
        measured = {one.cell for one in self.measurements}
        self.planned = [one for one in self.planned if one.cell not in measured]
        self.info = attrs.evolve(
            earlier.run,
            finished_at=None,
            is_interrupted=False,
            resumed_at=(*earlier.run.resumed_at, datetime.now(UTC)),
        )

    async def run(self) -> Outcome:
        store = self.assembly.store
        await self.teller.store(
            functools.partial(store.save_run, self.info),
            events.RunStarted(
                run_id=self.info.id,
                at=self.info.started_at,
                run=self.info,
                cells=tuple(one.cell for one in self.planned),
                measured=len(self.measurements),
            ),
        )
        known = await asyncio.to_thread(
            self.host.scheduler_history, self.assembly.scheduler, store, self.info.id
        )
        self.runner.remember(known)
        regressions: tuple[events.Regression, ...] = ()
        broken: Exception | None = None
        try:
            async with published(self.host.context.state_dir, self.info.id, self.status):
                await self.cells()
                if not self.stop.is_set():
                    regressions = await self.judge.judge(self.summary())
        except Exception as error:
            broken = error
            raise
        finally:
            # Shielded: a second Ctrl-C must not leave a browser behind.
            await asyncio.shield(self.runner.close())
            await self.teller.settled()
            self.info = attrs.evolve(
                self.info, finished_at=datetime.now(UTC), is_interrupted=self.stop.is_set()
            )
            await asyncio.to_thread(store.save_run, self.info)
            if broken is not None:
                await self.teller.broke_off(self.summary(), broken)
        summary = self.summary()
        # Before people are told: they may be sent there.
        paths, problems = await self.report(summary)
        now = datetime.now(UTC)
        for one in regressions:
            self.teller.tell(one)
        ends: list[events.Event] = [
            events.RunFinished(
                run_id=self.info.id,
                at=now,
                summary=summary,
                still_worse=tuple(self.judge.still_worse),
            )
        ]
        if summary.is_failed:
            ends.append(events.RunFailed(run_id=self.info.id, at=now, summary=summary))
        await self.teller.store(functools.partial(store.save_run, self.info), *ends)
        await self.teller.flush()
        problems += [
            *self.judge.problems,
            *self.teller.problems(),
        ]
        return Outcome(
            summary,
            paths,
            tuple(problems),
            self.bench.profiles,
            regressions,
            tuple(self.judge.still_worse),
        )

    def summary(self) -> RunSummary:
        return RunSummary(run=self.info, measurements=tuple(self.measurements))

    def status(self) -> Status:
        return self.runner.meter.status(self.info)

    async def cells(self) -> None:
        for index, planned in enumerate(self.planned):
            await self.keep(await self.attempt(planned))
            following = self.planned[index + 1 :]
            target = planned.cell.target
            # An idle browser would take memory and time from the next cell's.
            if not following or following[0].cell.target != target:
                await self.retire(target)

    async def retire(self, target: Target) -> None:
        if not self.stop.is_set():
            await self.runner.retire(target)

    async def again(self, first: Measurement) -> Measurement | None:
        """Measure a cell once more, on a fresh worker; None when the run is stopped."""
        planned = self.by_cell[first.cell]
        measured = await self.attempt(planned, is_again=True)
        if measured.status is CellStatus.SKIPPED:
            return None
        measured = attrs.evolve(measured, again_of=first.id)
        await self.keep(measured)
        await self.retire(planned.cell.target)
        return measured

    async def attempt(self, planned: Planned, *, is_again: bool = False) -> Measurement:
        """Measure one cell; SKIPPED when the run is stopped before that is done."""
        if self.stop.is_set():
            return self.unmeasured(planned, CellStatus.SKIPPED, None)
        now = datetime.now(UTC)
        self.teller.tell(
            events.CellStarted(run_id=self.info.id, at=now, cell=planned.cell, is_again=is_again)
        )
        stopped = asyncio.create_task(self.stop.wait())
        work = asyncio.create_task(self.cell(planned))
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
        if work.cancelled():
            return self.unmeasured(planned, CellStatus.SKIPPED, None)
        return work.result()

    async def cell(self, planned: Planned) -> Measurement:
        """Measure one cell; its failure is its measurement."""
        try:
            if planned.missing is not None and not planned.benchmark.fallback:
                raise planned.missing
            return await self.bench.measure(planned)
        except (BackendUnavailable, Unsupported) as error:
            return self.unmeasured(planned, CellStatus.MISSING, error)
        except AccelerateError as error:
            return self.unmeasured(planned, CellStatus.FAILED, error)

    # --- keeping and telling ------------------------------------------------------------------

    def unmeasured(
        self, planned: Planned, status: CellStatus, error: AccelerateError | None
    ) -> Measurement:
        known = self.bench.known_spec(planned)
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
            provenance=provenance.of_run(self.info),
        )

    async def keep(self, measurement: Measurement) -> None:
        """Store a measurement; it counts, and is told, once it is committed."""
        if self.is_durable and measurement.status is CellStatus.SKIPPED:
            self.measurements.append(measurement)  # the next process measures it
            return
        # The row refers to its connection, which must be there first.
        await self.teller.settled()
        await self.teller.store(
            functools.partial(self.assembly.store.save_measurement, measurement),
            events.MeasurementStored(
                run_id=self.info.id, at=datetime.now(UTC), measurement=measurement
            ),
        )
        if measurement.again_of is None:
            self.measurements.append(measurement)

    def progress(self, cell: Cell, phase: str, done: int = 0, total: int | None = None) -> None:
        self.teller.tell(
            events.CellProgress(
                run_id=self.info.id,
                at=datetime.now(UTC),
                cell=cell,
                phase=phase,
                done=done,
                total=total,
            )
        )

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


def _link(config: Config, run: RunInfo) -> str | None:
    """Return where people read more about a run."""
    if config.delivery.link is not None:
        return config.delivery.link.format(run_id=run.id)
    return run.ci.get("job_url")
