# SPDX-License-Identifier: Apache-2.0
"""What a table cannot say: warnings, problems with their remedies, and what ran where. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from accelerate_core.types import CellStatus, RunSummary

from .columns import short
from .rows import Row, duration_s, one_line

SIMULATED_NOTE = "SIMULATED: made up by the fake backend. These rows measure nothing."
SOFTWARE_NOTE = (
    "software: a CPU stands in for the accelerator. "
    "Compare such rows with each other, never with real hardware."
)
FALLBACK_NOTE = "a -> b: a was asked for and not to be had; the configured fallback b ran instead."


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
    return tuple(text for text, holds in found.items() if holds)


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
        "started": run.started_at.isoformat(sep=" ", timespec="seconds"),
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
