# SPDX-License-Identifier: Apache-2.0
"""Which findings are news, and which are known. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from statistics import median

import attrs

from ..values import Finding, Metric, Series, Severity, Status

_ORDER = tuple(Severity)  # improvement first, critical last


@attrs.frozen(kw_only=True)
class Known:
    """What is stored of a finding."""

    status: Status
    updated_at: datetime


def lasting(findings: Iterable[Finding]) -> list[Finding]:
    """Return the last finding of each series: the level it is at now."""
    last: dict[tuple[str, str, str], Finding] = {}
    for one in findings:
        key = (one.series.key, one.series.machine, one.series.metric.name)
        if key not in last or one.change.index > last[key].change.index:
            last[key] = one
    return list(last.values())


def is_overtaken(series: Series, run_id: str) -> bool:
    """Whether points of later times follow those of a run: its level is not the present one."""
    *earlier, last = (point.run_id for point in series.points)
    return last != run_id and run_id in earlier


def is_news(finding: Finding, known: Mapping[str, Known], min_effect: float) -> bool:
    """Whether people are to be told of it: it is worse, and nobody knows or it came back.

    With less than half of the least effect by now, it was left again within a few runs.
    """
    if not finding.is_worse or abs(finding.change.relative) < min_effect / 2:
        return False
    stored = known.get(finding.id)
    return stored is None or is_back(finding, stored)


def is_back(finding: Finding, known: Known) -> bool:
    """Whether what was fixed is measured again at the level it had.

    That is so when the median since then is nearer to the bad level than to the good one.
    """
    if known.status is not Status.FIXED:
        return False
    since = [point.value for point in finding.series.points if point.at > known.updated_at]
    if not since or min(since) <= 0:
        return False
    return is_bad(finding.change.before, finding.change.after, median(since))


def is_bad(before: float, after: float, level: float) -> bool:
    """Whether a level is nearer to the bad one of a change than to the good one, or beyond it."""
    return (level > math.sqrt(before * after)) == (after > before)


def level_since(series: Series, moment: datetime) -> float:
    """Return the median of a series after a moment; of its last point where none is later."""
    since = [point.value for point in series.points if point.at > moment]
    return median(since or [series.points[-1].value])


def is_mended(metric: Metric, before: float, level: float, min_effect: float) -> bool:
    """Whether a level is worse than one before by less than the least effect that matters."""
    worse = level / before - 1 if metric.is_lower_better else 1 - level / before
    return worse < min_effect


def by_cause(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings worst first; those with one cause stand together, under their worst."""
    groups: dict[str, list[Finding]] = {}
    for one in sorted(findings, key=lambda one: (-rank(one.severity), str(one.series.label))):
        groups.setdefault(one.cause_id or one.id, []).append(one)
    return [one for group in groups.values() for one in group]


def rank(severity: Severity) -> int:
    """Return how bad a severity is, as a number to sort by."""
    return _ORDER.index(severity)


def is_at_least(severity: Severity, least: str) -> bool:
    """Whether a severity is as bad as another, or worse; "never" is worse than any."""
    return least != "never" and rank(severity) >= rank(Severity(least))
