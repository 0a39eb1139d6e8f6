# SPDX-License-Identifier: Apache-2.0
"""A report about several runs as Markdown: for a terminal, a mail, a comment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from accelerate_reports.columns import short
from accelerate_reports.rows import UNKNOWN
from accelerate_reports.to_markdown import code

from . import words
from .known import Known
from .report import PerformanceReport, Row


def render(report: PerformanceReport) -> str:
    """Return the text. What came from outside is in code spans, which nothing in it can end."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: PerformanceReport) -> Iterator[str]:
    yield f"# {words.headline(report)}"
    yield ""
    yield words.scope(report)
    yield ""
    yield "## What changed"
    yield ""
    for one in report.changes:
        yield from _change(one)
    if not report.changes:
        yield words.NO_CHANGES
    for cause, group in report.causes.items():
        yield f"- {len(group)} of these have one cause: {code(cause)}"
    yield ""
    yield "## Trends"
    yield ""
    yield from _moved(report.trends)
    yield "## Which browser for which model type"
    yield ""
    yield from _matrix(report)
    if report.advice:
        yield "## Recommendations"
        yield ""
        yield from (f"- {code(text)}" for text in report.advice)
        yield ""
    yield "## Noise"
    yield ""
    yield words.noise(report)
    yield ""
    yield from (
        f"- {code(row.label)}, {row.line.metric.label}: {row.line.variation:.0%}"
        for row in report.noisy
    )
    yield ""
    yield "## What was not measured"
    yield ""
    yield from (
        f"- {code(one.target)} {one.status}, {one.count} times: {code(one.why)}"
        for one in report.unmeasured
    )
    yield from (f"- {text}" for text in report.remarks)
    if not report.unmeasured and not report.remarks:
        yield words.NOTHING_MISSING


def _change(one: Known) -> Iterator[str]:
    mark = "🔺" if one.is_worse else "🔽" if one.metric.is_lower_better else "✅"
    yield (
        f"- {mark} **{one.severity}** {one.metric.label} of {code(one.label)}: {one.size}, "
        f"since {code(one.since)} ({one.changed_at:%Y-%m-%d %H:%M} UTC)"
    )
    for text in words.evidence(one):
        yield f"  - {code(text)}"


def _moved(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        yield words.NO_TRENDS
        yield ""
        return
    yield from _table(
        ("series", "metric", "first third", "last third", "change", "n"),
        (
            (
                code(row.label, in_table=True),
                row.line.metric.label,
                f"{short(row.line.first)} {row.line.metric.unit}",
                f"{short(row.line.last)} {row.line.metric.unit}",
                f"{row.line.relative:+.0%}",
                str(row.line.count),
            )
            for row in rows
        ),
        left=2,
    )


def _matrix(report: PerformanceReport) -> Iterator[str]:
    if not report.matrix:
        yield words.NO_MATRIX
        yield ""
        return
    browsers = list(next(iter(report.matrix.values())))
    yield from _table(
        ("model type", *(code(name, in_table=True) for name in browsers)),
        (
            (code(kind, in_table=True), *(words.rating(row[name]) for name in browsers))
            for kind, row in report.matrix.items()
        ),
        left=len(browsers) + 1,
    )
    yield words.GRADES
    yield ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, left: int) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "|".join(":---" if index < left else "---:" for index in range(len(heads))) + "|"
    for row in rows:
        yield "| " + " | ".join(cell or UNKNOWN for cell in row) + " |"
    yield ""
