# SPDX-License-Identifier: Apache-2.0
"""How pictures of many runs look: Vega-Lite specifications, plain data. Pure.

Rows of the data say by `kind` what draws them, and by `panel` where.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelerate_reports.vega import DATA, Extent, Spec

WIDTH = 820
_GAP = 70


def panels(shown: Sequence[Spec], columns: int) -> Spec:
    """Return pictures side by side, over one data set."""
    return {"data": {"name": DATA}, "columns": columns, "spacing": 34, "concat": list(shown)}


def over_time(
    number: int, title: Sequence[str], unit: str, span: Extent, extent: Extent, *, is_alone: bool
) -> Spec:
    """Return a panel: points or a band over time, levels, changes and commits."""
    width = WIDTH - 40 if is_alone else (WIDTH - _GAP - 40) // 2
    days = (span[1] - span[0]) / 86_400_000
    x = {
        "field": "at",
        "type": "temporal",
        "title": None,
        "scale": {"type": "utc", "domain": list(span)},
        "axis": {
            "grid": False,
            "tickCount": 8 if is_alone else 4,
            "format": "%-d %b" if days > 2 else "%-d %b %H:%M",
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
        "title": _title(title, width),
        "width": width,
        "height": 240 if is_alone else 120,
        "transform": [{"filter": f"datum.panel === {number}"}],
        "encoding": {"x": x},
        "layer": [
            _kind(
                "band",
                {"type": "area", "color": "var(--c5)", "opacity": 0.35},
                {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
            ),
            _kind(
                "change",
                {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.5},
                {"color": sign},
            ),
            _kind(
                "point",
                {"type": "line", "color": "var(--c1)", "strokeWidth": 1, "opacity": 0.55},
                {"y": y},
            ),
            _kind(
                "point",
                {"type": "circle", "color": "var(--c1)", "size": 26, "opacity": 0.9},
                {"y": y, "tooltip": tooltip},
            ),
            _kind(
                "band",
                {"type": "line", "color": "var(--c1)", "strokeWidth": 1.5},
                {"y": y},
            ),
            _kind(
                "level",
                {"type": "line", "strokeWidth": 3, "opacity": 0.85},
                {"detail": {"field": "level", "type": "nominal"}, "y": y, "color": sign},
            ),
            _kind(
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
            _kind(
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


def boxes(unit: str, extent: Extent, *, is_log: bool) -> Spec:
    """Return a box per label: the middle half of the samples, and 90% of them."""
    x = {
        "type": "quantitative",
        "title": unit,
        "scale": _scale(extent, is_log=is_log),
        "axis": {"tickCount": 6, "format": ",~r", "labelOverlap": True},
    }
    tooltip = [
        {"field": "label", "title": "what"},
        {"field": "text", "title": "median"},
        {"field": "range", "title": "90% of samples"},
        {"field": "count", "title": "samples"},
    ]
    return {
        "data": {"name": DATA},
        "width": "container",
        "encoding": {
            "y": {"field": "label", "type": "nominal", "sort": None, "title": None},
            "tooltip": tooltip,
        },
        "layer": [
            {
                "mark": {"type": "rule", "color": "var(--muted)"},
                "encoding": {"x": {**x, "field": "p5"}, "x2": {"field": "p95"}},
            },
            {
                "mark": {"type": "bar", "height": 12, "color": "var(--c5)"},
                "encoding": {"x": {**x, "field": "p25"}, "x2": {"field": "p75"}},
            },
            {
                "mark": {"type": "tick", "thickness": 3, "size": 18, "color": "var(--c1)"},
                "encoding": {"x": {**x, "field": "p50"}},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 8, "fontSize": 11},
                "encoding": {
                    "x": {**x, "field": "p95"},
                    "text": {"field": "text"},
                    "color": {"value": "var(--text)"},
                },
            },
        ],
    }


def ecdf(labels: Sequence[str], unit: str, extent: Extent, *, is_log: bool) -> Spec:
    """Return for each label the part of its samples that is at most so large."""
    return {
        "data": {"name": DATA},
        "width": "container",
        "height": 260,
        "transform": [
            {"filter": "datum.is_told"},
            {"flatten": ["values", "parts"]},
        ],
        "mark": {"type": "line", "interpolate": "linear", "strokeWidth": 2},
        "encoding": {
            "x": {
                "field": "values",
                "type": "quantitative",
                "title": unit,
                "scale": _scale(extent, is_log=is_log),
                "axis": {"format": ",~r", "tickCount": 6},
            },
            "y": {
                "field": "parts",
                "type": "quantitative",
                "title": "part of the samples",
                "axis": {"format": "%", "tickCount": 5, "grid": True},
            },
            "color": _colors("label", labels),
        },
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


def compared(extent: Extent) -> Spec:
    """Return a change with its interval per label, worse to the right of the line."""
    x = {
        "type": "quantitative",
        "title": "change",
        "scale": {"domain": list(extent), "nice": False},
        "axis": {"format": "+.0%", "tickCount": 7, "grid": True},
    }
    color = {
        "field": "verdict",
        "type": "nominal",
        "title": None,
        "scale": {
            "domain": ["worse", "better", "no difference seen"],
            "range": ["var(--bad)", "var(--good)", "var(--muted)"],
        },
    }
    return {
        "data": {"name": DATA},
        "width": "container",
        "encoding": {"y": {"field": "label", "type": "nominal", "sort": None, "title": None}},
        "layer": [
            {
                "data": {"values": [{"zero": 0}]},
                "mark": {"type": "rule", "color": "var(--muted)", "strokeDash": [4, 3]},
                "encoding": {"x": {**x, "field": "zero"}, "y": None},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 3},
                "encoding": {
                    "x": {**x, "field": "low"},
                    "x2": {"field": "high"},
                    "color": color,
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
                "encoding": {
                    "x": {**x, "field": "change"},
                    "color": color,
                    "shape": {
                        "field": "verdict",
                        "type": "nominal",
                        "title": None,
                        "scale": {
                            "domain": ["worse", "better", "no difference seen"],
                            "range": ["triangle-right", "triangle-left", "circle"],
                        },
                    },
                    "tooltip": [
                        {"field": "label", "title": "what"},
                        {"field": "text", "title": "change"},
                        {"field": "sizes", "title": "from, to"},
                    ],
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 10, "fontSize": 11},
                "encoding": {
                    "x": {**x, "field": "high"},
                    "text": {"field": "text"},
                    "color": {"value": "var(--text)"},
                },
            },
        ],
    }


def by_batch(
    number: int, title: Sequence[str], unit: str, targets: Sequence[str], batches: Sequence[int]
) -> Spec:
    """Return a panel: a metric against the batch, a line per target."""
    width = (WIDTH - _GAP - 40) // 2
    color = _colors("target", targets)
    return {
        "title": _title(title, width),
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


def _kind(kind: str, mark: Spec, encoding: Spec) -> Spec:
    return {
        "transform": [{"filter": f"datum.kind === '{kind}'"}],
        "mark": mark,
        "encoding": encoding,
    }


def _title(lines: Sequence[str], width: int) -> Spec:
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


def _scale(extent: Extent, *, is_log: bool) -> Spec:
    low, high = extent
    if is_log:
        return {"type": "log", "domain": [low / 1.15, high * 1.6], "nice": False}
    return {"domain": [0, high * 1.12 or 1]}


def _colors(field: str, domain: Sequence[str]) -> dict[str, Any]:
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
