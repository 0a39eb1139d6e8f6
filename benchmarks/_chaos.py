# SPDX-License-Identifier: Apache-2.0
"""Figures of rows of accelerate-chaos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from accelerate_chaos.checker import Rule
from accelerate_chaos.records import Request, Row, Struck

from accelerate_core.types import Target

from ._measure import Figure, percentiles, rounded
from ._progress import Progress
from ._world import conditions


def told(total: int) -> Callable[[Request | Struck], None]:
    """Return a teller of an experiment that prints how far its requests and faults are."""
    progress = Progress("requests", total)
    counts = Counter[str]()

    def tell(one: Request | Struck) -> None:
        if isinstance(one, Struck):
            counts["faults"] += one.seen is not None
            return
        counts["requests"] += 1
        counts["errors"] += one.error is not None
        progress.at(counts["requests"], f"{counts['errors']} errors", f"{counts['faults']} faults")

    return tell


def kept(name: str, row: Row) -> tuple[Figure, ...]:
    """Count what must never be: a request that ends in an error is no answer, either."""
    counts = {
        "requests_without_answer": row.count(Rule.LOST) + len(row.requests) - row.answered,
        "wrong": row.count(Rule.WRONG),
        "accepted_twice": row.count(Rule.DOUBLED),
        "stale": row.count(Rule.STALE),
        "processes_left": row.processes_left,
        "folders_left": row.folders_left,
    }
    return tuple(figure(name, what, count, "", row, at_most=0) for what, count in counts.items())


def recovery(name: str, row: Row, limit_ms: float) -> Figure:
    """Return the 99th percentile from a fault to the answer elsewhere, its own run taken off."""
    times = row.recoveries_ms
    if not times:  # a time that was not measured meets no target
        return figure(name, "recoveries", 0, "", row, at_least=1)
    spread = {f"p{part}": rounded(float(np.percentile(times, part))) for part in (50, 95, 99)}
    p99 = float(np.percentile(times, 99))
    samples = len(times)
    return figure(
        name, "recovery_p99_ms", p99, "ms", row, at_most=limit_ms, samples=samples, recovery=spread
    )


def figure(
    name: str,
    what: str,
    value: float,
    unit: str,
    row: Row,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    **more: Any,
) -> Figure:
    """Return one number of a row, with what the row was asked and suffered."""
    browsers = "_".join(Target.parse(one).browser or one for one in row.targets)
    return Figure(
        figure=f"{name}_{browsers}_{what}",
        value=value,
        unit=unit,
        at_most=at_most,
        at_least=at_least,
        conditions=conditions(
            **more,
            strategy=row.strategy,
            requests=len(row.requests),
            rate=row.rate,
            faults=row.faults,
            missed=Counter(one.reason for one in row.struck if one.seen is None),
            reason=row.reason,
            latency_ms=percentiles(row.latencies_ms) if row.latencies_ms else None,
        ),
    )
