# SPDX-License-Identifier: Apache-2.0
"""Files of results to runs and measurements. Reads files, writes nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import cattrs

from accelerate_core.errors import AccelerateError, ConfigError
from accelerate_core.serial import from_plain
from accelerate_core.types import Measurement, RunInfo, RunSummary

from . import older

_FORMATS = (
    "a JSON or CSV report of accel bench",
    "JSON, JSON lines or CSV with columns such as model_name, platform, latency_ms",
)
_REPORT_VERSION = 1
#: Under these names older tools kept their rows in an object.
_LISTS = ("webnn_webgpu_performance", "results", "measurements", "benchmarks", "rows", "data")


@attrs.frozen
class Skipped:
    """A row that was not imported."""

    row: int  #: from 1, a header not counted
    reason: str


@attrs.frozen
class Incoming:
    """What a file holds."""

    path: Path
    runs: tuple[RunInfo, ...]
    measurements: tuple[Measurement, ...]
    skipped: tuple[Skipped, ...]


def read(path: Path) -> Incoming:
    """Return what a file holds; ConfigError for one that is foreign, damaged or half-written."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise _refused(path, f"it is no text: {error}") from error
    if path.suffix.lower() == ".csv":
        return _rows(path, list(_csv(path, text)))
    data = _json(path, text)
    if isinstance(data, Mapping) and "format_version" in data:
        return _report(path, data)
    if isinstance(data, Mapping):
        listed = (data[name] for name in _LISTS if isinstance(data.get(name), list))
        data = next(listed, [data])
    if not isinstance(data, list):
        raise _refused(path, "no results in it")
    return _rows(path, data)


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not all(line.lstrip().startswith("{") for line in lines):
            raise _refused(path, f"no JSON, or half-written: {error}") from error
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise _refused(path, f"a line is no JSON, or half-written: {error}") from error


def _csv(path: Path, text: str) -> Iterator[dict[str, str]]:
    try:
        header, *lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except (ValueError, csv.Error) as error:
        raise _refused(path, f"no CSV with a header, or half-written: {error}") from error
    for number, line in enumerate(lines, 1):
        if len(line) != len(header):
            raise _refused(
                path, f"row {number} has {len(line)} of {len(header)} values: half-written?"
            )
        yield dict(zip(header, line, strict=True))


def _report(path: Path, data: Mapping[str, Any]) -> Incoming:
    if data["format_version"] != _REPORT_VERSION:
        raise _refused(path, f"a report of format version {data['format_version']!r}")
    try:
        summary = from_plain(data, RunSummary)
    except (cattrs.BaseValidationError, AccelerateError, LookupError) as error:
        raise _refused(path, "a report that misses parts, or half-written") from error
    return Incoming(path, (summary.run,), summary.measurements, ())


def _rows(path: Path, rows: list[Any]) -> Incoming:
    if not any(isinstance(row, Mapping) and older.is_known(row) for row in rows):
        raise _refused(path, "no results in it: no row has a model, a platform and a measurement")
    found: dict[tuple[str, str], tuple[int, Measurement]] = {}
    skipped = []
    for number, row in enumerate(rows, 1):
        try:
            one = older.measurement(row)
        except ValueError as error:
            skipped.append(Skipped(number, str(error)))
            continue
        first, _ = found.setdefault((one.run_id, one.id), (number, one))
        if first != number:
            skipped.append(Skipped(number, f"the same as row {first}"))
    measurements = tuple(one for _, one in found.values())
    return Incoming(path, tuple(_runs(path, measurements)), measurements, tuple(skipped))


def _runs(path: Path, measurements: tuple[Measurement, ...]) -> Iterator[RunInfo]:
    times: dict[str, list[Any]] = {}
    for one in measurements:
        times.setdefault(one.run_id, []).append(one.started_at)
    for run_id, moments in times.items():
        yield RunInfo(
            id=run_id,
            started_at=min(moments),
            finished_at=max(moments),
            name=f"import of {path.name}",
        )


def _refused(path: Path, why: str) -> ConfigError:
    return ConfigError(f"this file was not imported: {why}", where=str(path), accepted=_FORMATS)
