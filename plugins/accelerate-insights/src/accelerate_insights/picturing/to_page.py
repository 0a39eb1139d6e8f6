# SPDX-License-Identifier: Apache-2.0
"""A report about several runs as a page that holds everything."""

from __future__ import annotations

from pathlib import Path

from accelerate_reports.columns import short
from accelerate_reports.pages import page_file, render_page

from . import words
from .drawing import page_template
from .report import PerformanceReport


def render(report: PerformanceReport, cache_dir: Path) -> str:
    """Return the page. Text from outside is escaped by the template."""
    worse = any(one.is_worse for one in report.changes)
    return render_page(
        page_template("report.html.j2"),
        report.plots,
        cache_dir=cache_dir,
        scripts=[page_file("page.js")],
        values={"report": report, "words": words, "short": short, "is_worse": worse},
    )
