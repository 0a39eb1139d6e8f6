# SPDX-License-Identifier: Apache-2.0
"""JUnit XML, as CI systems read it: one test case per measurement.

A mismatch is a failure; what broke, and what is required and missing, is an error; what is
missing or skipped without being required is skipped.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

import attrs

from accelerate_core import hookimpl
from accelerate_core.protocols import Context, Report
from accelerate_core.texts import one_line
from accelerate_core.types import CellStatus, RunSummary

from . import notes
from .files import FileReport, report_path
from .rows import CONDITIONS, LOAD_PHASES, Row, conditions, duration_s, load_ms, rows

#: Fields of `Row` that become properties of the test case where they are known.
PROPERTIES = (
    "is_simulated",
    "is_software",
    "device_type",
    "adapter",
    "browser_version",
    "engine_version",
    "is_cached",
    "sample_count",
    "latency_ms",
    "latency_p90_ms",
    "latency_p95_ms",
    "inference_time_ms",
    "throughput_items_per_second",
    "relative_l2",
    "tolerance",
    "memory_bytes",
    *LOAD_PHASES,
    "fell_back_from",
)


def render(summary: RunSummary) -> str:
    """Return the run as one test suite."""
    shown = rows(summary)
    suite = ET.Element("testsuite", name=one_line(summary.run.name or "accelerate"))
    suite.set("timestamp", summary.run.started_at.isoformat(timespec="seconds"))
    _properties(suite, notes.facts(summary))
    for row, measurement in zip(shown, summary.measurements, strict=True):
        suite.append(_case(row, measurement.samples_ms))
    root = ET.Element("testsuites", name="accelerate")
    for element in (root, suite):
        element.set("tests", str(len(shown)))
        for tag in ("failure", "error", "skipped"):
            plural = tag if tag == "skipped" else f"{tag}s"
            element.set(plural, str(len(suite.findall(f"testcase/{tag}"))))
        if (seconds := duration_s(summary)) is not None:
            element.set("time", f"{seconds:.3f}")
    root.append(suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(row: Row, samples_ms: Sequence[float]) -> ET.Element:
    stamp = " [SIMULATED]" if row.is_simulated else ""
    case = ET.Element("testcase", classname=row.model)
    other = conditions(row, (name for name in CONDITIONS if name != "model"))
    case.set("name", f"{row.where}, {other}{stamp}")
    case.set("time", f"{((load_ms(row) or 0) + sum(samples_ms)) / 1000:.6f}")
    known = {name: getattr(row, name) for name in PROPERTIES}
    _properties(case, {name: str(value) for name, value in known.items() if value is not None})
    if tag := _outcome(row):
        problem = notes.problems([row])[0]
        outcome = ET.SubElement(case, tag, message=problem.explanation)
        if tag != "skipped":
            outcome.set("type", row.error_kind or problem.status)
        outcome.text = "\n".join(filter(None, (problem.explanation, problem.remedy)))
    if samples_ms:
        text = " ".join(f"{sample:.6g}" for sample in samples_ms)
        ET.SubElement(case, "system-out").text = f"device: {row.device}\nsamples_ms: {text}"
    return case


def _outcome(row: Row) -> str | None:
    if row.status == CellStatus.OK:
        return None
    if row.status == CellStatus.MISMATCH:
        return "failure"
    return "error" if row.is_failure else "skipped"


def _properties(parent: ET.Element, values: dict[str, str]) -> None:
    element = ET.SubElement(parent, "properties")
    for name, value in values.items():
        ET.SubElement(element, "property", name=name, value=value)


@attrs.frozen(kw_only=True)
class JunitSettings:
    """Say where the JUnit report goes."""

    #: File to write. Its directories are created, an older file is replaced.
    path: str = "junit.xml"


class JunitPlugin:
    """Write the run as test cases, for CI systems."""

    name = "junit"
    settings = JunitSettings

    @hookimpl
    def report_create(self, settings: JunitSettings, ctx: Context) -> Report:
        """Return a report that writes `settings.path`."""
        return FileReport(report_path(settings.path, where="reports.junit.path"), render)
