# SPDX-License-Identifier: Apache-2.0
"""What pictures of many runs show: their data, words and panels. Pure; `specs` says how they look.

Text that came from outside appears as data or as a title, never in an expression.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from accelerate_reports.columns import short
from accelerate_reports.plots import LOG_FROM_RATIO, Plot
from accelerate_reports.vega import Extent

from accelerate_core.texts import one_line

from ..gate.rows import Row as Compared
from ..values import METRICS
from . import pieces, specs, spreads
from .gathering import Line, Spot
from .known import Known
from .ratings import Speed, targets

#: More panels or lines than these nobody reads.
MOST = 12
_MOST_ECDF = 6
#: What a caption says of each kind of mark that is there.
_SAID = {
    "point": "Each dot is a measurement, at its time in UTC.",
    "band": "The line is the median, the band 80% of the measurements, at their times in UTC.",
    "level": "Bars are levels before and after a change.",
    "commit": "A triangle is another commit.",
}
#: Quantiles that distributions are drawn from, evenly apart.
QUANTILES = tuple(step / 40 for step in range(41))

LineId: TypeAlias = tuple[str, str, str]


def chosen(lines: Sequence[Line], known: Sequence[Known], most: int = MOST) -> list[Line]:
    """Return the lines worth a picture: those with changes first, then those that moved most."""
    changed: dict[LineId, float] = {}
    for one in known:
        key = (one.series_key, one.machine, one.metric.name)
        changed[key] = max(abs(one.relative), changed.get(key, 0.0))
    ranked = sorted(
        lines, key=lambda one: (-changed.get(one.id, -1.0), -abs(one.relative), str(one.label))
    )
    return ranked[:most]


def names(lines: Sequence[Line]) -> dict[LineId, str]:
    """Return a label for each line that no other has."""
    shared = len({line.machine for line in lines}) < 2
    found: dict[LineId, str] = {}
    for line in lines:
        text = one_line(str(line.label)) + (" (software)" if line.label.is_software else "")
        text = wanted = text if shared else f"{text} on {line.machine}"
        number = 1
        while text in found.values():
            number += 1
            text = f"{wanted} #{number}"
        found[line.id] = text
    return found


def over_time(
    lines: Sequence[Line],
    spots: Mapping[LineId, Sequence[Spot]],
    known: Sequence[Known],
    left_out: int,
) -> Plot | None:
    """Return one panel per line of a metric, over one span of time."""
    if not lines:
        return None
    metric = lines[0].metric
    times = [_ms(spot.at) for line in lines for spot in spots[line.id]]
    pad = (max(times) - min(times)) / 30 or 3_600_000  # a single point stands in two hours
    span = (min(times) - pad, max(times) + pad)
    data: list[dict[str, Any]] = []
    panels = []
    for number, line in enumerate(lines):
        mine = [one for one in known if (one.series_key, one.machine, one.metric.name) == line.id]
        extent = _room(value for one in spots[line.id] for value in (one.low, one.high))
        data += _points(number, spots[line.id], metric.unit)
        data += _changes(number, mine, spots[line.id], span)
        data += _commits(number, spots[line.id], extent[0])
        axis = f"{metric.label} ({metric.unit})" if len(lines) == 1 else metric.unit
        panels.append(
            specs.over_time(
                number, _heading(line, lines), axis, span, extent, is_alone=len(lines) == 1
            )
        )
    rest = f" The {len(lines)} with the largest changes, and {left_out} more." if left_out else ""
    kinds = {row["kind"] for row in data}
    return Plot(
        id=f"time-{metric.name}",
        title=f"{metric.label[0].upper()}{metric.label[1:]} over time",
        caption=" ".join(text for kind, text in _SAID.items() if kind in kinds) + rest,
        data=data,
        views={"over time": pieces.panels(panels, 1 if len(lines) == 1 else 2)},
        is_wide=True,
    )


def distributions(
    lines: Sequence[Line], found: Mapping[LineId, tuple[int, Sequence[float]]], left_out: int
) -> Plot | None:
    """Return a box for each line, and how its samples are distributed."""
    shown = [line for line in lines if line.id in found]
    if not shown:
        return None
    metric, labels = shown[0].metric, names(shown)
    data: list[dict[str, Any]] = []
    for index, line in enumerate(shown):
        count, values = found[line.id]
        p5, p25, p50, p75, p95 = (values[step] for step in (2, 10, 20, 30, 38))
        data.append(
            {
                "label": labels[line.id],
                "count": count,
                "p5": p5,
                "p25": p25,
                "p50": p50,
                "p75": p75,
                "p95": p95,
                "text": f"{short(p50)} {metric.unit}",
                "range": f"{short(p5)} to {short(p95)} {metric.unit}",
                # The outermost samples would stretch the axis for all.
                "values": list(values[1:-1]),
                "parts": list(QUANTILES[1:-1]),
                "is_told": index < _MOST_ECDF,
            }
        )
    low, high = min(row["p5"] for row in data), max(row["p95"] for row in data)
    is_log = low > 0 and high / low > LOG_FROM_RATIO
    axis = f"{metric.label} ({metric.unit})"
    rest = f" {left_out} more series are not drawn." if left_out else ""
    told = [row["label"] for row in data[:_MOST_ECDF]]
    return Plot(
        id=f"spread-{metric.name}",
        title=f"How {metric.label} is distributed",
        caption="Samples of the latest measurements: the bar is the median, the box half of the "
        f"samples, the line 90% of them.{rest}",
        data=data,
        views={
            "boxes": spreads.boxes(axis, (low, high), is_log=is_log),
            "cumulative": spreads.ecdf(told, axis, (low, high), is_log=is_log),
        },
        is_wide=True,
    )


def heat(speeds: Sequence[Speed]) -> Plot | None:
    """Return backends by browsers: latency over that of the best real target of the machine."""
    cells = targets(speeds)
    if not cells:
        return None
    rows = sorted({one.backend for one in cells})
    columns = sorted({one.browser for one in cells}, key=lambda name: (name != "native", name))
    data = [
        {
            "backend": one.backend,
            "browser": one.browser,
            "times": one.times,
            "text": f"{one.times:.3g}\N{MULTIPLICATION SIGN}",
            "things": f"{one.count} model{'s' if one.count > 1 else ''}, batches and machines",
        }
        for one in cells
    ]
    return Plot(
        id="heat",
        title="Backend by browser",
        caption="Median latency over that of the best target of the same machine that is no "
        "software adapter: the geometric mean over what both measured. 1\N{MULTIPLICATION SIGN} is "
        "the best; empty was not measured.",
        data=data,
        views={"relative": specs.heat(46 * len(rows), rows, columns)},
    )


def comparison(rows: Sequence[Compared]) -> Plot | None:
    """Return the change of each row that has an interval, and its verdict."""
    data: list[dict[str, Any]] = []
    ends: list[float] = []
    is_one_metric = len({row.metric for row in rows}) == 1
    for row in rows:
        if row.change is None or row.low is None or row.high is None:
            continue
        metric = METRICS[row.metric]
        label = str(row.cell) if is_one_metric else f"{row.cell}: {metric.label}"
        ends += (row.low, row.high)
        data.append(
            {
                "label": one_line(label),
                "change": row.change,
                "low": row.low,
                "high": row.high,
                "text": f"{row.change:+.1%}",
                "sizes": f"{short(row.old)}, {short(row.new)} {metric.unit}",
                "verdict": row.verdict.value,
            }
        )
    if not data:
        return None
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = max(0.02, high - low)
    return Plot(
        id="comparison",
        title="B against A",
        caption="The mark is the change of the median, the line its interval. Right of 0: slower.",
        data=data,
        # Room for the number beside the largest one.
        views={"change": spreads.compared((low - room * 0.1, high + room * 0.3))},
        is_wide=True,
    )


def by_batch(lines: Sequence[Line], most: int = 4) -> Plot | None:
    """Return the metric against the batch, for models that ran with more than one."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        one = line.label
        groups.setdefault((one.model, one.precision, one.sequence_length, line.machine), []).append(
            line
        )
    several = [
        (key, group)
        for key, group in groups.items()
        if len({line.label.batch_size for line in group}) > 1
    ]
    if not several:
        return None
    several.sort(key=lambda one: -len(one[1]))
    metric = lines[0].metric
    shown = several[:most]
    wheres = sorted({_where(line) for _, group in shown for line in group})
    machines = {key[3] for key, _ in shown}
    data: list[dict[str, Any]] = []
    panels = []
    for number, (key, group) in enumerate(shown):
        model, precision, length, machine = key
        parts = [precision, f"{length} tokens" if length else "", machine * (len(machines) > 1)]
        batches = sorted({line.label.batch_size for line in group})
        panels.append(
            specs.by_batch(
                number,
                [one_line(model), " · ".join(part for part in parts if part)],
                f"{metric.label} ({metric.unit})",
                wheres,
                batches,
            )
        )
        data += [
            {
                "panel": number,
                "target": _where(line),
                "batch": line.label.batch_size,
                "value": line.median,
                "text": f"{short(line.median)} {metric.unit}",
            }
            for line in sorted(group, key=lambda line: line.label.batch_size)
        ]
    left_out = len(several) - len(shown)
    rest = f" {left_out} more models are not drawn." if left_out else ""
    return Plot(
        id=f"batch-{metric.name}",
        title=f"{metric.label[0].upper()}{metric.label[1:]} against batch",
        caption=f"Medians over the time of the report.{rest}",
        data=data,
        views={"batch": pieces.panels(panels, 2)},
        is_wide=True,
    )


