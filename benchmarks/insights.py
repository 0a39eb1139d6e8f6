# SPDX-License-Identifier: Apache-2.0
"""What the detector of changes finds, on the held-out series, and how often it is wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from accelerate_insights import detecting
from accelerate_insights.detecting import synthetic, synthetic_lab
from accelerate_insights.detecting.shift import ShiftDetector
from accelerate_insights.testing.detectors import series

from ._measure import Figure
from ._world import Options, conditions

_WITHIN = 8  # runs
_NEAR = 4  # points between a change and where it is found
_TIMED = 10_000


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield recall, false alarms, groups, and the time for 10,000 series; quick: of a part."""
    part = 100 if options.quick else None
    for name, batch in synthetic.held_out().items():
        values = list(batch.values[:part])
        found = await asyncio.to_thread(ShiftDetector().find, values)
        if not batch.shift:
            alarms = float(np.mean([len(changes) for changes in found]))
            yield _figure(f"insights_false_alarms_{name}", alarms, len(values), at_most=0.01)
            continue
        soon = [
            any(abs(one.index - at) <= _NEAR and one.seen <= at + _WITHIN for one in changes)
            for changes, at in zip(found, batch.at.tolist(), strict=False)
        ]
        target = 0.95 if batch.shift >= 0.1 else None
        yield _figure(
            f"insights_recall_{name}",
            float(np.mean(soon)),
            len(values),
            at_least=target,
            ever=float(np.mean([bool(changes) for changes in found])),
        )
    yield await asyncio.to_thread(_groups, 2 if options.quick else None)
    yield await asyncio.to_thread(_time, 200 if options.quick else _TIMED)


def _groups(part: int | None) -> Figure:
    labs = synthetic_lab.held_out()[:part]
    judged = [synthetic_lab.judge(lab, detecting.find(lab.series)) for lab in labs]
    caused = sum(one.caused for one in judged)
    return _figure(
        "insights_grouped_under_their_cause",
        sum(one.right for one in judged) / caused,
        caused,
        at_least=0.9,
        unrelated=sum(one.unrelated for one in judged),
        unrelated_drawn_in=sum(one.drawn_in for one in judged),
    )


def _time(number: int) -> Figure:
    """Time series of which one in ten changes, from points to grouped findings."""
    changed = synthetic.batch((synthetic.TUNING_SEED, 90), number // 10, df=4, shift=0.1)
    steady = synthetic.batch((synthetic.TUNING_SEED, 91), number - number // 10, df=4)
    values = [*changed.values, *steady.values]
    several = [series(row.tolist(), key=str(number)) for number, row in enumerate(values)]
    begin, begin_cpu = time.perf_counter(), time.process_time()
    detecting.find(several)
    took, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    limit = 30 if number == _TIMED else None
    return _figure("insights_detect_series_seconds", took, number, at_most=limit, cpu_seconds=cpu)


def _figure(
    name: str,
    value: float,
    number: int,
    at_least: float | None = None,
    at_most: float | None = None,
    **more: Any,
) -> Figure:
    return Figure(
        figure=name,
        value=value,
        unit="s" if name.endswith("seconds") else "share",
        at_least=at_least,
        at_most=at_most,
        conditions=conditions(series=number, points=synthetic.POINTS, **more),
    )
