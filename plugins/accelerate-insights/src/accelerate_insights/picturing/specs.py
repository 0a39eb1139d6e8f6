# SPDX-License-Identifier: Apache-2.0
"""How pictures of many runs look: Vega-Lite specifications, plain data. Pure.

Rows of the data say by `kind` what draws them, and by `panel` where.
"""

from __future__ import annotations

from collections.abc import Sequence

from accelerate_reports.vega import DATA, Extent, Spec

from .pieces import GAP, WIDTH, colors, heading, kind


def moments(days: float, ticks: int) -> str:
    """Return how moments are written on an axis, so that no two of its labels are the same."""
    if days > ticks:
        return "%-d %b"
    if days > 0.5:
        return "%-d %b %H:%M"
    return "%H:%M" if days * 1440 > ticks else "%H:%M:%S"


def over_time(
    number: int, title: Sequence[str], unit: str, span: Extent, extent: Extent, *, is_alone: bool
) -> Spec:
    """Return a panel: points or a band over time, levels, changes and commits."""
    width = WIDTH - 40 if is_alone else (WIDTH - GAP - 40) // 2
    ticks = 8 if is_alone else 4
    x = {
        "field": "at",
        "type": "temporal",
        "title": None,
        "scale": {"type": "utc", "nice": False},
        "axis": {
            "grid": False,
            "tickCount": ticks,
            "format": moments((span[1] - span[0]) / 86_400_000, ticks),
            "labelOverlap": True,
            "labelFlush": True,
        },
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "title": unit,
        "scale": {"domain": list(extent), "nice": False, "zero": False},
        "axis": {"grid": True, "tickCount": 5 if is_alone else 4, "format": ",~r"},
    }
    tooltip = [
        {"field": "at", "type": "temporal", "title": "UTC", "format": "%Y-%m-%d %H:%M"},
        {"field": "text", "title": "value"},
        {"field": "count", "title": "measurements"},
        {"field": "commit", "title": "commit"},
        {"field": "version", "title": "browser"},
    ]
    sign = {
        "condition": {"test": "datum.is_worse", "value": "var(--bad)"},
        "value": "var(--good)",
    }
    return {
        "title": heading(title, width),
        "width": width,
        "height": 240 if is_alone else 120,
        "transform": [{"filter": f"datum.panel === {number}"}],
        "encoding": {"x": x},
        "layer": [
            # They span the axis: as a domain, moments are not understood where eval is forbidden.
            {
                "data": {"values": [{"at": at} for at in span]},
                "mark": {"type": "rule", "opacity": 0},
            },
            kind(
                "band",
                {"type": "area", "color": "var(--c5)", "opacity": 0.35},
                {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
            ),
            kind(
                "change",
                {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.5},
                {"color": sign},
            ),
            kind(
                "point",
                {"type": "line", "color": "var(--c1)", "strokeWidth": 1, "opacity": 0.55},
                {"y": y},
            ),
            kind(
                "point",
                {"type": "circle", "color": "var(--c1)", "size": 26, "opacity": 0.9},
                {"y": y, "tooltip": tooltip},
            ),
            kind(
                "band",
                {"type": "line", "color": "var(--c1)", "strokeWidth": 1.5},
                {"y": y},
            ),
            kind(
                "level",
                {"type": "line", "strokeWidth": 3, "opacity": 0.85},
                {"detail": {"field": "level", "type": "nominal"}, "y": y, "color": sign},
            ),
            kind(
                "commit",
                {
                    "type": "point",
                    "shape": "triangle-up",
                    "filled": True,
                    "size": 34,
                    "color": "var(--muted)",
                },
                {"y": y, "tooltip": tooltip[:1] + tooltip[3:4]},
            ),
            kind(
                "change",
                {"type": "text", "baseline": "bottom", "fontSize": 11, "fontWeight": "bold"},
                {
                    "y": {"value": -2},
                    "text": {"field": "text"},
                    "color": sign,
                },
            ),
        ],
    }


def heat(height: int, rows: Sequence[str], columns: Sequence[str]) -> Spec:
    """Return a backend by browser picture of latency over that of the best real target."""
    axis = {"labelColor": "var(--text)", "labelLimit": 220}
    return {
        "data": {"name": DATA},
        "width": {"step": 120},
        "height": height,
        "encoding": {
            "x": {
                "field": "browser",
                "type": "nominal",
                "sort": list(columns),
                "title": None,
                "axis": {**axis, "orient": "top", "labelAngle": 0, "labelLimit": 112},
            },
            "y": {
                "field": "backend",
                "type": "nominal",
                "sort": list(rows),
                "title": None,
                "axis": axis,
            },
            "tooltip": [
                {"field": "backend"},
                {"field": "browser"},
                {"field": "text", "title": "latency"},
                {"field": "things", "title": "compared in"},
            ],
        },
        "layer": [
            {
                "mark": {"type": "rect", "stroke": "var(--card)", "strokeWidth": 3},
                "encoding": {
                    "color": {
                        "field": "times",
                        "type": "quantitative",
                        "title": "times the latency of the best real target",
                        "scale": {
                            "type": "log",
                            "domain": [1, 3, 30],
                            "range": ["#0072b2", "#9cc7e6", "#e08e00"],
                            "clamp": True,
                            "interpolate": "rgb",
                        },
                        "legend": {
                            "values": [1, 3, 10, 30],
                            "gradientLength": 200,
                            "titleColor": "var(--muted)",
                            "titleLimit": 300,
                        },
                    }
                },
            },
            {
                "mark": {"type": "text", "fontSize": 12, "fontWeight": "bold"},
                "encoding": {
                    "text": {"field": "text"},
                    "color": {
                        "condition": {"test": "datum.times < 1.6", "value": "#ffffff"},
                        "value": "#1b1f24",
                    },
                },
            },
        ],
    }


def by_batch(
    number: int, title: Sequence[str], unit: str, targets: Sequence[str], batches: Sequence[int]
) -> Spec:
    """Return a panel: a metric against the batch, a line per target."""
    width = (WIDTH - GAP - 40) // 2
    color = colors("target", targets)
    return {
        "title": heading(title, width),
        "width": width,
        "height": 170,
        "transform": [{"filter": f"datum.panel === {number}"}],
        "mark": {"type": "line", "point": {"size": 50, "filled": True}, "strokeWidth": 2},
        "encoding": {
            "x": {
                "field": "batch",
                "type": "quantitative",
                "title": "batch (items)",
                "scale": {"type": "log", "base": 2},
                "axis": {"values": list(batches), "format": "d", "grid": False},
            },
            "y": {
                "field": "value",
                "type": "quantitative",
                "title": unit,
                "scale": {"zero": True},
                "axis": {"grid": True, "tickCount": 5, "format": "~s"},
            },
            "color": color,
            "shape": {"field": "target", "type": "nominal", "scale": {"domain": list(targets)}},
            "tooltip": [
                {"field": "target"},
                {"field": "batch"},
                {"field": "text", "title": "median"},
            ],
        },
    }
