# SPDX-License-Identifier: Apache-2.0
"""A run as rows: one flat value per measurement, and the words all formats share. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from accelerate_core.measuring import sampling
from accelerate_core.texts import one_line
from accelerate_core.types import (
    SINGLE_STREAM,
    AdapterInfo,
    Cell,
    CellStatus,
    Estimate,
    Measurement,
    RunSummary,
)

#: What stands for an unknown value wherever people read.
UNKNOWN = "\N{EN DASH}"


@attrs.frozen(kw_only=True)
class Row:
    """Hold what is shown of one measurement. Unknown is None; texts are cleaned, one line."""

    model: str
    precision: str
    batch_size: int
    sequence_length: int | None
    scenario: str
    target: str  #: what ran, or was to run
    fell_back_from: str | None  #: what was asked for, when a fallback ran instead
    status: CellStatus
    is_required: bool
    is_failure: bool
    is_simulated: bool | None
    is_software: bool | None
    device_type: str | None
    adapter: str | None
    browser_version: str | None
    engine_version: str | None
    threads: int | None
    is_cached: bool | None
    sample_count: int
    latency_ms: float | None
    latency_low_ms: float | None  #: 95 % interval of the median
    latency_high_ms: float | None
    latency_p90_ms: float | None
    latency_p90_low_ms: float | None
    latency_p90_high_ms: float | None
    latency_p95_ms: float | None
    latency_p95_low_ms: float | None
    latency_p95_high_ms: float | None
    latency_p99_ms: float | None
    latency_p99_low_ms: float | None
    latency_p99_high_ms: float | None
    inference_time_ms: float | None
    throughput_items_per_second: float | None
    relative_l2: float | None
    tolerance: float | None
    memory_bytes: int | None
    launch_ms: float | None
    fetch_ms: float | None
    compile_ms: float | None
    first_run_ms: float | None
    encode_ms: float | None
    queue_ms: float | None
    transfer_ms: float | None
    in_page_ms: float | None
    decode_ms: float | None
    model_family: str | None
    task: str | None
    model_sha256: str | None
    series_key: str
    connection_id: str | None
    measurement_id: str
    started_at: str  #: ISO 8601
    error_kind: str | None
    error_message: str | None
    error_where: str | None
    error_accepted: str | None
    remedy: str | None
    effective_count: float | None  #: independent samples that would say as much
    spread: float | None  #: width of the middle half of the samples, relative
    ended_by: str | None
    interval_asked: float | None  #: 0.02 is ±2 %
    interval_reached: float | None
    warmup_count: int  #: samples left out at the beginning
    level_change: float | None  #: relative, that is left in the samples
    rate: float | None  #: requests a second of the server scenario
    within: float | None  #: share of them answered within the bound, with its 95 % interval
    within_low: float | None
    within_high: float | None
    holds: bool | None  #: whether any rate kept the bound
    cores: int | None
    other_cores: float | None  #: that other processes kept busy
    stolen_cores: float | None
    throttled_s: float | None
    slowed_count: int | None

    @property
    def where(self) -> str:
        """The target, and what was asked for when that was another."""
        return f"{self.fell_back_from} -> {self.target}" if self.fell_back_from else self.target

    @property
    def device(self) -> str:
        """What really computed, in one word; SIMULATED and software win over everything."""
        if self.is_simulated:
            return "SIMULATED"
        if self.is_software:
            return "software"
        return self.device_type or UNKNOWN

    @property
    def explanation(self) -> str | None:
        """What went wrong, with where it did and what would have been accepted."""
        if self.error_message is None:
            return None
        text = self.error_message
        if self.error_where and self.error_where != self.target:
            text = f"{self.error_where}: {text}"
        if self.error_accepted:
            text = f"{text} (accepted: {self.error_accepted})"
        return text


def rows(summary: RunSummary) -> tuple[Row, ...]:
    """Return one row per measurement, in the order they were made."""
    return tuple(row(measurement) for measurement in summary.measurements)


def row(measurement: Measurement) -> Row:
    """Flatten one measurement."""
    cell, worker, phases = measurement.cell, measurement.worker, measurement.phases
    error = measurement.error
    samples = measurement.samples_ms
    # What older versions measured says no more than its samples do.
    taken = measurement.sampling or sampling.describe(samples)
    known = taken.percentiles
    noise = taken.noise
    within = _ends(taken.within)
    return Row(
        model=one_line(cell.model),
        precision=one_line(cell.precision),
        batch_size=cell.batch_size,
        sequence_length=cell.sequence_length,
        scenario=str(cell.scenario),
        target=one_line(str(cell.target)),
        fell_back_from=_text(measurement.fell_back_from),
        status=measurement.status,
        is_required=measurement.is_required,
        is_failure=measurement.is_failure,
        is_simulated=worker.is_simulated if worker else None,
        is_software=worker.is_software if worker else None,
        device_type=_text(worker.device_type) if worker else None,
        adapter=_adapter(worker.adapter) if worker and worker.adapter else None,
        browser_version=_text(worker.browser_version) if worker else None,
        engine_version=_text(worker.engine_version) if worker else None,
        threads=worker.threads if worker else None,
        is_cached=measurement.is_cached,
        sample_count=len(samples),
        latency_ms=measurement.latency_ms,
        latency_low_ms=known["p50"].low if "p50" in known else None,
        latency_high_ms=known["p50"].high if "p50" in known else None,
        **{
            f"latency_{name}_{end}ms": value
            for name in ("p90", "p95", "p99")
            for end, value in _ends(known.get(name)).items()
        },
        inference_time_ms=measurement.inference_time_ms,
        throughput_items_per_second=measurement.throughput_items_per_second,
        relative_l2=measurement.relative_l2,
        tolerance=measurement.tolerance,
        memory_bytes=measurement.memory_bytes,
        **{name: getattr(phases, name) for name in PHASES},
        model_family=_text(measurement.model_family),
        task=_text(measurement.task),
        model_sha256=_text(measurement.model_sha256),
        series_key=one_line(measurement.series_key),
        connection_id=_text(measurement.connection_id),
        measurement_id=one_line(measurement.id),
        started_at=measurement.started_at.isoformat(),
        error_kind=_text(error.kind) if error else None,
        error_message=_text(error.message) if error else None,
        error_where=_text(error.where) if error else None,
        error_accepted=_text(", ".join(error.accepted)) if error else None,
        remedy=_text(error.hint) if error else None,
        effective_count=taken.effective_count if samples else None,
        spread=taken.spread,
        ended_by=taken.ended_by if measurement.sampling else None,
        interval_asked=taken.interval,
        interval_reached=taken.reached,
        warmup_count=len(taken.warmup_ms),
        level_change=taken.level_change,
        rate=taken.rate,
        within=within[""],
        within_low=within["low_"],
        within_high=within["high_"],
        holds=any(one.holds for one in taken.trials) if taken.trials else None,
        cores=noise.cores if noise else None,
        other_cores=noise.other_cores if noise else None,
        stolen_cores=noise.stolen_cores if noise else None,
        throttled_s=noise.throttled_s if noise else None,
        slowed_count=noise.slowed_count if noise else None,
    )


#: Fields of `Phases`, in the order a request goes through them, with the words people read.
PHASES = {
    "launch_ms": "launch",
    "fetch_ms": "fetch",
    "compile_ms": "compile",
    "first_run_ms": "first run",
    "encode_ms": "encode",
    "queue_ms": "queue",
    "transfer_ms": "transfer",
    "in_page_ms": "in page",
    "decode_ms": "decode",
}
LOAD_PHASES = ("launch_ms", "fetch_ms", "compile_ms", "first_run_ms")


def load_ms(row: Row) -> float | None:
    """Return the time from launch to the first answer, or None where no part is known."""
    known = [value for name in LOAD_PHASES if (value := getattr(row, name)) is not None]
    return sum(known) if known else None


#: What a cell is besides its target, with the words people read.
CONDITIONS = {
    "model": "{}",
    "precision": "{}",
    "batch_size": "batch {}",
    "sequence_length": "{} tokens",
    "scenario": "{}",
}


def conditions(cell: Cell | Row, names: Iterable[str] = CONDITIONS) -> str:
    """Name what a cell is besides its target; unknown parts are left out."""
    values = [(CONDITIONS[name], getattr(cell, name)) for name in names]
    return ", ".join(
        words.format(one_line(str(value)))
        for words, value in values
        if value and str(value) != str(SINGLE_STREAM)  # what goes without saying
    )


def varying(cells: Iterable[Cell | Row]) -> tuple[str, ...]:
    """Return the names of `CONDITIONS` in which cells differ."""
    cells = tuple(cells)
    return tuple(name for name in CONDITIONS if len({getattr(cell, name) for cell in cells}) > 1)


def title(cells: Iterable[Cell | Row]) -> str:
    """Name what all cells have in common besides the target; empty when that is nothing."""
    cells = tuple(cells)
    different = varying(cells)
    shared = [name for name in CONDITIONS if name not in different]
    return conditions(cells[0], shared) if cells else ""


def counts(rows: Sequence[Row]) -> dict[CellStatus, int]:
    """Count rows by status, in the order of `CellStatus`; absent ones are left out."""
    found = {status: sum(row.status == status for row in rows) for status in CellStatus}
    return {status: number for status, number in found.items() if number}


def duration_s(summary: RunSummary) -> float | None:
    """Return how long the run took, in seconds, or None while it has not ended."""
    run = summary.run
    return (run.finished_at - run.started_at).total_seconds() if run.finished_at else None


def _text(value: object) -> str | None:
    return (one_line(str(value)) or None) if value is not None else None


def _adapter(adapter: AdapterInfo) -> str | None:
    # The description repeats the rest where a browser gives one at all.
    parts = (adapter.vendor, adapter.architecture, adapter.device)
    return _text(adapter.description or " ".join(part for part in parts if part))


def _ends(estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return {"": None, "low_": None, "high_": None}
    return {"": estimate.value, "low_": estimate.low, "high_": estimate.high}
