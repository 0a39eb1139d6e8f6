# SPDX-License-Identifier: Apache-2.0
"""What a run's plots show: their data, words and views. Pure; `vega` says how they look.

Text that came from outside appears only as data, never inside a specification.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

import attrs

from accelerate_core.types import CellStatus, Measurement

from . import vega
from .columns import scientific, short
from .rows import LOAD_PHASES, PHASES, Row, conditions, row, varying

#: A linear axis that spans more shows its small values as nothing.
LOG_FROM_RATIO = 30

#: More lines than this nobody reads, and they would make the page large.
MAX_LINES = 150

#: More dots than this make a page slow; samples beyond are thinned evenly over their range.
MAX_DOTS = 3000

#: On a logarithmic axis an error of exactly 0 is drawn here.
SMALLEST_ERROR = 1e-9

BACKENDS = ("cpu", "wasm", "webgpu", "webnn", "wgpu", "fake")
REQUEST_PHASES = tuple(name for name in PHASES if name not in LOAD_PHASES)


@attrs.frozen(kw_only=True)
class Plot:
    """Hold one figure: what it says, its data, and one specification per way to look at it."""

    id: str
    title: str
    caption: str
    data: Sequence[Mapping[str, Any]]
    views: Mapping[str, vega.Spec]  #: by the word on the button; the first is shown first
    is_wide: bool = False


def plots(measurements: Iterable[Measurement]) -> tuple[Plot, ...]:
    """Return the plots for which there is anything to draw."""
    measured = [one for one in measurements if one.samples_ms or _load(one)]
    shown = measured[:MAX_LINES]
    lines = list(zip(_labels([row(one) for one in shown]), shown, strict=True))
    left_out = ""
    if len(measured) > MAX_LINES:
        left_out = f" The first {MAX_LINES} of {len(measured)} rows are drawn."
    made = (_latency(lines), _until_ready(lines), _request(lines), _error(lines))
    return tuple(attrs.evolve(plot, caption=plot.caption + left_out) for plot in made if plot)


_Lines: TypeAlias = Sequence[tuple[str, Measurement]]


def _load(one: Measurement) -> bool:
    return any(getattr(one.phases, name) is not None for name in LOAD_PHASES)


def _labels(shown: Sequence[Row]) -> list[str]:
    names = varying(shown)
    labels: list[str] = []
    for one in shown:
        # What makes a number worth less comes first: a narrow page cuts the end off.
        mark = one.device if one.is_simulated or one.is_software else ""
        status = one.status.value if one.status != CellStatus.OK else ""
        parts = (status, mark, one.where, conditions(one, names))
        label = wanted = " · ".join(part for part in parts if part)
        # The same cell may have been measured twice: each has its line.
        number = 1
        while label in labels:
            number += 1
            label = f"{wanted} #{number}"
        labels.append(label)
    return labels


def _latency(lines: _Lines) -> Plot | None:
    drawn = [(label, one) for label, one in lines if _is_drawable(one.latency_ms)]
    limit = max(10, MAX_DOTS // max(1, len(drawn)))
    data: list[dict[str, Any]] = []
    for label, one in drawn:
        shown = row(one)
        data.append(
            {
                "label": label,
                "backend": one.cell.target.backend,
                "ms": one.latency_ms,
                "samples": _thinned(one.samples_ms, limit),
                "text": f"{short(one.latency_ms)} ms",
                "p95": f"{short(shown.latency_p95_ms)} ms",
                "n": shown.sample_count,
                "device": shown.device,
                "adapter": shown.adapter or "",
            }
        )
    values = [value for record in data for value in (record["ms"], *record["samples"])]
    if not values:
        return None
    extent = (min(values), max(values))
    # Known backends keep their colour in every report, drawn or not.
    backends: set[str] = {record["backend"] for record in data}
    color = vega.color("backend", [*BACKENDS, *sorted(backends - set(BACKENDS))], backends)
    views = {"linear": vega.dots(color, extent, "linear")}
    if extent[0] > 0:
        logarithmic = {"logarithmic": vega.dots(color, extent, "log")}
        is_first = extent[1] / extent[0] > LOG_FROM_RATIO
        views = {**logarithmic, **views} if is_first else {**views, **logarithmic}
    thinned = any(len(one.samples_ms) > limit for _, one in drawn)
    return Plot(
        id="latency",
        title="Latency",
        caption="From submit to result. The bar is the median, every dot one sample"
        + (f" (at most {limit} a line)." if thinned else "."),
        data=data,
        views=views,
        is_wide=True,
    )


def _until_ready(lines: _Lines) -> Plot | None:
    return _phases(
        lines,
        LOAD_PHASES,
        id="load",
        title="Until the first answer",
        caption="What each worker did before it could serve: once, not per request.",
    )


def _request(lines: _Lines) -> Plot | None:
    return _phases(
        lines,
        REQUEST_PHASES,
        id="request",
        title="One request",
        caption="Where the median request spent its time.",
    )


def _phases(
    lines: _Lines, names: Sequence[str], *, id: str, title: str, caption: str
) -> Plot | None:
    data = [
        {
            "label": label,
            "phase": PHASES[name],
            "order": order,
            "ms": _rounded(value),
            "text": f"{short(value)} ms",
        }
        for label, one in lines
        for order, name in enumerate(names)
        if _is_drawable(value := getattr(one.phases, name))
    ]
    if not data:
        return None
    found = {str(record["phase"]) for record in data}
    color = vega.color("phase", [PHASES[name] for name in names], found)
    views = {"time": vega.stack(color, is_share=False), "share": vega.stack(color, is_share=True)}
    return Plot(id=id, title=title, caption=caption, data=data, views=views)


def _error(lines: _Lines) -> Plot | None:
    data = [
        {
            "label": label,
            "error": max(one.relative_l2, SMALLEST_ERROR),
            "tolerance": one.tolerance if _is_drawable(one.tolerance) else None,
            "verdict": "over" if one.status == CellStatus.MISMATCH else "within",
            "text": scientific(one.relative_l2),
            "limit": scientific(one.tolerance),
        }
        for label, one in lines
        if _is_drawable(one.relative_l2)
    ]
    if not data:
        return None
    values = [record[name] for record in data for name in ("error", "tolerance")]
    known = [value for value in values if isinstance(value, float) and value > 0]
    return Plot(
        id="error",
        title="Error against tolerance",
        caption="Distance from the output of the native CPU, as relative L2 norm. "
        "The grey bar is the tolerance: a dot left of it passes.",
        data=data,
        views={"logarithmic": vega.limits((min(known), max(known)))},
        is_wide=True,
    )


def _is_drawable(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _thinned(samples: Sequence[float], limit: int) -> list[float]:
    ordered = sorted(_rounded(sample) for sample in samples if _is_drawable(sample))
    if len(ordered) <= limit:
        return ordered
    return [ordered[round(i * (len(ordered) - 1) / (limit - 1))] for i in range(limit)]
