# SPDX-License-Identifier: Apache-2.0
"""The columns people read, with the words and number formats all formats share. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence

import attrs

from .rows import CONDITIONS, UNKNOWN, Row, load_ms, varying


@attrs.frozen(kw_only=True)
class Column:
    """Say how one column is titled, explained and filled."""

    title: str
    unit: str = ""
    help: str = ""
    text: Callable[[Row], str]
    #: What to sort by, for columns of numbers; None where unknown.
    number: Callable[[Row], float | None] | None = None

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


def short(value: float | None) -> str:
    """Return a number with about three significant digits, never in exponent form."""
    if value is None:
        return UNKNOWN
    if not math.isfinite(value):
        return str(value)
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def scientific(value: float | None) -> str:
    """Return a number as 1.2e-06; a plain 0 when it is exactly that."""
    if value is None:
        return UNKNOWN
    return "0" if value == 0 else f"{value:.1e}"


def yes_no(value: bool | None) -> str:
    """Return a word for a truth value that may be unknown."""
    return UNKNOWN if value is None else "yes" if value else "no"


def megabytes(size_bytes: int | None) -> float | None:
    """Return a size in MB, as the database has it."""
    return None if size_bytes is None else size_bytes / 1e6


def _measure(
    title: str, unit: str, number: Callable[[Row], float | None], help: str = ""
) -> Column:
    return Column(
        title=title, unit=unit, help=help, text=lambda row: short(number(row)), number=number
    )


def _between(title: str, name: str, help: str) -> Column:
    low, high = f"latency_{name}_low_ms", f"latency_{name}_high_ms"

    def text(row: Row) -> str:
        ends = getattr(row, low), getattr(row, high)
        return UNKNOWN if None in ends else "\N{EN DASH}".join(map(short, ends))

    return Column(title=title, unit="ms", help=help, text=text)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _count(title: str, number: Callable[[Row], int | None], help: str) -> Column:
    def text(row: Row) -> str:
        value = number(row)
        return UNKNOWN if value is None else f"{value:,}"

    return Column(title=title, help=help, text=text, number=number)


def filled(
    names: Iterable[str], rows: Sequence[Row], always: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the columns worth showing.

    Those of `always`, and those with a known value; a condition only where rows differ in it.
    """
    different = varying(rows)
    return tuple(
        name
        for name in names
        if name in always
        or (
            name in different
            if name in CONDITIONS
            else any(COLUMNS[name].text(row) != UNKNOWN for row in rows)
        )
    )


COLUMNS: dict[str, Column] = {
    "model": Column(title="model", text=lambda row: row.model),
    "precision": Column(title="precision", text=lambda row: row.precision),
    "batch_size": _count("batch", lambda row: row.batch_size, "items in one request"),
    "sequence_length": _count("tokens", lambda row: row.sequence_length, "length of each item"),
    "scenario": Column(
        title="scenario",
        help="how requests arrive",
        text=lambda row: row.scenario,
    ),
    "target": Column(
        title="target",
        help="backend and browser; asked -> used where a fallback ran",
        text=lambda row: row.where,
    ),
    "status": Column(
        title="status",
        help="ok; mismatch: it ran and the numbers are wrong; failed; missing; skipped",
        text=lambda row: row.status.value,
    ),
    "device": Column(
        title="device",
        help="what really computed; software: a CPU stands in for the accelerator",
        text=lambda row: row.device,
    ),
    "latency": _measure(
        "latency", "ms", lambda row: row.latency_ms, "median from submit to result"
    ),
    "interval": _measure(
        "\N{PLUS-MINUS SIGN}",
        "%",
        lambda row: _percent(row.interval_reached),
        "how far the 95 % interval of the median latency goes, from 6 independent samples on",
    ),
    "p90": _measure(
        "p90", "ms", lambda row: row.latency_p90_ms, "90th percentile, from 10 samples on"
    ),
    "p95": _measure(
        "p95", "ms", lambda row: row.latency_p95_ms, "95th percentile, from 20 samples on"
    ),
    "p99": _measure(
        "p99", "ms", lambda row: row.latency_p99_ms, "99th percentile, from 100 samples on"
    ),
    "p90_interval": _between("p90, 95 %", "p90", "95 % interval, from 36 samples on"),
    "p95_interval": _between("p95, 95 %", "p95", "95 % interval, from 72 samples on"),
    "p99_interval": _between("p99, 95 %", "p99", "95 % interval, from 367 samples on"),
    "rate": _measure(
        "rate", "req/s", lambda row: row.rate, "requests a second of the server scenario"
    ),
    "within": _measure(
        "in time",
        "%",
        lambda row: _percent(row.within),
        "requests of the server scenario answered within the bound",
    ),
    "samples": _count("n", lambda row: row.sample_count or None, "number of samples"),
    "inference": _measure(
        "in page", "ms", lambda row: row.inference_time_ms, "median inside the page or process"
    ),
    "throughput": _measure(
        "speed", "items/s", lambda row: row.throughput_items_per_second, "throughput"
    ),
    "error": Column(
        title="error",
        unit="rel. L2",
        help="distance from the output of the native CPU",
        text=lambda row: scientific(row.relative_l2),
        number=lambda row: row.relative_l2,
    ),
    "tolerance": Column(
        title="tolerance",
        unit="rel. L2",
        help="largest error that passes",
        text=lambda row: scientific(row.tolerance),
        number=lambda row: row.tolerance,
    ),
    "load": _measure(
        "load", "ms", load_ms, "launch, fetch, compile and first run together, as far as known"
    ),
    "launch": _measure("launch", "ms", lambda row: row.launch_ms, "from start to connected"),
    "fetch": _measure("fetch", "ms", lambda row: row.fetch_ms, "getting the model's files"),
    "compile": _measure("compile", "ms", lambda row: row.compile_ms, "creating the session"),
    "first_run": _measure("first run", "ms", lambda row: row.first_run_ms, "the first inference"),
    "memory": _measure(
        "memory", "MB", lambda row: megabytes(row.memory_bytes), "PSS of the process tree"
    ),
    "adapter": Column(title="adapter", text=lambda row: row.adapter or UNKNOWN),
    "browser_version": Column(title="browser", text=lambda row: row.browser_version or UNKNOWN),
    "engine_version": Column(title="engine", text=lambda row: row.engine_version or UNKNOWN),
    "cached": Column(
        title="cached",
        help="the model came from the worker's own cache",
        text=lambda row: yes_no(row.is_cached),
    ),
}
