# SPDX-License-Identifier: Apache-2.0
"""A report about several runs: gathered here, written by `to_markdown`, `to_page` and `to_json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs
import platformdirs
from accelerate_reports.plots import Plot

from accelerate_core.errors import ConfigError, did_you_mean
from accelerate_core.texts import one_line

from ..advising.recommending import in_words, recommend
from ..reading import Results
from . import ratings
from .drawing import Gathered, draw, gather, output_path, since_days, write
from .gathering import Line
from .known import Known
from .plots import names

FORMATS = ("markdown", "html", "json", "pdf")
_ENDINGS = {"markdown": (".md",), "html": (".html",), "json": (".json",), "pdf": (".pdf",)}
METRICS = (
    "latency_ms",
    "throughput_items_per_second",
    "memory_usage_mb",
    "initialization_time_ms",
)
#: A series that moves less is no trend.
_TREND = 0.03
#: A series whose measurements differ by more, typically, hides changes.
NOISY = 0.10
_MOST = 10


@attrs.frozen(kw_only=True)
class Row:
    """Sum up a series in words' reach."""

    label: str
    line: Line


@attrs.frozen(kw_only=True)
class Unmeasured:
    """Say what did not end well, and why, by the latest of its kind."""

    target: str
    status: str
    count: int
    why: str


@attrs.frozen(kw_only=True)
class PerformanceReport:
    """Hold everything a report says; each format leaves out what it must, and says so."""

    since: datetime
    until: datetime
    days: float
    counts: Mapping[str, int]  #: runs, measurements, series, machines, commits
    changes: tuple[Known, ...]
    causes: Mapping[str, tuple[Known, ...]]  #: those with one cause, by its words
    trends: tuple[Row, ...]
    matrix: Mapping[str, Mapping[str, ratings.Rating]]
    advice: tuple[str, ...]
    noisy: tuple[Row, ...]
    unmeasured: tuple[Unmeasured, ...]
    remarks: tuple[str, ...]  #: what this report did not look at
    plots: tuple[Plot, ...] = attrs.field(repr=False)


def generate(
    results: Results, days: float, output_format: str, cache_dir: Path | None = None
) -> bytes:
    """Return a report as its file would hold it; ConfigError for a format nobody writes."""
    check_format(output_format)
    cache = cache_dir or platformdirs.user_cache_path("accelerate")
    if output_format == "pdf":
        # Before anything is asked: there may be nothing that prints.
        from .printing import find_printer, printed

        printer = find_printer(cache)
    made = gather_report(results, days)
    if output_format == "markdown":
        from .to_markdown import render

        return render(made).encode()
    if output_format == "json":
        from .to_json import render as to_json

        return to_json(made).encode()
    from .to_page import render as to_page

    page = to_page(made, cache).encode()
    return printed(page, printer) if output_format == "pdf" else page


def generate_performance_report(
    results: Results,
    days: float = 30,
    output_format: str = "markdown",
    output_file: str | Path | None = None,
    cache_dir: Path | None = None,
) -> str | Path:
    """Return the text of a report, or write it and return the path; see `Insights`."""
    check_format(output_format)
    since_days(days)
    if output_file is None:
        if output_format == "pdf":
            raise ConfigError(
                "a PDF is no text", where="output_file", hint='Name a file: output_file="x.pdf"'
            )
        return generate(results, days, output_format, cache_dir).decode()
    path = output_path(output_file, _ENDINGS[output_format])
    write(path, generate(results, days, output_format, cache_dir))
    return path


def check_format(name: str) -> None:
    """Refuse a format that nobody writes."""
    if name not in FORMATS:
        raise ConfigError(
            f"no report about several runs is written as {name!r}",
            where="output_format",
            accepted=FORMATS,
            hint=did_you_mean(name, FORMATS),
        )


