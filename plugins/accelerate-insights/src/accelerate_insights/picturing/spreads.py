# SPDX-License-Identifier: Apache-2.0
"""How spreads and comparisons look: Vega-Lite specifications, plain data. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from accelerate_reports.vega import DATA, Extent, Spec

from .pieces import colors, scale


def boxes(unit: str, extent: Extent, *, is_log: bool) -> Spec:
    """Return a box per label: the middle half of the samples, and 90% of them."""
    x = {
        "type": "quantitative",
        "title": unit,
        "scale": scale(extent, is_log=is_log),
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
                "scale": scale(extent, is_log=is_log),
                "axis": {"format": ",~r", "tickCount": 6},
            },
            "y": {
                "field": "parts",
                "type": "quantitative",
                "title": "part of the samples",
                "axis": {"format": "%", "tickCount": 5, "grid": True},
            },
            "color": colors("label", labels),
        },
    }


#: A verdict's colour, and a shape for those who do not see it.
_VERDICTS = {
    "worse": ("var(--bad)", "triangle-right"),
    "better": ("var(--good)", "triangle-left"),
    "same": ("var(--muted)", "circle"),
    "undecided": ("var(--muted)", "diamond"),
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
            "domain": list(_VERDICTS),
            "range": [color for color, _ in _VERDICTS.values()],
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
                            "domain": list(_VERDICTS),
                            "range": [shape for _, shape in _VERDICTS.values()],
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
