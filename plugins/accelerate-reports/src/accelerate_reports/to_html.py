# SPDX-License-Identifier: Apache-2.0
"""HTML: one file that needs no network, with interactive plots.

Everything that came from outside goes through Jinja's escaping or into a JSON block; the
Content-Security-Policy lets only the scripts run whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import partial
from importlib import metadata, resources
from pathlib import Path

import attrs

from accelerate_core import hookimpl
from accelerate_core.protocols import Context, Report
from accelerate_core.types import RunSummary

from . import notes
from .columns import COLUMNS, Column, filled
from .files import FileReport, replace_file, report_path
from .plots import plots
from .rows import CONDITIONS, UNKNOWN, Row, counts, one_line, rows, title

#: In the order shown.
SHOWN = (
    "target",
    "status",
    "device",
    *CONDITIONS,
    "latency",
    "p90",
    "p95",
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
    import jinja2
    from markupsafe import Markup

    shown = rows(summary)
    names = filled(SHOWN, shown, ALWAYS)
    drawn = plots(summary.measurements)
    scripts = [_page_file("page.js")]
    if drawn:
        scripts.insert(0, plot_library(cache_dir))
    figures = {plot.id: {"data": plot.data, "views": plot.views} for plot in drawn}
    figures_json = json.dumps(figures, allow_nan=False, separators=(",", ":"))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_page_file("page.html.j2")).render(
        verdict="failed" if summary.is_failed else "passed",
        heading=one_line(summary.run.name or summary.run.id),
        totals=", ".join(f"{number} {status.value}" for status, number in counts(shown).items())
        or "no measurements",
        shared=title(shown),
        facts=notes.facts(summary),
        warnings=notes.warnings(shown, is_interrupted=summary.run.is_interrupted),
        rows=shown,
        columns={name: COLUMNS[name] for name in names},
        tolerance=COLUMNS["tolerance"].text,
        wide=("model", "target"),
        unknown=UNKNOWN,
        sort_key=_sort_key,
        details=_details,
        problems=notes.problems(shown),
        plots=drawn,
        environments=notes.environments(shown),
        css=Markup(_page_file("page.css")),
        # A browser ends a script at the first "</script", even inside a JSON string.
        plots_json=Markup(figures_json.replace("<", "\\u003c")),
        scripts=[Markup(script) for script in scripts],
        script_hashes=Markup(" ".join(map(_csp_hash, scripts))),
    )


def plot_library(cache_dir: Path) -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script; bundling takes seconds, once."""
    import vl_convert

    kept = cache_dir / f"vega-embed-{metadata.version('vl-convert-python')}.js"
    try:
        return kept.read_text(encoding="utf-8")
    except FileNotFoundError:
        # Vega-Embed alone: what it needs comes with it, and nothing else becomes global.
        script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
        replace_file(kept, script)
        return script


def _csp_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _page_file(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


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
