# SPDX-License-Identifier: Apache-2.0
"""Results as text without any report plugin: one line each, and one plain table. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..types import CellStatus, Measurement, RunSummary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from ..events import Regression

UNKNOWN = "-"


def number(value: float | None, unit: str = "") -> str:
    """Return a number with three significant digits and its unit."""
    if value is None:
        return UNKNOWN
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}{' ' if unit else ''}{unit}"


def device(measurement: Measurement) -> str:
    """Return what really computed."""
    worker = measurement.worker
    if worker is None:
        return UNKNOWN
    kind = worker.device_type or "unknown device"
    if worker.is_simulated:
        return "SIMULATED"
    return f"{kind}, software" if worker.is_software else kind


def result_line(measurement: Measurement) -> str:
    """Return one measurement as a line."""
    parts = [f"{measurement.status:<8} {measurement.cell}"]
    if measurement.latency_ms is not None:
        parts.append(f"{number(measurement.latency_ms, 'ms')} ({device(measurement)})")
    if measurement.relative_l2 is not None:
        parts.append(f"error {measurement.relative_l2:.1e}")
    if measurement.fell_back_from is not None:
        parts.append(f"fell back from {measurement.fell_back_from}")
    if measurement.error is not None:
        parts.append(measurement.error.message)
    return "  ".join(" ".join(parts_.split("\n")) for parts_ in parts)


def plain_table(summary: RunSummary) -> Table:
    """Return all measurements as a table that fits 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("model", "target", "prec", "batch", "status", "latency ms", "error", "device"):
        is_number = heading in ("batch", "latency ms", "error")
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    for one in summary.measurements:
        style = "bold red" if one.is_failure else "" if one.status is CellStatus.OK else "dim"
        table.add_row(
            one.cell.model,
            str(one.worker.target if one.worker else one.cell.target),
            one.cell.precision,
            str(one.cell.batch_size),
            Text(one.status.value, style=style),
            number(one.latency_ms),
            UNKNOWN if one.relative_l2 is None else f"{one.relative_l2:.1e}",
            device(one),
        )
    return table


def failures(summary: RunSummary) -> list[str]:
    """Return a line for each measurement that is not ok, with what to do."""
    return [
        f"{one.cell}: {one.status}: {one.error.message}"
        + (f"\n    {one.error.hint}" if one.error.hint else "")
        for one in summary.measurements
        if one.error is not None
    ]


def regression_lines(found: Iterable[Regression]) -> list[str]:
    """Return a line for each regression: how much, why as far as it is known, and what to ask.

    Several with one cause come below a line that says so. What is well again is none of them.
    """
    groups: dict[str, list[Regression]] = {}
    for number, one in enumerate(found):
        cause = one.cause_id if one.status == "open" else None
        groups.setdefault(cause or str(number), []).append(one)
    lines = []
    for group in groups.values():
        if len(group) == 1:
            lines.append(_regression_line(group[0]))
        else:
            lines.append(f"{len(group)} regressions with one cause, {group[0].cause}:")
            lines += [f"  {_regression_line(attrs.evolve(one, cause=None))}" for one in group]
    return lines


def _regression_line(one: Regression) -> str:
    what = "well again" if one.status == "fixed" else f"{one.severity} regression"
    text = f"{what}: {one.label or one.series_key}: "
    text += f"{number(one.before)} -> {number(one.after, one.unit)}"
    if one.change is not None:
        text += f" ({one.change:+.0%}"
        if one.change_low is not None and one.change_high is not None:
            text += f", between {one.change_low:+.0%} and {one.change_high:+.0%}"
        text += ")"
    for more in (one.cause, one.note, one.see):
        text += f"; {more}" if more else ""
    return text
