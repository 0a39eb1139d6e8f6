# SPDX-License-Identifier: Apache-2.0
"""Values to rows and back. Pure: column name -> value; unknown stays None."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

import attrs

from accelerate_core.serial import from_plain, to_plain
from accelerate_core.types import (
    PRECISION_BITS,
    Cell,
    Connection,
    Measurement,
    RunInfo,
    WorkerInfo,
)

Row: TypeAlias = dict[str, Any]
T = TypeVar("T")

_BYTES_PER_MB = 1_000_000
_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False)

#: Columns that say how a model was run; None where the provenance does not.
_OPTIONS = (
    "compute_shader_optimized",
    "precompile_shaders",
    "parallel_loading",
    "mixed_precision",
)


def run_row(run: RunInfo) -> Row:
    """Return the row of `runs`."""
    return {
        "id": run.id,
        "started_at": utc(run.started_at),
        "finished_at": run.finished_at and utc(run.finished_at),
        "name": text(run.name),
        "project_commit": run.project_commit,
        "host": to_json(run.host),
        "is_interrupted": run.is_interrupted,
        "ci": to_json(run.ci) if run.ci else None,
        "record": to_json(run),
    }


def cell_row(cell: Cell) -> Row:
    """Return the row of `cells`; `key` is the cell itself."""
    return {
        "key": to_json(cell),
        "model": text(cell.model),
        "backend": cell.target.backend,
        "engine": cell.target.engine,
        "browser": cell.target.browser,
        "precision": cell.precision,
        "batch_size": cell.batch_size,
        "sequence_length": cell.sequence_length,
        "scenario": str(cell.scenario),
    }


def connection_row(connection: Connection) -> Row:
    """Return the row of `browser_connections`."""
    info = connection.info
    return {
        "timestamp": utc(connection.started_at),
        "connection_id": connection.id,
        "session_id": connection.run_id,
        "browser": info.target.browser,
        "platform": info.target.backend,
        "startup_time_seconds": None if info.launch_ms is None else info.launch_ms / 1000,
        "connection_duration_seconds": connection.duration_s,
        "is_simulation": info.is_simulated,
        "adapter_info": _adapter(info),
        "browser_info": to_json(
            {
                "browser": info.target.browser,
                "version": info.browser_version,
                "engine": info.target.engine,
                "engine_version": info.engine_version,
                **info.details,
            }
        ),
        "features": [text(feature) for feature in info.features],
        **_ran_on(info),
        "memory_bytes": info.memory_bytes,
        "limits": to_json(info.limits),
        "record": to_json(connection),
    }


def measurement_row(measurement: Measurement) -> Row:
    """Return the row of `webnn_webgpu_performance`, all but its `cell_id`."""
    info, cell, phases = measurement.worker, measurement.cell, measurement.phases
    target = info.target if info else cell.target
    options = measurement.provenance.get("options")
    said = {**measurement.provenance, **(options if isinstance(options, Mapping) else {})}
    memory, sampling = measurement.memory_bytes, measurement.sampling
    middle = sampling.percentiles.get("p50") if sampling else None
    return {
        "timestamp": utc(measurement.started_at),
        "connection_id": measurement.connection_id,
        "session_id": measurement.run_id,
        "model_name": text(cell.model),
        "model_type": measurement.task,
        "platform": target.backend,
        "browser": target.browser,
        "is_real_hardware": _is_real_hardware(info),
        **{name: _flag(said.get(name)) for name in _OPTIONS},
        "precision_bits": PRECISION_BITS.get(cell.precision),
        "initialization_time_ms": _known_sum(
            phases.fetch_ms, phases.compile_ms, phases.first_run_ms
        ),
        "inference_time_ms": measurement.inference_time_ms,
        "memory_usage_mb": None if memory is None else memory / _BYTES_PER_MB,
        "throughput_items_per_second": measurement.throughput_items_per_second,
        "latency_ms": measurement.latency_ms,
        "batch_size": cell.batch_size,
        "adapter_info": _adapter(info),
        "model_info": to_json(
            {
                "name": cell.model,
                "sha256": measurement.model_sha256,
                "family": measurement.model_family,
                "task": measurement.task,
                "precision": cell.precision,
            }
        ),
        "simulation_mode": info.is_simulated if info else None,
        "measurement_id": measurement.id,
        "run_id": measurement.run_id,
        "series_key": measurement.series_key,
        "status": str(measurement.status),
        "is_required": measurement.is_required,
        "again_of": measurement.again_of,
        "scenario": str(cell.scenario),
        "latency_low_ms": middle and middle.low,
        "latency_high_ms": middle and middle.high,
        "fell_back_from": measurement.fell_back_from and str(measurement.fell_back_from),
        **_ran_on(info, engine=target.engine),
        "precision": cell.precision,
        "sequence_length": cell.sequence_length,
        "model_sha256": measurement.model_sha256,
        "model_family": text(measurement.model_family),
        "is_cached": measurement.is_cached,
        "samples_ms": list(measurement.samples_ms),
        "inference_samples_ms": list(measurement.inference_samples_ms),
        **attrs.asdict(phases),
        "memory_bytes": memory,
        "relative_l2": measurement.relative_l2,
        "tolerance": measurement.tolerance,
        "error": measurement.error and to_json(measurement.error),
        "provenance": to_json(measurement.provenance),
        "record": to_json(measurement),
    }


def to_json(value: Any) -> str:
    """Return canonical JSON that any reader takes: no NaN, no lone surrogates."""
    plain = to_plain(value)
    # Almost nothing has what `_strict` looks for, and its look takes four times as long.
    with contextlib.suppress(ValueError, TypeError):  # NaN, a surrogate, or no plain dictionary
        written = _ENCODER.encode(plain)
        written.encode("utf-8")
        return written
    return _ENCODER.encode(_strict(plain))


def from_json(record: str, kind: type[T]) -> T:
    """Rebuild a value from its `record`."""
    return from_plain(json.loads(record), kind)


def utc(moment: datetime) -> datetime:
    """Return the moment as the database keeps it: UTC without a zone. A naive one is UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def text(value: str | None) -> str | None:
    """Escape what UTF-8 cannot carry: file names may hold lone surrogates."""
    return value and value.encode("utf-8", "backslashreplace").decode("utf-8")


def _strict(value: Any) -> Any:
    # JSON has no NaN or infinity. Read back into a float field, the word becomes the number.
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return {text(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value


def _adapter(info: WorkerInfo | None) -> str | None:
    return to_json(info.adapter) if info and info.adapter else None


def _ran_on(info: WorkerInfo | None, *, engine: str | None = None) -> Row:
    return {
        "engine": info.target.engine if info else engine,
        "engine_version": text(info.engine_version) if info else None,
        "browser_version": text(info.browser_version) if info else None,
        "is_software": info.is_software if info else None,
        "device_type": info.device_type if info else None,
        "threads": info.threads if info else None,
    }


def _is_real_hardware(info: WorkerInfo | None) -> bool | None:
    if info is None:
        return None
    if info.is_simulated:
        return False
    return None if info.is_software is None else not info.is_software


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _known_sum(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known else None