def gather_report(results: Results, days: float) -> PerformanceReport:
    """Ask the database for everything that a report says."""
    found = gather(results, days, METRICS)
    changed = {(one.series_key, one.machine, one.metric.name) for one in found.known}
    still = [line for line in found.lines if line.id not in changed and line.count >= 3]
    moved = sorted(still, key=lambda line: -abs(line.relative))
    trends = [line for line in moved if abs(line.relative) >= max(_TREND, _chance(line))]
    noisy = sorted(
        (line for line in found.lines if line.variation > NOISY), key=lambda line: -line.variation
    )
    causes: dict[str, list[Known]] = {}
    for one in found.known:
        if one.cause_id is not None:
            causes.setdefault(one.cause_id, []).append(one)
    counts = _counts(results, found)
    shown = [name for name in METRICS[:3] if any(one.metric.name == name for one in found.lines)]
    return PerformanceReport(
        since=found.since,
        until=datetime.now(UTC).replace(tzinfo=None, microsecond=0),
        days=days,
        counts=counts,
        changes=tuple(found.known),
        causes={_cause(group): tuple(group) for group in causes.values() if len(group) > 1},
        trends=_rows(trends),
        matrix=ratings.matrix(found.speeds),
        advice=_advice(results, days) if counts["measurements"] else (),
        noisy=_rows(noisy),
        unmeasured=_unmeasured(results, found.since),
        remarks=_remarks(found, len(trends), len(noisy)),
        plots=tuple(draw(results, found, shown)),
    )


def _chance(line: Line) -> float:
    """Return how far apart medians of thirds may be by chance: four standard errors.

    Those of a median are 1.25 of a mean's; 1.48 median distances are a standard deviation.
    """
    return 4 * 1.25 * 1.48 * line.variation * math.sqrt(2 / (line.count / 3))


def _cause(group: Sequence[Known]) -> str:
    return one_line(group[0].cause or group[0].since)


def _rows(found: Sequence[Line]) -> tuple[Row, ...]:
    shown = list(found[:_MOST])
    labels = {line.id: "" for line in shown}
    for metric in {line.metric.name for line in shown}:
        labels |= names([line for line in shown if line.metric.name == metric])
    return tuple(Row(label=labels[line.id], line=line) for line in shown)


def _counts(results: Results, found: Gathered) -> dict[str, int]:
    row = results.query(
        "SELECT count(*), coalesce(sum(measurements), 0)::BIGINT, count(DISTINCT project_commit)"
        " FROM (SELECT run_id AS id, count(*) AS measurements FROM webnn_webgpu_performance"
        " WHERE timestamp >= ? AND NOT coalesce(simulation_mode, false) GROUP BY ALL)"
        " JOIN runs USING (id)",
        [found.since],
    ).rows[0]
    return {
        "runs": row[0],
        "measurements": row[1],
        "commits": row[2],
        "series": len({(line.key, line.machine) for line in found.lines}),
        "machines": len({line.machine for line in found.lines}),
    }


def _advice(results: Results, days: float) -> tuple[str, ...]:
    found = recommend(results, time_range=f"{max(1, round(days))}d")
    texts = [one_line(f"{one.question.model}: {in_words(one)}") for one in found.answers]
    told = list(dict.fromkeys(texts))
    more = len(told) - 2 * _MOST
    return (*told[: 2 * _MOST], f"and {more} more: accel recommend") if more > 0 else tuple(told)


def _unmeasured(results: Results, since: datetime) -> tuple[Unmeasured, ...]:
    table = results.query(
        """
        SELECT concat(platform, if(engine IS NULL, '', '/' || engine),
                if(browser IS NULL, '', ':' || browser)) AS target,
            status, count(*), coalesce(arg_max(error->>'message', id), 'nothing is known of why')
        FROM webnn_webgpu_performance WHERE timestamp >= ? AND status != 'ok'
        GROUP BY ALL ORDER BY 3 DESC, 1, 2
        """,
        [since],
    )
    return tuple(
        Unmeasured(target=one_line(row[0]), status=row[1], count=row[2], why=one_line(row[3]))
        for row in table.rows[: 2 * _MOST]
    )


def _remarks(found: Gathered, trends: int, noisy: int) -> tuple[str, ...]:
    said = {
        f"Changes were not looked for in {found.left_out} series that moved less than the others; "
        "accel regressions looks in all of them.": found.left_out,
        f"{trends - _MOST} more series have a trend.": trends > _MOST,
        f"{noisy - _MOST} more series are noisy.": noisy > _MOST,
        "Software adapters stand for hardware that is not there: they are compared with each "
        "other only.": any(one.is_software for one in found.speeds),
    }
    return tuple(text for text, holds in said.items() if holds)
