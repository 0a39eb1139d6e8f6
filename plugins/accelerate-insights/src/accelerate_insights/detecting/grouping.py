# SPDX-License-Identifier: Apache-2.0
"""Which findings have one cause: what changed exactly where they did. Pure.

Between the runs where a finding can have begun, versions, the system or the commit changed. Of all
such changes the one that explains the most findings is taken first. Where two explain as many, it
is the one that touched fewer series that did not change, and then the one that is rarer: a nightly
run always has another commit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter

import attrs

from ..values import Finding, Point, Series

#: Column of a point by kind of cause, and its words.
_KINDS: Mapping[str, str] = {
    "browser_version": "browser_version",
    "engine_version": "engine_version",
    "machine": "system",
    "commit": "commit",
}
_columns = attrgetter(*_KINDS.values())


@attrs.frozen(order=True)
class Cause:
    """Name what changed: from one version of something to another."""

    kind: str
    of: str  #: which browser, engine or machine
    old: str
    new: str

    def __str__(self) -> str:
        old, new = (self.old[:12], self.new[:12]) if self.kind == "commit" else (self.old, self.new)
        return f"{self.of} {old} -> {new}"


def group(findings: Sequence[Finding], series: Sequence[Series]) -> list[Finding]:
    """Return the findings with their causes, in their order; `series`: all that were looked at."""
    touched = _touched(series)
    possible = [_possible(one) for one in findings]
    causes: dict[int, Cause] = {}
    open_ones = {index for index, found in enumerate(possible) if found}
    while open_ones:
        explained: dict[Cause, set[int]] = defaultdict(set)
        for index in open_ones:
            for cause in possible[index]:
                explained[cause].add(index)
        best = max(
            explained,
            key=lambda cause: (
                len(explained[cause]),
                -len(touched[cause]),
                -sum(one.kind == cause.kind and one.of == cause.of for one in touched),
                cause,
            ),
        )
        for index in explained[best]:
            causes[index] = best
        open_ones -= explained[best]
    return [
        attrs.evolve(
            one,
            cause_kind=causes[index].kind,
            cause=str(causes[index]),
            cause_id="|".join(attrs.astuple(causes[index])),
        )
        if index in causes
        else one
        for index, one in enumerate(findings)
    ]


def _possible(finding: Finding) -> set[Cause]:
    """Return what changed where a finding can have begun."""
    points, evidence = finding.series.points, finding.change.evidence
    index = finding.change.index
    first = max(int(evidence.get("earliest_index", index)) - 1, 0)
    last = int(evidence.get("latest_index", index))
    return set(_changes(finding.series, points[first : last + 1]))


def _touched(series: Sequence[Series]) -> Mapping[Cause, set[int]]:
    """Return the series that each change touched."""
    found: dict[Cause, set[int]] = defaultdict(set)
    for number, one in enumerate(series):
        for cause in _changes(one, one.points):
            found[cause].add(number)
    return found


def _changes(series: Series, points: Sequence[Point]) -> Iterable[Cause]:
    """Yield what changed between points that follow each other; what is unknown is passed over."""
    label = series.label
    subjects = {
        "browser_version": label.browser or "browser",
        "engine_version": label.engine or label.backend,
        "machine": f"machine {series.machine}",
        "commit": "commit",
    }
    for kind, values in zip(_KINDS, zip(*map(_columns, points), strict=True), strict=False):
        if len(set(values)) == 1:
            continue  # so with most; told apart quickly
        for old, new in pairwise(value for value in values if value is not None):
            if old != new:
                yield Cause(kind, subjects[kind], old, new)
