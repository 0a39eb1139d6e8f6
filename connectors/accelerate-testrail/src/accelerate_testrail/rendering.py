# SPDX-License-Identifier: Apache-2.0
"""What runs, cases and results say in TestRail. Pure.

Words of others stand in code blocks, indented by four spaces: neither Markdown nor HTML works
there ("Editor formatting reference"). Titles and names are plain text.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from accelerate_core.delivering.message import message_of
from accelerate_core.events import Attachment, Regression
from accelerate_core.texts import clean, cut, one_line
from accelerate_core.types import Cell, Measurement, RunInfo

#: TestRail's own limit of titles, names, versions and fields of the type "String".
LINE = 250
#: Of one fact: an error's message may be a whole log.
_FACT = 1_000
#: Of a comment's block; what is cut is behind the link.
_BLOCK = 4_000
#: Names of cells without a case, in the description of a run.
_NAMED = 20

#: Words of others are indented: they have none.
_MARK = re.compile(r"^\[accelerate ([0-9a-f]{16})\]\s*$", re.MULTILINE)


def automation_id(cell: Cell) -> str:
    """Return by which id a cell's case is known: the same for the same cell, for ever."""
    named = (
        cell.model,
        str(cell.target),
        cell.precision,
        cell.batch_size,
        cell.sequence_length,
        str(cell.scenario),
    )
    return f"accelerate-{_hash(json.dumps(named), 24)}"


def mark(key: str) -> str:
    """Return what is put where something is told, so that it is told once."""
    return f"[accelerate {_hash(key, 16)}]"


def marks(text: str | None) -> set[str]:
    """Return the marks in a text."""
    return {found[0] for found in _MARK.finditer(text or "")}


def line(text: str) -> str:
    """Return a title or name."""
    return cut(one_line(text), LINE) or "?"


def path(one: Measurement) -> tuple[str, str]:
    """Return the names of the sections of a measurement's case, outermost first."""
    return line(one.model_family or one.task or "models"), line(one.cell.model)


def run_name(run: RunInfo) -> str:
    """Return what a run is called: pipeline, commit, date (UTC)."""
    commit = run.project_commit
    date = run.started_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    words = (cut(run.name or "accelerate", 150), commit[:12] if commit else "", date)
    return line(" ".join(word for word in words if word))


def run_description(run: RunInfo, caseless: Sequence[Cell], link: str | None) -> str:
    """Return what a run says about itself, and about cells that are not in it."""
    facts = [
        ("Run", run.id),
        ("Commit", run.project_commit),
        ("Branch", run.ci.get("branch")),
        ("Job", run.ci.get("job")),
        ("Machine", run.host.get("cpu") or run.host.get("processor")),
    ]
    if caseless:
        facts.append(("Cells without a case", len(caseless)))
        facts += [("", cell) for cell in caseless[:_NAMED]]
    return _text(facts, link, f"run:{run.id}")


def result(one: Measurement, status: int, version: str | None, link: str | None) -> dict[str, Any]:
    """Return a measurement as a result of `add_results_for_cases`, without its case."""
    error, worker = one.error, one.worker
    facts = [
        ("Status", one.status),
        ("Latency", _number(one.latency_ms, "ms, median of", len(one.samples_ms), "samples")),
        ("In the page or process", _number(one.inference_time_ms, "ms")),
        ("Throughput", _number(one.throughput_items_per_second, "items/s")),
        ("Memory", _number(one.memory_bytes and one.memory_bytes / 1e6, "MB")),
        ("Relative error", _number(one.relative_l2)),
        ("Tolerance", _number(one.tolerance)),
        ("Asked for", one.fell_back_from),
        ("Target", worker and worker.target),
        ("Browser", worker and worker.browser_version),
        ("Engine", worker and worker.engine_version),
        ("Why", error and error.message),
        ("What to do", error and error.hint),
    ]
    told = {"status_id": status, "comment": _text(facts, link, one.id)}
    if elapsed := _elapsed(one):
        told["elapsed"] = elapsed
    if version:
        told["version"] = line(version)
    return told


def regression_result(event: Regression, status: int, version: str | None) -> dict[str, Any]:
    """Return a regression, found or fixed, as a result of its cell's case."""
    message = message_of(event)
    told = {
        "status_id": status,
        "comment": _text([("", message.title), *message.facts], message.link, message.key),
    }
    if version:
        told["version"] = line(version)
    return told


def file_name(file: Attachment, key: str) -> str:
    """Return the name of an attachment, with a mark: names are all a list of them shows."""
    stem, dot, suffix = one_line(file.name).replace("/", "_").rpartition(".")
    return f"{cut(stem or 'file', 100)}-{_hash(key, 8)}{dot}{suffix}"


def _text(facts: Sequence[tuple[str, object]], link: str | None, key: str) -> str:
    named = [
        f"{name}: {cut(clean(str(value)).strip(), _FACT)}" if name else one_line(str(value))
        for name, value in facts
        if value not in (None, "")
    ]
    block = cut("\n".join(named), _BLOCK)
    lines = "\n".join(f"    {one}" for one in block.splitlines() if one.strip())
    return "\n\n".join(part for part in (lines, link, mark(key)) if part)


def _number(value: float | None, *unit: object) -> str | None:
    return None if value is None else " ".join((f"{value:.4g}", *map(str, unit)))


def _elapsed(one: Measurement) -> str | None:
    """Return how long a cell took, in whole seconds: TestRail reads "0.035s" as 35 s."""
    phases = one.phases
    loading = (phases.launch_ms, phases.fetch_ms, phases.compile_ms, phases.first_run_ms)
    total_ms = sum(one.samples_ms) + sum(part or 0.0 for part in loading)
    return f"{max(1, round(total_ms / 1000))}s" if total_ms else None


def _hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
