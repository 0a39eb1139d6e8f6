# SPDX-License-Identifier: Apache-2.0
"""How targets compare: speed relative to the best real one, and grades. Pure; SQL is elsewhere.

Grades of a model type in a browser, for its best backend there:

- *excellent*: everything works within its tolerance, at no more than `EXCELLENT` times the latency
  of the best target on the same machine that is no software adapter;
- *good*: the same, at no more than `GOOD` times;
- *limited*: it works and is slower, or something of it fails or answers wrongly;
- *untested*: nothing ran.

A software adapter stands for hardware that is not there: its grade says so, and it is the best of
nothing.
"""

from __future__ import annotations

import enum
import math
from collections import defaultdict
from collections.abc import Sequence

import attrs

EXCELLENT = 2.0
GOOD = 5.0
#: Where a backend needs no browser.
NATIVE = "native"


class Grade(enum.StrEnum):
    EXCELLENT = "excellent"
    GOOD = "good"
    LIMITED = "limited"
    UNTESTED = "untested"


@attrs.frozen(kw_only=True)
class Speed:
    """How one thing did at one target on one machine, judged by its latest measurements."""

    thing: tuple[str, ...]  #: machine, model, precision, batch, length: what is comparable
    model_type: str
    backend: str  #: with its engine
    browser: str
    is_software: bool
    ok: int  #: measured, within tolerance
    failed: int  #: broke, or answered wrongly
    latency_ms: float | None  #: median of those that are ok
    error: str | None = None  #: of the latest that failed


@attrs.frozen(kw_only=True)
class Times:
    """Latency over the best, for a backend in a browser."""

    backend: str
    browser: str
    times: float
    count: int  #: things compared


@attrs.frozen(kw_only=True)
class Rating:
    """The grade of a model type in a browser, with the backend it is about."""

    model_type: str
    browser: str
    grade: Grade
    backend: str | None = None
    times: float | None = None  #: latency over that of the best real target
    ok: int = 0  #: measurements
    failed: int = 0
    is_software: bool = False
    error: str | None = None


def targets(speeds: Sequence[Speed]) -> list[Times]:
    """Return for each backend and browser how many times the latency of the best it takes."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one, times in relative(speeds):
        backend = f"{one.backend} (software)" if one.is_software else one.backend
        found[backend, one.browser].append(times)
    return [
        Times(backend=backend, browser=browser, times=_mean(times), count=len(times))
        for (backend, browser), times in sorted(found.items())
    ]


def relative(speeds: Sequence[Speed]) -> list[tuple[Speed, float]]:
    """Return what was measured with its latency over that of the best real target.

    A thing that only software adapters computed has no such target, and is left out.
    """
    best: dict[tuple[str, ...], float] = {}
    for one in speeds:
        if one.latency_ms is not None and not one.is_software:
            best[one.thing] = min(best.get(one.thing, math.inf), one.latency_ms)
    return [
        (one, one.latency_ms / best[one.thing])
        for one in speeds
        if one.latency_ms is not None and best.get(one.thing, 0) > 0
    ]


def matrix(speeds: Sequence[Speed]) -> dict[str, dict[str, Rating]]:
    """Return a rating for every model type in every browser that anything was asked of."""
    browsers = sorted({one.browser for one in speeds}, key=lambda name: (name != NATIVE, name))
    times = {id(one): value for one, value in relative(speeds)}
    found: dict[str, dict[str, Rating]] = {}
    for model_type in sorted({one.model_type for one in speeds}):
        found[model_type] = {}
        for browser in browsers:
            groups: dict[tuple[str, bool], list[Speed]] = defaultdict(list)
            for one in speeds:
                if (one.model_type, one.browser) == (model_type, browser):
                    groups[one.backend, one.is_software].append(one)
            ratings = [
                _rating(model_type, browser, key, group, times) for key, group in groups.items()
            ]
            untested = Rating(model_type=model_type, browser=browser, grade=Grade.UNTESTED)
            found[model_type][browser] = min(ratings, key=_rank, default=untested)
    return found


def _rating(
    model_type: str,
    browser: str,
    key: tuple[str, bool],
    group: Sequence[Speed],
    times: dict[int, float],
) -> Rating:
    ok, failed = sum(one.ok for one in group), sum(one.failed for one in group)
    known = [times[id(one)] for one in group if id(one) in times]
    ratio = _mean(known) if known else None
    grade = Grade.LIMITED
    if not ok and not failed:
        grade = Grade.UNTESTED
    elif not failed and ratio is not None and ratio <= GOOD:
        grade = Grade.EXCELLENT if ratio <= EXCELLENT else Grade.GOOD
    return Rating(
        model_type=model_type,
        browser=browser,
        grade=grade,
        backend=key[0],
        times=ratio,
        ok=ok,
        failed=failed,
        is_software=key[1],
        error=next((one.error for one in group if one.error), None),
    )


def _rank(one: Rating) -> tuple[int, bool, float]:
    return (list(Grade).index(one.grade), one.is_software, one.times or math.inf)


def _mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))
