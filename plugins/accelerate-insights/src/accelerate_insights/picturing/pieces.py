# SPDX-License-Identifier: Apache-2.0
"""Pieces that pictures of many runs have in common. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelerate_reports.vega import DATA, Extent, Spec

WIDTH = 820
GAP = 70


def panels(shown: Sequence[Spec], columns: int) -> Spec:
    """Return pictures side by side, over one data set."""
    return {"data": {"name": DATA}, "columns": columns, "spacing": 34, "concat": list(shown)}


def kind(kind: str, mark: Spec, encoding: Spec) -> Spec:
    """Draw rows of one kind."""
    return {
        "transform": [{"filter": f"datum.kind === '{kind}'"}],
        "mark": mark,
        "encoding": encoding,
    }


def heading(lines: Sequence[str], width: int) -> Spec:
    """Return the title of a panel."""
    return {
        "text": lines[0],
        "subtitle": list(lines[1:]),
        "anchor": "start",
        "frame": "group",
        "fontSize": 13,
        "subtitleFontSize": 12,
        "limit": width,
        "offset": 22,
    }


def scale(extent: Extent, *, is_log: bool) -> Spec:
    """Return a scale with room at its end."""
    low, high = extent
    if is_log:
        return {"type": "log", "domain": [low / 1.15, high * 1.6], "nice": False}
    return {"domain": [0, high * 1.12 or 1]}


def colors(field: str, domain: Sequence[str]) -> dict[str, Any]:
    """Return the colours of a nominal field."""
    return {
        "field": field,
        "type": "nominal",
        "title": None,
        "scale": {
            "domain": list(domain),
            "range": [f"var(--c{index % 6 + 1})" for index in range(len(domain))],
        },
        "legend": {"labelLimit": 380, "columns": 2, "symbolStrokeWidth": 1.5},
    }
