# SPDX-License-Identifier: Apache-2.0
"""The report: one HTML file that needs no network and runs no script, and its pictures as PNG."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from accelerate_core.errors import StoreError

from .checker import Rule
from .faults.load import cores
from .plots import CONFIG, Plot, plots
from .records import Row

_CSS = """
:root { color-scheme: light; }
body { margin: 0; background: #f6f7f9; color: #1b1f24;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 16px; margin: 0 0 2px; }
.card { background: #fff; border: 1px solid #e1e5ea; border-radius: 12px; padding: 18px 20px;
  margin: 16px 0; overflow-x: auto; }
.caption, .sub { color: #5b6570; margin: 2px 0 12px; font-size: 13px; }
.verdict { font-weight: 700; font-size: 13px; letter-spacing: .06em; padding: 4px 12px;
  border-radius: 999px; margin-right: 10px; vertical-align: 3px; }
.held { color: #0a7a55; background: #e2f4ec; } .broken { color: #c23b00; background: #fdebe3; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { padding: 7px 8px; text-align: left; border-bottom: 1px solid #e1e5ea;
  vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
small { color: #5b6570; display: block; overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; }
"""

_COLUMNS = (
    "scenario",
    "strategy",
    "verdict",
    "faults",
    "answered",
    "lost",
    "wrong",
    "twice",
    "recovery p50 / max",
    "latency p50 / p99",
    "left behind",
)


def write(path: Path, rows: Sequence[Row]) -> tuple[Path, ...]:
    """Write the report, and a PNG of every picture beside it; return all paths.

    StoreError when a file cannot be written.
    """
    import vl_convert

    drawn = [(plot, {**plot.spec, "config": CONFIG}) for plot in plots(rows)]
    pictures = [(plot, vl_convert.vegalite_to_svg(spec)) for plot, spec in drawn]
    files: dict[Path, bytes] = {path: page(rows, pictures).encode()}
    for plot, spec in drawn:
        beside = path.with_name(f"{path.stem}-{plot.id}.png")
        files[beside] = vl_convert.vegalite_to_png(spec, scale=2)
    for file, data in files.items():
        try:
            file.write_bytes(data)
        except OSError as error:
            raise StoreError(f"cannot be written: {error.strerror}", where=str(file)) from error
    return tuple(files)


def page(rows: Sequence[Row], pictures: Sequence[tuple[Plot, str]]) -> str:
    """Return the page. Text from outside is escaped; nothing is loaded and no script runs."""
    from markupsafe import Markup, escape

    is_broken = any(row.verdict == "broken" for row in rows)
    measured = [row for row in rows if row.reason is None]
    asked = sum(len(row.requests) for row in measured)
    answered = sum(row.answered for row in measured)
    facts = (
        f"{len(measured)} of {len(rows)} rows ran · {sum(row.faults for row in measured)} faults · "
        f"{answered} of {asked} requests answered · {platform.machine()}, {cores()} cores · "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    )
    parts = [
        Markup(
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src {0} 'unsafe-inline'; img-src data:\">"
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            "<title>Chaos</title><style>{0}</style></head><body><main>"
            '<h1><span class="verdict {1}">{2}</span>Chaos</h1><p class="sub">{3}</p>'
        ).format(
            Markup(_CSS),
            "broken" if is_broken else "held",
            "BROKEN" if is_broken else "HELD",
            facts,
        )
    ]
    for plot, svg in pictures:
        parts.append(
            Markup(
                '<section class="card"><h2>{0}</h2><p class="caption">{1}</p>{2}</section>'
            ).format(plot.title, plot.caption, Markup(svg))
        )
    head = Markup("").join(Markup("<th>{0}</th>").format(name) for name in _COLUMNS)
    body = Markup("").join(_line(row) for row in rows)
    parts.append(
        Markup(
            '<section class="card"><h2>Rows</h2><table><thead><tr>{0}</tr></thead>'
            "<tbody>{1}</tbody></table></section></main></body></html>\n"
        ).format(head, body)
    )
    return str(escape(Markup("").join(parts)))


def _line(row: Row) -> Any:
    from markupsafe import Markup

    if row.reason is not None:
        return Markup(
            '<tr><td>{0}</td><td>{1}</td><td colspan="{2}">does not apply'
            "<small>{3}</small></td></tr>"
        ).format(row.scenario, row.strategy, len(_COLUMNS) - 2, row.reason)
    broken = "; ".join(f"{one.rule}: {one.about} {one.detail}" for one in row.findings[:5])
    missed = sorted({one.error for one in row.requests if one.error is not None})
    counts = [row.count(rule) for rule in (Rule.LOST, Rule.WRONG, Rule.DOUBLED)]
    cells = (
        (str(row.faults), ""),
        (f"{row.answered} / {len(row.requests)}", ", ".join(missed)),
        *((str(count), "") for count in counts),
        (_two(row.recoveries_ms, 50, 100), ""),
        (_two(row.latencies_ms, 50, 99), ""),
        (f"{row.processes_left} + {row.folders_left}", "processes, folders"),
    )
    return Markup("<tr><td>{0}</td><td>{1}</td><td>{2}<small>{3}</small></td>{4}</tr>").format(
        row.scenario,
        row.strategy,
        row.verdict,
        broken,
        Markup("").join(
            Markup('<td class="number">{0}<small>{1}</small></td>').format(*cell) for cell in cells
        ),
    )


def _two(values: Sequence[float], first: int, second: int) -> str:
    import numpy as np

    if not values:
        return ""
    low, high = np.percentile(values, [first, second])
    return f"{low:.0f} / {high:.0f} ms"
