# SPDX-License-Identifier: Apache-2.0
"""Which findings are news, and which are known. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from statistics import median

import attrs

from ..values import Finding, Severity, Status

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


def is_news(finding: Finding, known: Mapping[str, Known]) -> bool:
    """Whether people are to be told of it: it is worse, and nobody knows or it came back."""
    if not finding.is_worse:
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
    middle = math.sqrt(finding.change.before * finding.change.after)
    return (median(since) > middle) == (finding.change.after > finding.change.before)


def rank(severity: Severity) -> int:
    """Return how bad a severity is, as a number to sort by."""
    return _ORDER.index(severity)


def is_at_least(severity: Severity, least: str) -> bool:
    """Whether a severity is as bad as another, or worse; "never" is worse than any."""
    return least != "never" and rank(severity) >= rank(Severity(least))
