# SPDX-License-Identifier: Apache-2.0
"""A run as JUnit XML: every cell a test case, as CI systems read it. Pure."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as xml

from accelerate_core.texts import clean
from accelerate_core.types import CellStatus, Measurement

from .values import File, Shown

#: Where all systems that read test results find them.
FOLDER = "test-results"


def report(shown: Shown) -> File:
    """Return the file, in the folder that Bitbucket looks into and others are told of."""
    stem = re.sub(r"[^\w.-]+", "-", shown.name, flags=re.ASCII).strip("-.")[:80] or "accelerate"
    return File(path=Path(FOLDER) / f"{stem}.xml", text=document(shown))


def document(shown: Shown) -> str:
    """Return a suite with one case for each measurement."""
    measured = shown.summary.measurements
    suite = xml.Element(
        "testsuite",
        name=clean(shown.name),
        tests=str(len(measured)),
        failures=str(sum(map(_is_failure, measured))),
        errors=str(sum(map(_is_error, measured))),
        skipped=str(sum(map(_is_skipped, measured))),
        time=f"{sum(map(_seconds, measured)):.6f}",
        timestamp=shown.summary.run.started_at.strftime("%Y-%m-%dT%H:%M:%S"),
    )
    for one in measured:
        suite.append(_case(one))
    root = xml.Element("testsuites")
    root.append(suite)
    text = xml.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _case(one: Measurement) -> xml.Element:
    case = xml.Element(
        "testcase",
        classname=clean(f"{one.cell.model}.{one.cell.target}"),
        name=clean(str(one.cell)),
        time=f"{_seconds(one):.6f}",
    )
    message = clean(one.error.message if one.error else str(one.status))
    if _is_failure(one) or _is_error(one):
        kind = "failure" if _is_failure(one) else "error"
        attributes = {"message": message, "type": one.error.kind if one.error else str(one.status)}
        xml.SubElement(case, kind, attributes).text = (
            clean(one.error.hint) if one.error and one.error.hint else message
        )
    elif _is_skipped(one):
        xml.SubElement(case, "skipped", message=message)
    return case


def _is_failure(one: Measurement) -> bool:
    return one.status is CellStatus.MISMATCH


def _is_error(one: Measurement) -> bool:
    return one.is_failure and one.status is not CellStatus.MISMATCH


def _is_skipped(one: Measurement) -> bool:
    return not one.is_failure and one.status is not CellStatus.OK


def _seconds(one: Measurement) -> float:
    return sum(one.samples_ms) / 1000
