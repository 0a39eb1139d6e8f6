# SPDX-License-Identifier: Apache-2.0
"""CSV: one line per measurement, every field of `Row`, numbers unrounded."""

from __future__ import annotations

import csv
import io
from typing import Any

import attrs

from accelerate_core import hookimpl
from accelerate_core.protocols import Context, Report
from accelerate_core.types import RunSummary

from .files import FileReport, report_path
from .rows import Row, rows


def render(summary: RunSummary) -> str:
    """Return a header line and one line per measurement; unknown is an empty field."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["run_id", "device", *(field.name for field in attrs.fields(Row))])
    for row in rows(summary):
        values = (summary.run.id, row.device, *attrs.astuple(row))
        writer.writerow([_plain(value) for value in values])
    return file.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    # A spreadsheet would run a text that begins like this as a formula.
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return value


@attrs.frozen(kw_only=True)
class CsvSettings:
    """Say where the CSV report goes."""

    #: File to write. Its directories are created, an older file is replaced.
    path: str = "report.csv"


class CsvPlugin:
    """Write one line per measurement, for spreadsheets and data frames."""

    name = "csv"
    settings = CsvSettings

    @hookimpl
    def report_create(self, settings: CsvSettings, ctx: Context) -> Report:
        """Return a report that writes `settings.path`."""
        return FileReport(report_path(settings.path, where="reports.csv.path"), render)
