# SPDX-License-Identifier: Apache-2.0
"""What a table cannot say: warnings, problems with their remedies, and what ran where. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from accelerate_core.texts import one_line
from accelerate_core.types import CellStatus, RunSummary

from .columns import short
from .rows import Row, duration_s

SIMULATED_NOTE = "SIMULATED: made up by the fake backend. These rows measure nothing."
SOFTWARE_NOTE = (
    "software: a CPU stands in for the accelerator. "
    "Compare such rows with each other, never with real hardware."
)
FALLBACK_NOTE = "a -> b: a was asked for and not to be had; the configured fallback b ran instead."

#: The part of all cores that others may take before readers are told: processes here, and
#: other machines of the same host.
BUSY, STOLEN = 0.1, 0.02


@attrs.frozen(kw_only=True)
class Problem:
    """Tell why one or more cells did not end well, and what to do."""

    where: str  #: targets, with commas
    status: str
    is_failure: bool
    explanation: str
    remedy: str | None
    cell_count: int


@attrs.frozen(kw_only=True)
class Environment:
    """Describe what stands behind a target."""

    target: str
    parts: tuple[str, ...]  #: device, adapter, browser, engine, threads


def warnings(rows: Sequence[Row], *, is_interrupted: bool) -> tuple[str, ...]:
    """Return what a reader must know before comparing any number."""
    found = {
        SIMULATED_NOTE: any(row.is_simulated for row in rows),
        SOFTWARE_NOTE: any(row.is_software for row in rows),
        FALLBACK_NOTE: any(row.fell_back_from for row in rows),
        "The run was interrupted: cells that had not begun are skipped.": is_interrupted,
        "Nothing was measured.": not any(row.sample_count for row in rows),
    }
    said = tuple(text for text, holds in found.items() if holds)
    return (*said, *_noise(rows), *_doubts(rows))


def _noise(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what else the machine did, at its worst, and while which rows were measured."""
    busy = [row for row in rows if _of_cores(row, row.other_cores) >= BUSY]
    if busy:
        worst = max(busy, key=lambda row: row.other_cores or 0)
        most = f"{_up_to(busy)}{short(worst.other_cores)} of {worst.cores} cores"
        yield f"The machine was busy: other processes used {most} ({_which(busy)})."
    stolen = [row for row in rows if _of_cores(row, row.stolen_cores) >= STOLEN]
    if stolen:
        worst = max(stolen, key=lambda row: row.stolen_cores or 0)
        most = f"{_up_to(stolen)}{short(worst.stolen_cores)} of {worst.cores} cores"
        yield f"The host gave {most} to other machines (steal time; {_which(stolen)})."
    if held := [row for row in rows if row.throttled_s]:
        yield f"The container was held back at its CPU limit ({_which(held)})."
    if hot := [row for row in rows if row.slowed_count]:
        yield f"Cores were slowed because they were hot ({_which(hot)})."


def _doubts(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what was left out of samples, and where they say less than they seem to."""
    if warm := [row for row in rows if row.warmup_count]:
        counts = sorted({row.warmup_count for row in warm})
        first = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
        yield f"Warm-up: the first samples ({first}) were slower and are left out ({_which(warm)})."
    if changed := [row for row in rows if row.level_change]:
        worst = max(changed, key=lambda row: abs(row.level_change or 0))
        most = f"{_up_to(changed)}{100 * (worst.level_change or 0):+.0f} %"
        yield f"Not steady: latency changed its level by {most} ({_which(changed)})."
    if wide := [row for row in rows if row.interval_asked and row.ended_by != "interval"]:
        asked = f"\N{PLUS-MINUS SIGN}{100 * (wide[0].interval_asked or 0):g} %"
        yield f"The interval asked for, {asked}, was not reached in time ({_which(wide)})."
    if broken := [row for row in rows if row.holds is False]:
        yield f"The latency bound was not kept ({_which(broken)})."


def _of_cores(row: Row, used: float | None) -> float:
    return used / row.cores if used and row.cores else 0.0


def _up_to(rows: Sequence[Row]) -> str:
    return "up to " if len(rows) > 1 else ""


def _which(rows: Sequence[Row]) -> str:
    names = tuple(dict.fromkeys(row.where for row in rows))
    return ", ".join(names) if len(names) <= 3 else f"{len(rows)} cells"


def problems(rows: Sequence[Row]) -> tuple[Problem, ...]:
    """Return every row that is not ok, failures first, equal ones merged."""
    merged: dict[tuple[str, bool, str, str | None], dict[str, int]] = {}
    for row in rows:
        if row.status == CellStatus.OK and not row.error_message:
            continue
        text = row.explanation or _UNEXPLAINED[row.status]
        # What ran and went wrong fails in any case; what did not run fails only if required.
        never_ran = row.status in (CellStatus.MISSING, CellStatus.SKIPPED)
        status = f"{row.status}, required" if never_ran and row.is_failure else row.status.value
        targets = merged.setdefault((status, row.is_failure, text, row.remedy), {})
        targets[row.where] = targets.get(row.where, 0) + 1
    found = [
        Problem(
            where=", ".join(targets),
            status=status,
            is_failure=is_failure,
            explanation=text,
            remedy=remedy,
            cell_count=sum(targets.values()),
        )
        for (status, is_failure, text, remedy), targets in merged.items()
    ]
    return tuple(sorted(found, key=lambda problem: not problem.is_failure))


_UNEXPLAINED = {
    CellStatus.MISMATCH: "the output differs from the native CPU's by more than the tolerance",
    CellStatus.FAILED: "failed without an error text",
    CellStatus.MISSING: "not available here",
    CellStatus.SKIPPED: "the run ended before this cell was measured",
}


def environments(rows: Sequence[Row]) -> tuple[Environment, ...]:
    """Return what ran, once for each target and version."""
    found = {}
    for row in rows:
        parts = (
            row.device if row.is_simulated or row.is_software or row.device_type else None,
            row.adapter,
            row.browser_version and f"browser {row.browser_version}",
            row.engine_version,
            row.threads and f"{row.threads} thread{'s' if row.threads > 1 else ''}",
        )
        known = tuple(str(part) for part in parts if part)
        if known:
            found[row.target, known] = Environment(target=row.target, parts=known)
    return tuple(found.values())


def facts(summary: RunSummary) -> dict[str, str]:
    """Return what identifies the run: label to text, unknown ones left out."""
    run = summary.run
    seconds = duration_s(summary)
    known = {
        "file": run.name,
        "id": run.id,
        "started": run.started_at.isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC"),
        "took": f"{short(seconds)} s" if seconds is not None else None,
        "host": _host(run.host),
        "commit": run.project_commit and run.project_commit[:12],
    }
    return {label: one_line(text) for label, text in known.items() if text}


_HOST_WORDS: Mapping[str, Callable[[Any], str]] = {
    "processor": str,
    "cores": lambda cores: f"{cores} cores",
    "memory_bytes": lambda size: f"{size / 2**30:.1f} GiB" if isinstance(size, int) else str(size),
    "system": str,
    "release": str,
    "python": lambda version: f"Python {version}",
}


def _host(host: Mapping[str, Any]) -> str:
    words = [say(host[key]) for key, say in _HOST_WORDS.items() if host.get(key) is not None]
    others = [f"{key} {value}" for key, value in host.items() if key not in _HOST_WORDS]
    return ", ".join((*words, *others))
