# SPDX-License-Identifier: Apache-2.0
"""The plots of a run as Vega-Lite specifications: plain data, drawn by whoever embeds them. Pure.

Colours are CSS variables, which the page sets for light and for dark. Text that came from
outside only ever appears as data.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from accelerate_core.types import CellStatus, Measurement

from .columns import scientific, short
from .rows import CONDITIONS, LOAD_PHASES, PHASES, Row, conditions, row, varying

Spec: TypeAlias = dict[str, Any]

#: A linear axis that spans more shows its small values as nothing.
LOG_FROM_RATIO = 30

#: More marks than this make a page slow; samples beyond are thinned evenly over their range.
MAX_MARKS = 3000

#: On a logarithmic axis an error of exactly 0 is drawn here.
SMALLEST_ERROR = 1e-9

BACKENDS = ("cpu", "wasm", "webgpu", "webnn", "wgpu", "fake")
REQUEST_PHASES = tuple(name for name in PHASES if name not in LOAD_PHASES)


@attrs.frozen(kw_only=True)
class Plot:
    """Hold one figure: what it says, and one specification per way to look at it."""

    id: str
    title: str
    caption: str
    views: Mapping[str, Spec]  #: by the word on the button; the first is shown first


def plots(measurements: Iterable[Measurement]) -> tuple[Plot, ...]:
    """Return the plots for which there is anything to draw."""
    measurements = tuple(measurements)
    labelled = list(zip(_labels([row(one) for one in measurements]), measurements, strict=True))
    made = (
        _latency(labelled),
        _phases(
            "load",
            "Until the first answer",
            "What each worker did before it could serve: once, not per request.",
            LOAD_PHASES,
            labelled,
        ),
        _phases(
            "request",
            "One request",
            "Where the median request spent its time.",
            REQUEST_PHASES,
            labelled,
        ),
        _error(labelled),
    )
    return tuple(plot for plot in made if plot)


Labelled: TypeAlias = Sequence[tuple[str, Measurement]]


def _labels(shown: Sequence[Row]) -> list[str]:
    names = [name for name in CONDITIONS if name in varying(shown)]
    labels: list[str] = []
    for row in shown:
        mark = row.device if row.is_simulated or row.is_software else ""
        status = row.status.value if row.status != CellStatus.OK else ""
        parts = (row.where, conditions(row, names), mark, status)
        label = " · ".join(part for part in parts if part)
        # The same cell may have been measured twice: each has its line.
        same = sum(known == label or known.startswith(f"{label} #") for known in labels)
        labels.append(f"{label} #{same + 1}" if same else label)
    return labels


def _latency(labelled: Labelled) -> Plot | None:
    drawn = [(label, one) for label, one in labelled if one.samples_ms]
    if not drawn:
        return None
    limit = max(10, MAX_MARKS // len(drawn))
    values, medians = [], []
    for label, one in drawn:
        shown = row(one)
        common = {"label": label, "backend": _backend(one), "device": shown.device}
        values += [{**common, "ms": sample} for sample in _thinned(one.samples_ms, limit)]
        medians.append(
            {
                **common,
                "ms": one.latency_ms,
                "text": f"{short(one.latency_ms)} ms",
                "p95": short(shown.latency_p95_ms),
                "n": shown.sample_count,
                "adapter": shown.adapter or "",
            }
        )
    samples = [value["ms"] for value in values]
    is_log_first = min(samples) > 0 and max(samples) / min(samples) > LOG_FROM_RATIO
    views = {"linear": _latency_spec(values, medians, "linear")}
    if min(samples) > 0:
        views["logarithmic"] = _latency_spec(values, medians, "log")
    thinned = any(len(one.samples_ms) > limit for _, one in drawn)
    return Plot(
        id="latency",
        title="Latency",
        caption="From submit to result. The bar is the median, every dot one sample"
        + (f" (at most {limit} per line are drawn)." if thinned else "."),
        views=dict(sorted(views.items(), key=lambda item: (item[0] == "linear") is is_log_first)),
    )


def _latency_spec(values: list[Spec], medians: list[Spec], scale: str) -> Spec:
    x = {
        "field": "ms",
        "type": "quantitative",
        "title": "latency (ms)",
        "scale": {"type": scale, "nice": True, "zero": scale == "linear"},
    }
    color = _color("backend", _known_first({value["backend"] for value in values}))
    faded = {"condition": {"param": "backend", "value": 1}, "value": 0.08}
    picked = {
        "name": "backend",
        "select": {"type": "point", "fields": ["backend"]},
        "bind": "legend",
    }
    dots: Spec = {
        "data": {"values": values},
        "mark": {"type": "circle", "size": 28, "fillOpacity": 0.45, "aria": False},
        "params": [picked],
        "encoding": {"x": x, "color": color, "opacity": faded},
    }
    bars: Spec = {
        "data": {"values": medians},
        "mark": {"type": "tick", "thickness": 3, "size": 18},
        "encoding": {
            "x": x,
            "color": color,
            "opacity": faded,
            "tooltip": _tooltip(
                label="target",
                text="median",
                p95="p95 (ms)",
                n="samples",
                device="device",
                adapter="adapter",
            ),
        },
    }
    texts: Spec = {
        "data": {"values": medians},
        "mark": {"type": "text", "align": "left", "dx": 8, "dy": -9, "fontSize": 11},
        "encoding": {
            "x": x,
            "text": {"field": "text"},
            "color": {"value": "var(--text)"},
            "opacity": faded,
        },
    }
    return _chart({"layer": [dots, bars, texts], "encoding": {"y": _y()}})


def _phases(
    id: str, title: str, caption: str, names: Sequence[str], labelled: Labelled
) -> Plot | None:
    values = [
        {
            "label": label,
            "phase": PHASES[name],
            "order": order,
            "ms": value,
            "text": f"{short(value)} ms",
        }
        for label, one in labelled
        for order, name in enumerate(names)
        if (value := getattr(one.phases, name)) is not None
    ]
    if not values:
        return None
    words = [PHASES[name] for name in names]

    def spec(stack: str, axis: Spec) -> Spec:
        return _chart(
            {
                "data": {"values": values},
                "mark": {"type": "bar", "height": {"band": 0.62}},
                "params": [
                    {
                        "name": "phase",
                        "select": {"type": "point", "fields": ["phase"]},
                        "bind": "legend",
                    }
                ],
                "encoding": {
                    "y": _y(),
                    "x": {"field": "ms", "type": "quantitative", "stack": stack, **axis},
                    "color": _color("phase", words),
                    "order": {"field": "order", "type": "quantitative"},
                    "opacity": {"condition": {"param": "phase", "value": 1}, "value": 0.12},
                    "tooltip": _tooltip(label="target", phase="phase", text="time"),
                },
            }
        )

    return Plot(
        id=id,
        title=title,
        caption=caption,
        views={
            "time": spec("zero", {"title": "time (ms)"}),
            "share": spec("normalize", {"title": "share of the time", "axis": {"format": "%"}}),
        },
    )


def _error(labelled: Labelled) -> Plot | None:
    values = [
        {
            "label": label,
            "error": max(one.relative_l2, SMALLEST_ERROR),
            "tolerance": one.tolerance,
            "verdict": "over" if one.status == CellStatus.MISMATCH else "within",
            "text": scientific(one.relative_l2),
            "limit": scientific(one.tolerance),
        }
        for label, one in labelled
        if one.relative_l2 is not None and math.isfinite(one.relative_l2)
    ]
    if not values:
        return None
    x = {
        "type": "quantitative",
        "scale": {"type": "log"},
        "title": "relative L2 error",
        "axis": {"format": "~e", "tickCount": 6},
    }
    tooltip = _tooltip(label="target", text="error", limit="tolerance", verdict="verdict")
    limits: Spec = {
        "transform": [{"filter": "datum.tolerance > 0"}],
        "mark": {"type": "tick", "thickness": 2, "size": 18, "color": "var(--muted)"},
        "encoding": {"x": {"field": "tolerance", **x}, "tooltip": tooltip},
    }
    points: Spec = {
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
        "encoding": {
            "x": {"field": "error", **x},
            "color": {
                "field": "verdict",
                "type": "nominal",
                "title": None,
                "scale": {"domain": ["within", "over"], "range": ["var(--c1)", "var(--bad)"]},
            },
            "shape": {
                "field": "verdict",
                "type": "nominal",
                "scale": {"domain": ["within", "over"], "range": ["circle", "cross"]},
            },
            "tooltip": tooltip,
        },
    }
    chart = {"data": {"values": values}, "layer": [limits, points], "encoding": {"y": _y()}}
    return Plot(
        id="error",
        title="Error against tolerance",
        caption="Distance from the output of the native CPU. The grey bar is the tolerance: "
        "a dot left of it passes.",
        views={"logarithmic": _chart(chart)},
    )


def _chart(parts: Spec) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": {"step": 26},
        "autosize": {"type": "fit-x", "contains": "padding"},
        **parts,
    }


def _y() -> Spec:
    return {"field": "label", "type": "nominal", "sort": None, "title": None}


def _color(field: str, domain: Sequence[str]) -> Spec:
    colors = [f"var(--c{index % 6 + 1})" for index in range(len(domain))]
    scale = {"domain": list(domain), "range": colors}
    return {"field": field, "type": "nominal", "title": None, "scale": scale}


def _known_first(backends: Collection[str]) -> list[str]:
    # All known ones, drawn or not: a backend has the same colour in every report.
    return [*BACKENDS, *sorted(set(backends) - set(BACKENDS))]


def _tooltip(**fields: str) -> list[Spec]:
    return [{"field": field, "title": title} for field, title in fields.items()]


def _backend(one: Measurement) -> str:
    return one.cell.target.backend


def _thinned(samples: Sequence[float], limit: int) -> list[float]:
    if len(samples) <= limit:
        return list(samples)
    ordered = sorted(samples)
    return [ordered[round(i * (len(ordered) - 1) / (limit - 1))] for i in range(limit)]
