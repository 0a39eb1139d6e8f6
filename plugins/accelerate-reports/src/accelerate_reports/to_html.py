# SPDX-License-Identifier: Apache-2.0
"""HTML: one file that needs no network, with interactive plots.

Everything that came from outside goes through Jinja's escaping or into a JSON block; the
Content-Security-Policy lets only the scripts run whose hashes it names.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import attrs

from accelerate_core import hookimpl
from accelerate_core.protocols import Context, Report
from accelerate_core.texts import one_line
from accelerate_core.types import RunSummary

from . import notes
from .columns import COLUMNS, Column, filled
from .files import FileReport, report_path
from .pages import page_file, render_page
from .plots import plots
from .rows import CONDITIONS, UNKNOWN, Row, counts, rows, title

#: In the order shown.
SHOWN = (
    "target",
    "status",
    "device",
    *CONDITIONS,
    "latency",
    "interval",
    "p90",
    "p90_interval",
    "p95",
    "p95_interval",
    "p99",
    "p99_interval",
    "rate",
    "within",
    "samples",
    "inference",
    "throughput",
    "error",
    "launch",
    "fetch",
    "compile",
    "first_run",
    "memory",
    "cached",
)
ALWAYS = ("target", "status", "device", "latency", "samples", "error")


def render(summary: RunSummary, *, cache_dir: Path) -> str:
    """Return the page. The plot library is bundled once and kept in `cache_dir`."""
    shown = rows(summary)
    names = filled(SHOWN, shown, ALWAYS)
    totals = [f"{number} {status.value}" for status, number in counts(shown).items()]
    return render_page(
        page_file("page.html.j2"),
        plots(summary.measurements),
        cache_dir=cache_dir,
        scripts=[page_file("page.js")],
        values={
            "verdict": "failed" if summary.is_failed else "passed",
            "heading": one_line(summary.run.name or summary.run.id),
            "totals": ", ".join(totals) or "no measurements",
            "shared": title(shown),
            "facts": notes.facts(summary),
            "warnings": notes.warnings(shown, is_interrupted=summary.run.is_interrupted),
            "history": [one_line(note) for note in summary.notes],
            "rows": shown,
            "columns": {name: COLUMNS[name] for name in names},
            "tolerance": COLUMNS["tolerance"].text,
            "wide": ("model", "target"),
            "unknown": UNKNOWN,
            "sort_key": _sort_key,
            "details": _details,
            "problems": notes.problems(shown),
            "environments": notes.environments(shown),
        },
    )


def _sort_key(column: Column, row: Row) -> str:
    if column.number is None:
        return column.text(row)
    value = column.number(row)
    return "" if value is None else repr(float(value))


def _details(row: Row) -> str:
    parts = (row.adapter, row.browser_version)
    return " · ".join(part for part in parts if part)


@attrs.frozen(kw_only=True)
class HtmlSettings:
    """Say where the HTML report goes."""

    #: File to write. Its directories are created, an older file is replaced.
    path: str = "report.html"


class HtmlPlugin:
    """Write one self-contained page with interactive plots."""

    name = "html"
    settings = HtmlSettings

    @hookimpl
    def report_create(self, settings: HtmlSettings, ctx: Context) -> Report:
        """Return a report that writes `settings.path`."""
        path = report_path(settings.path, where="reports.html.path")
        return FileReport(path, partial(render, cache_dir=ctx.cache_dir))
