# SPDX-License-Identifier: Apache-2.0
"""How plots look: Vega-Lite specifications over the data set "lines". Pure, plain data.

The page adds the height: it decides how much room a line gets.

Colours are CSS variables, which the page sets for light and for dark.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, TypeAlias

Spec: TypeAlias = dict[str, Any]
Extent: TypeAlias = tuple[float, float]

#: How all plots look.
CONFIG: Spec = {
    "background": "transparent",
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
    "view": {"stroke": None},
    "title": {
        "color": "var(--text)",
        "subtitleColor": "var(--muted)",
        "fontSize": 16,
        "subtitleFontSize": 12,
    },
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "titleFontWeight": "normal",
        "gridColor": "var(--line)",
        "domain": False,
        "ticks": False,
        "labelPadding": 8,
        "labelFontSize": 12,
    },
    "axisY": {"grid": False, "labelColor": "var(--text)"},
    "header": {
        "title": None,
        "labelColor": "var(--text)",
        "labelAnchor": "start",
        "labelFontSize": 12,
        "labelFontWeight": "bold",
    },
    "legend": {
        "orient": "top",
        "labelColor": "var(--text)",
        "labelFontSize": 12,
        "symbolType": "circle",
        "symbolOpacity": 1,
        "symbolStrokeWidth": 0,
    },
}

#: Name of the data set that the page fills in.
DATA = "lines"


def color(field: str, domain: Sequence[str], found: Collection[str]) -> Spec:
    """Return a colour channel in which a word of `domain` has the same colour wherever it is."""
    colors = [f"var(--c{index % 6 + 1})" for index in range(len(domain))]
    return {
        "field": field,
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(domain), "range": colors},
        "legend": {"values": [name for name in domain if name in found]},
    }


def dots(color: Spec, extent: Extent, scale: str) -> Spec:
    """Return a line of dots per label, with its median; clicking the legend picks a colour."""
    faded = _faded()
    x = {"type": "quantitative", "title": "latency (ms)", **_axis(extent, scale)}
    return _chart(
        {
            "transform": [{"flatten": ["samples"]}],
            "mark": {"type": "circle", "size": 28, "fillOpacity": 0.45, "aria": False},
            "params": [_picked(color["field"])],
            "encoding": {"x": {**x, "field": "samples"}, "color": color, "opacity": faded},
        },
        {
            "mark": {"type": "tick", "thickness": 3, "size": 18},
            "encoding": {
                "x": {**x, "field": "ms"},
                "color": color,
                "opacity": faded,
                "tooltip": _tooltip(
                    label="target",
                    text="median",
                    p95="p95",
                    n="samples",
                    device="device",
                    adapter="adapter",
                ),
            },
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 8, "fontSize": 11},
            "encoding": {
                "x": {**x, "field": "ms"},
                "text": {"field": "text"},
                "color": {"value": "var(--text)"},
                "opacity": faded,
            },
        },
    )


def stack(color: Spec, *, is_share: bool) -> Spec:
    """Return a stacked bar per label, of times or of shares; the legend picks a colour."""
    title = "share of the time" if is_share else "time (ms)"
    axis = {"format": "%", "tickCount": 5} if is_share else {"tickCount": 5}
    return _chart(
        {
            "mark": {"type": "bar", "height": 14},
            "params": [_picked(color["field"])],
            "encoding": {
                "x": {
                    "field": "ms",
                    "type": "quantitative",
                    "stack": "normalize" if is_share else "zero",
                    "title": title,
                    "axis": axis,
                },
                "color": color,
                "order": {"field": "order", "type": "quantitative"},
                "opacity": _faded(),
                "tooltip": _tooltip(label="target", phase="phase", text="time"),
            },
        }
    )


def limits(extent: Extent) -> Spec:
    """Return an error per label, with its tolerance."""
    x = {"type": "quantitative", "title": "relative L2 error", **_axis(extent, "log", "~e")}
    tooltip = _tooltip(label="target", text="error", limit="tolerance", verdict="verdict")
    verdict = {"field": "verdict", "type": "nominal", "title": None}
    domain = ["within", "over"]
    return _chart(
        {
            "transform": [{"filter": "datum.tolerance > 0"}],
            "mark": {"type": "tick", "thickness": 3, "size": 18, "color": "var(--muted)"},
            "encoding": {"x": {**x, "field": "tolerance"}, "tooltip": tooltip},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {
                "x": {**x, "field": "error"},
                "color": {
                    **verdict,
                    "scale": {"domain": domain, "range": ["var(--c1)", "var(--bad)"]},
                },
                "shape": {**verdict, "scale": {"domain": domain, "range": ["circle", "cross"]}},
                "tooltip": tooltip,
            },
        },
    )


def _chart(*layers: Spec) -> Spec:
    return {
        "data": {"name": DATA},
        "width": "container",
        "encoding": {"y": {"field": "label", "type": "nominal", "sort": None, "title": None}},
        "layer": list(layers),
    }


def _axis(extent: Extent, scale: str, format: str = ",~r") -> Spec:
    low, high = extent
    if scale == "linear":
        # Room for the number beside the largest value.
        return {"scale": {"domain": [0, high * 1.12 or 1]}, "axis": {"tickCount": 6}}
    decades = math.log10(high / low)
    margin = 10 ** max(0.05, decades * 0.06)
    domain = [low / margin, high * margin * margin]
    # Vega's own ticks crowd a logarithmic axis with lines that carry no label.
    steps = (1,) if decades > 2.5 else (1, 2, 5)
    powers = range(math.floor(math.log10(domain[0])), math.ceil(math.log10(domain[1])) + 1)
    ticks = [float(f"{step}e{power}") for power in powers for step in steps]
    inside = [tick for tick in ticks if domain[0] <= tick <= domain[1]]
    return {
        "scale": {"type": "log", "domain": domain},
        "axis": {"values": inside, "format": format},
    }


def _picked(field: str) -> Spec:
    return {"name": "picked", "select": {"type": "point", "fields": [field]}, "bind": "legend"}


def _faded() -> Spec:
    return {"condition": {"param": "picked", "value": 1}, "value": 0.1}


def _tooltip(**fields: str) -> list[Spec]:
    return [{"field": field, "title": title} for field, title in fields.items()]
