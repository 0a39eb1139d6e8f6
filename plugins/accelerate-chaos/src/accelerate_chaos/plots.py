# SPDX-License-Identifier: Apache-2.0
"""What the report's pictures show: their data, and Vega-Lite specifications. Pure, plain data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs

from .records import Row

Spec: TypeAlias = dict[str, Any]

WIDTH = 720
#: Rows drawn one below the other before a picture gets too long to read.
MOST_ROWS = 12
#: Okabe and Ito's palette, as in the other reports, and more, for there are many strategies.
COLORS = (
    "#0072b2",
    "#e08e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#8c6d46",
    "#d55e00",
    "#7a7a7a",
)
_BAD = "#c23b00"
_MUTED = "#5b6570"

CONFIG: Spec = {
    "background": "white",
    "font": "DejaVu Sans, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": _MUTED,
        "titleColor": _MUTED,
        "titleFontWeight": "normal",
        "gridColor": "#e1e5ea",
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
        "labelLimit": 260,
    },
    "legend": {"orient": "top", "title": None, "symbolOpacity": 1},
    "header": {
        "labelAnchor": "start",
        "labelAngle": 0,
        "labelOrient": "top",
        "labelFontWeight": "bold",
        "title": None,
    },
}


@attrs.frozen(kw_only=True)
class Plot:
    """Hold one picture: what it says, and how it is drawn."""

    id: str
    title: str
    caption: str
    spec: Spec


def plots(rows: Sequence[Row]) -> tuple[Plot, ...]:
    """Return the pictures for which there is anything to draw."""
    made = (_heat(rows), _recovery(rows), _success(rows), _timeline(rows))
    return tuple(plot for plot in made if plot is not None)


def _heat(rows: Sequence[Row]) -> Plot | None:
    data = [
        {
            "scenario": row.scenario,
            "strategy": row.strategy,
            "success": row.success_rate,
            "text": _cell(row),
            "is_broken": row.verdict == "broken",
        }
        for row in rows
    ]
    if not data:
        return None
    axes: Spec = {
        "x": {"field": "strategy", "type": "nominal", "sort": None, "title": None},
        "y": {"field": "scenario", "type": "nominal", "sort": None, "title": None},
    }
    axes["x"]["axis"] = {"orient": "top", "labelAngle": 0, "labelColor": "#1b1f24"}
    axes["y"]["axis"] = {"labelColor": "#1b1f24"}
    measured = {"filter": "datum.success !== null"}
    spec = {
        "data": {"values": data},
        "width": {"step": 120},
        "height": {"step": 30},
        "encoding": axes,
        "layer": [
            {"mark": {"type": "rect", "color": "#eef0f3", "stroke": "white", "strokeWidth": 2}},
            {
                "transform": [measured],
                "mark": {"type": "rect", "stroke": "white", "strokeWidth": 2},
                "encoding": {
                    "color": {
                        "field": "success",
                        "type": "quantitative",
                        "scale": {
                            "domain": [0, 0.5, 1],
                            "range": [_BAD, "#f3ead7", "#9cc7e6"],
                            "interpolate": "rgb",
                        },
                        "legend": {"format": ".0%", "gradientLength": 160},
                    }
                },
            },
            {
                "mark": {"type": "text", "fontSize": 11},
                "encoding": {
                    "text": {"field": "text"},
                    "color": {
                        "condition": {"test": "datum.is_broken", "value": "#8a0000"},
                        "value": "#1b1f24",
                    },
                },
            },
        ],
    }
    caption = (
        "Part of the requests that were answered in time, and how long the median request that a "
        "fault hit took to be answered elsewhere. Grey: does not apply."
    )
    return Plot(id="heat", title="Scenario by strategy", caption=caption, spec=spec)


def _cell(row: Row) -> str:
    if row.reason is not None:
        return "n/a"
    mark = "BROKEN " if row.verdict == "broken" else ""
    rate = row.success_rate
    times = sorted(row.recoveries_ms)
    typical = f" · {times[len(times) // 2]:.0f} ms" if times else ""
    return f"{mark}{rate:.0%}{typical}" if rate is not None else mark


def _recovery(rows: Sequence[Row]) -> Plot | None:
    data = [
        {"label": f"{one.fault} · {row.strategy}", "strategy": row.strategy, "ms": max(0.1, ms)}
        for row in rows
        for one in row.struck
        for ms in one.recovery_ms
    ]
    if not data:
        return None
    data.sort(key=lambda one: str(one["label"]))
    x = {
        "field": "ms",
        "type": "quantitative",
        "scale": {"type": "log", "nice": True},
        "title": "from the fault to the answer of another worker, its own run taken off (ms)",
    }
    y = {"field": "label", "type": "nominal", "sort": None, "title": None}
    color = {"field": "strategy", "type": "nominal", "scale": {"range": list(COLORS)}}
    spec = {
        "data": {"values": data},
        "width": WIDTH - 220,
        "height": {"step": 26},
        "encoding": {"y": y, "color": color},
        "layer": [
            {
                "mark": {"type": "circle", "size": 42, "opacity": 0.5},
                "encoding": {"x": x},
            },
            {
                "mark": {"type": "tick", "thickness": 3, "size": 18},
                "encoding": {"x": {**x, "aggregate": "median"}},
            },
        ],
    }
    caption = "Every dot is one request that the struck worker was running; the bar is the median."
    return Plot(id="recovery", title="Recovery time", caption=caption, spec=spec)


def _success(rows: Sequence[Row]) -> Plot | None:
    asked: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for row in rows:
        for one in row.requests:
            second = int(max(0, one.asked_ns - row.began_ns) / 1e9)
            asked[row.strategy, second].append(one.error is None)
    if not asked:
        return None
    data = [
        {"strategy": strategy, "second": second, "rate": sum(ended) / len(ended)}
        for (strategy, second), ended in sorted(asked.items())
    ]
    spec = {
        "data": {"values": data},
        "width": WIDTH - 60,
        "height": 180,
        "mark": {"type": "line", "point": {"size": 22}, "interpolate": "step-after"},
        "encoding": {
            "x": {"field": "second", "type": "quantitative", "title": "asked at (s)"},
            "y": {
                "field": "rate",
                "type": "quantitative",
                "title": "answered in time",
                "scale": {"domain": [0, 1]},
                "axis": {"format": ".0%", "tickCount": 5},
            },
            "color": {"field": "strategy", "type": "nominal", "scale": {"range": list(COLORS)}},
        },
    }
    return Plot(
        id="success",
        title="Success rate under load",
        caption="Requests of one second, over all scenarios of a strategy.",
        spec=spec,
    )


def _timeline(rows: Sequence[Row]) -> Plot | None:
    drawn = [row for row in rows if row.requests][:MOST_ROWS]
    if not drawn:
        return None
    data: list[dict[str, Any]] = []
    for row in drawn:
        label = f"{row.scenario} · {row.strategy}"
        for one in row.requests:
            data.append(
                {
                    "row": label,
                    "at": (one.asked_ns - row.began_ns) / 1e9,
                    "ms": max(0.1, one.latency_ms),
                    "kind": "answered" if one.error is None else "error",
                }
            )
        for hit in row.struck:
            if hit.seen is not None:
                at_s = (hit.at_ns - row.began_ns) / 1e9
                data.append({"row": label, "at": at_s, "kind": "fault", "fault": hit.fault})
    x = {"field": "at", "type": "quantitative", "title": "time (s)"}
    domain = ["answered", "error", "fault"]
    color = {
        "field": "kind",
        "type": "nominal",
        "scale": {"domain": domain, "range": [COLORS[0], _BAD, "#1b1f24"]},
    }
    layers = [
        {
            "transform": [{"filter": "datum.kind === 'fault'"}],
            "mark": {"type": "rule", "strokeDash": [4, 3], "opacity": 0.7},
            "encoding": {"x": x, "color": color},
        },
        {
            "transform": [{"filter": "datum.kind !== 'fault'"}],
            "mark": {"type": "circle", "size": 22, "opacity": 0.7},
            "encoding": {
                "x": x,
                "y": {
                    "field": "ms",
                    "type": "quantitative",
                    "scale": {"type": "log"},
                    "title": "latency (ms)",
                    "axis": {"values": [0.1, 1, 10, 100, 1000, 10000], "format": "~r"},
                },
                "color": color,
            },
        },
    ]
    spec = {
        "data": {"values": data},
        "facet": {"row": {"field": "row", "type": "nominal", "sort": None}},
        "spec": {"width": WIDTH - 120, "height": 90, "layer": layers},
    }
    more = f" The first {MOST_ROWS} rows." if len(rows) > MOST_ROWS else ""
    return Plot(
        id="timeline",
        title="Faults and recoveries",
        caption=f"Every dot is a request, where it was asked; a dashed line is a fault.{more}",
        spec=spec,
    )