def _points(number: int, spots: Sequence[Spot], unit: str) -> list[dict[str, Any]]:
    is_band = any(spot.count > 1 for spot in spots)
    return [
        {
            "panel": number,
            "kind": "band" if is_band else "point",
            "at": _ms(spot.at),
            "value": spot.value,
            **({"low": spot.low, "high": spot.high} if is_band else {}),
            "text": f"{short(spot.value)} {unit}",
            "count": spot.count,
            "commit": one_line(spot.commit or "")[:12],
            "version": one_line(spot.browser_version or ""),
        }
        for spot in spots
    ]


def _changes(
    number: int, known: Sequence[Known], spots: Sequence[Spot], span: Extent
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    inside = sorted(
        (one for one in known if span[0] <= _ms(one.changed_at) <= span[1]),
        key=lambda one: one.changed_at,
    )
    edges = [_ms(spots[0].at), *(_ms(one.changed_at) for one in inside), _ms(spots[-1].at)]
    for index, one in enumerate(inside):
        at = _ms(one.changed_at)
        commit = f" · {one.first_bad_commit[:7]}" if one.first_bad_commit else ""
        sign = "worse" if one.is_worse else "better"
        text = one_line(f"{sign} {one.relative:+.0%}{commit}")
        shared = {"panel": number, "is_worse": one.is_worse}
        rows += [
            {**shared, "kind": "change", "at": at, "text": text},
            *(
                {**shared, "kind": "level", "level": level, "at": end, "value": value}
                for level, ends, value in (
                    (2 * index, (edges[index], at), one.before),
                    (2 * index + 1, (at, edges[index + 2]), one.after),
                )
                for end in ends
            ),
        ]
    return rows


def _commits(number: int, spots: Sequence[Spot], floor: float) -> list[dict[str, Any]]:
    marks = []
    before = spots[0].first_commit
    for spot in spots:
        if spot.commit is not None and spot.commit != before:
            marks.append(
                {
                    "panel": number,
                    "kind": "commit",
                    "at": _ms(spot.at),
                    "value": floor,
                    "commit": one_line(spot.commit)[:12],
                }
            )
        before = spot.commit or before
    return marks


def _heading(line: Line, lines: Sequence[Line]) -> list[str]:
    one = line.label
    parts = [
        one.where,
        "software" if one.is_software else "",
        one.precision,
        f"batch {one.batch_size}",
        f"{one.sequence_length} tokens" if one.sequence_length else "",
        f"on {line.machine}" if len({other.machine for other in lines}) > 1 else "",
    ]
    return [one_line(one.model), one_line(" · ".join(part for part in parts if part))]


def _where(line: Line) -> str:
    return one_line(line.label.where) + (" (software)" if line.label.is_software else "")


def _room(values: Iterable[float]) -> Extent:
    """Return an axis that holds the values, with room around; a level line is in its middle."""
    found = list(values)
    low, high = min(found), max(found)
    # Noise of less than this must not look like a storm.
    pad = max((high - low) * 0.12, abs(low + high) * 0.02, 1e-9)
    return (max(0.0, low - pad) if low >= 0 else low - pad, high + pad)


def _ms(at: datetime) -> float:
    return at.replace(tzinfo=UTC).timestamp() * 1000
