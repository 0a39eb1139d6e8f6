# SPDX-License-Identifier: Apache-2.0
"""What people were told of and is well again: they marked it fixed, or its series recovered."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..reading import Results
from ..values import Finding, Series, Status
from . import alerts
from .deciding import is_bad, is_mended, level_since


@attrs.frozen(kw_only=True)
class Mended:
    """A regression that is over, and the level its series is at."""

    stored: alerts.Stored
    series: Series
    level: float
    note: str | None


def mended(
    run_id: str,
    series: Sequence[Series],
    found: Sequence[Finding],
    results: Results,
    min_effect: float,
) -> list[Mended]:
    """Return what a run ends of what people were told.

    What they marked fixed is over unless it is measured at the bad level; what is open, when the
    median since the last change of its series is within `min_effect` of the old level.
    """
    last = {(one.series.key, one.series.metric.name): one for one in found}
    over = []
    for one in series:
        if one.points[-1].run_id != run_id:
            continue
        change = last.get((one.key, one.metric.name))
        for stored in alerts.told(results, one):
            if stored.status is Status.FIXED:
                level, note = level_since(one, stored.updated_at), stored.note
                if is_bad(stored.before, stored.after, level):
                    continue
            else:
                since = stored.changed_at
                if change is not None:
                    since = max(since, one.points[change.change.index].at)
                level = level_since(one, since)
                if not is_mended(one.metric, stored.before, level, min_effect):
                    continue
                note = f"is at its old level again in run {run_id}"
            over.append(Mended(stored=stored, series=one, level=level, note=note))
    return over
