# SPDX-License-Identifier: Apache-2.0
"""Rows of older results, and of CSV reports, to measurements. Pure; docs/store.md has the table."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from accelerate_core.errors import ConfigError
from accelerate_core.measuring.numbers import series_key
from accelerate_core.types import (
    PRECISION_BITS,
    AdapterInfo,
    Cell,
    CellStatus,
    Measurement,
    Phases,
    Target,
    WorkerInfo,
)

Fields: TypeAlias = dict[str, Any]

#: Our name -> the names it goes by in files, the first that is there counts. Case does not.
NAMES: Mapping[str, tuple[str, ...]] = {
    "timestamp": ("timestamp", "started_at", "created_at", "date", "time"),
    "model_name": ("model_name", "model"),
    "model_type": ("model_type", "task"),
    "target": ("target",),
    "platform": ("platform", "backend"),
    "browser": ("browser", "browser_name"),
    "simulation_mode": ("simulation_mode", "is_simulation", "is_simulated", "simulated"),
    "is_real_hardware": ("is_real_hardware",),
    "is_software": ("is_software",),
    "precision": ("precision",),
    "precision_bits": ("precision_bits", "bits"),
    "batch_size": ("batch_size", "batch"),
    "sequence_length": ("sequence_length",),
    "inference_time_ms": (
        "inference_time_ms",
        "avg_inference_time_ms",
        "average_inference_time_ms",
    ),
    "latency_ms": ("latency_ms", "avg_latency_ms", "average_latency_ms"),
    "throughput_items_per_second": ("throughput_items_per_second", "throughput"),
    "memory_usage_mb": ("memory_usage_mb", "memory_mb"),
    "memory_bytes": ("memory_bytes",),
    "initialization_time_ms": ("initialization_time_ms", "initialization_ms"),
    "adapter_info": ("adapter_info",),
    "device_type": ("device_type",),
    "browser_version": ("browser_version",),
    "engine_version": ("engine_version",),
    "session_id": ("run_id", "session_id"),
    "connection_id": ("connection_id",),
    "measurement_id": ("measurement_id",),
    "series_key": ("series_key",),
    "status": ("status",),
    **{name: (name,) for name in ("launch_ms", "fetch_ms", "compile_ms", "first_run_ms")},
}
#: Options that are kept in the provenance, where the store finds them again.
_OPTIONS = (
    "compute_shader_optimized",
    "precompile_shaders",
    "parallel_loading",
    "mixed_precision",
)
_METRICS = (
    "latency_ms",
    "inference_time_ms",
    "throughput_items_per_second",
    "memory_usage_mb",
    "memory_bytes",
    "initialization_time_ms",
)
_BITS = {bits: name for name, bits in PRECISION_BITS.items()}
_BROWSERS = {"google-chrome": "chrome", "microsoft-edge": "edge", "msedge": "edge"}


def is_known(names: Any) -> bool:
    """Whether columns of these names say a model, where it ran, and something measured."""
    there = {str(name).lower() for name in names}

    def has(*fields: str) -> bool:
        return any(there & set(NAMES[field]) for field in fields)

    return has("model_name") and has("platform", "target") and has(*_METRICS)


def measurement(row: Any) -> Measurement:
    """Return the measurement a row holds; ValueError says why it holds none.

    A row that names no `measurement_id` is identified by what it says: the same row is imported
    once, whichever file it stands in.
    """
    if not isinstance(row, Mapping):
        raise ValueError("not an object with named values")
    said = {str(key).lower(): value for key, value in row.items()}
    fields: Fields = {name: _first(said, also) for name, also in NAMES.items()}
    target = _target(fields)
    cell = Cell(
        model=_required(fields, "model_name"),
        target=target,
        precision=_precision(fields),
        batch_size=_whole(fields, "batch_size") or 1,
        sequence_length=_whole(fields, "sequence_length"),
    )
    started_at = _moment(fields["timestamp"])
    numbers = {name: _number(fields, name) for name in _METRICS}
    status = CellStatus(fields["status"]) if fields["status"] else CellStatus.OK
    if status is CellStatus.OK and all(value is None for value in numbers.values()):
        raise ValueError(f"nothing measured: none of {', '.join(_METRICS)}")
    worker = _worker(fields, target)
    megabytes = numbers["memory_usage_mb"]
    size = numbers["memory_bytes"] if megabytes is None else megabytes * 1_000_000
    launch_ms, fetch_ms, compile_ms, first_ms = (
        _number(fields, name) for name in ("launch_ms", "fetch_ms", "compile_ms", "first_run_ms")
    )
    if fetch_ms is compile_ms is first_ms is None:
        first_ms = numbers["initialization_time_ms"]  # older results know only their sum
    options = {name: said[name] for name in _OPTIONS if isinstance(said.get(name), bool)}
    content = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()
    return Measurement(
        id=fields["measurement_id"] or content[:24],
        run_id=_run_id(fields, started_at),
        cell=cell,
        status=status,
        started_at=started_at,
        series_key=fields["series_key"] or series_key(cell, None, worker),
        connection_id=_text(fields["connection_id"]),
        worker=worker,
        task=_text(fields["model_type"]),
        phases=Phases(
            launch_ms=launch_ms, fetch_ms=fetch_ms, compile_ms=compile_ms, first_run_ms=first_ms
        ),
        latency_ms=numbers["latency_ms"],
        inference_time_ms=numbers["inference_time_ms"],
        throughput_items_per_second=numbers["throughput_items_per_second"],
        memory_bytes=None if size is None else round(size),
        provenance={"is_imported": True, **({"options": options} if options else {})},
    )


def _first(said: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    values = (said.get(name) for name in names)
    return next((value for value in values if value is not None and value != ""), None)


def _required(fields: Fields, name: str) -> str:
    if not (value := _text(fields[name])):
        raise ValueError(f"no {name}")
    return value


def _text(value: Any) -> str | None:
    return None if value is None else str(value).strip() or None


def _target(fields: Fields) -> Target:
    try:
        if fields["target"] is not None:
            return Target.parse(str(fields["target"]))
        browser = (_text(fields["browser"]) or "").lower().replace(" ", "-")
        written = _required(fields, "platform").lower()
        if browser:
            written += f":{_BROWSERS.get(browser, browser)}"
        return Target.parse(written)
    except ConfigError as error:
        raise ValueError(f"platform and browser are no target: {error.info.message}") from error


def _precision(fields: Fields) -> str:
    if fields["precision"] is not None:
        return str(fields["precision"])
    bits = _whole(fields, "precision_bits")
    if bits is not None and bits not in _BITS:
        raise ValueError(f"precision_bits is {bits}, not one of {', '.join(map(str, _BITS))}")
    return "fp32" if bits is None else _BITS[bits]


def _number(fields: Fields, name: str) -> float | None:
    value = fields[name]
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number) or number < 0:
        raise ValueError(f"{name} is {value!r}, not a finite number that is at least 0")
    return number


def _whole(fields: Fields, name: str) -> int | None:
    number = _number(fields, name)
    if number is not None and (number != int(number) or number < 1):
        raise ValueError(f"{name} is {fields[name]!r}, not a whole number from 1")
    return None if number is None else int(number)


def _flag(fields: Fields, name: str) -> bool | None:
    value = fields[name]
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if value is None or isinstance(value, bool):
        return value
    if (flag := words.get(str(value).lower())) is None:
        raise ValueError(f"{name} is {value!r}, not true or false")
    return flag


def _moment(value: Any) -> datetime:
    """Read ISO 8601, or seconds since 1970; without a zone it is UTC."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        moment = datetime.fromisoformat(str(value).strip())
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            "no timestamp" if value is None else f"timestamp is {value!r}, not ISO 8601"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _worker(fields: Fields, target: Target) -> WorkerInfo | None:
    """Return what is known of what ran it; None where the row says nothing of that."""
    is_simulated, is_real = _flag(fields, "simulation_mode"), _flag(fields, "is_real_hardware")
    is_software = _flag(fields, "is_software")
    adapter = _adapter(fields["adapter_info"])
    versions = [_text(fields[name]) for name in ("browser_version", "engine_version")]
    device_type = _text(fields["device_type"])
    if is_simulated is None and is_real is False and is_software is None:
        is_simulated = True  # older tools knew real and simulated, nothing between
    if is_software is None and is_real is not None and not is_simulated:
        is_software = not is_real
    known = (is_simulated, is_software, adapter, device_type, *versions)
    if all(one is None for one in known):
        return None
    return WorkerInfo(
        target=target,
        browser_version=versions[0],
        engine_version=versions[1],
        adapter=adapter,
        is_software=is_software,
        is_simulated=bool(is_simulated),
        device_type=device_type,
    )


def _adapter(value: Any) -> AdapterInfo | None:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("adapter_info is not JSON") from None
    if isinstance(value, Mapping):
        names = ("vendor", "architecture", "device", "description")
        said = {name: _text(value.get(name)) for name in names}
        return AdapterInfo(**said) if any(said.values()) else None
    return AdapterInfo(description=text) if (text := _text(value)) else None


def _run_id(fields: Fields, started_at: datetime) -> str:
    """Rows of a session are a run; those without one are a run each day."""
    if fields["measurement_id"] is not None:
        return _required(fields, "session_id")
    session = _text(fields["session_id"]) or f"{started_at.astimezone(UTC):%Y-%m-%d}"
    return f"import-{session}"
