# SPDX-License-Identifier: Apache-2.0
"""Find changes in series, judge them, and group those with one cause."""

from __future__ import annotations

from collections.abc import Sequence

from ..hookspecs.detector import Detector
from ..values import Finding, Series
from .grouping import group
from .judging import finding
from .settings import Settings
from .shift import ShiftDetector


def find(
    series: Sequence[Series],
    settings: Settings | None = None,
    *,
    detector: Detector | None = None,
) -> list[Finding]:
    """Return what changed in series, in their order and oldest first in each; `shift` by default.

    Causes are looked for among all of `series`: give those that did not change as well.
    Pure: nothing is read or stored, and the same series have the same findings with the same ids.
    """
    looker = detector or ShiftDetector(settings)
    found = [
        finding(one, change)
        for one, changes in zip(series, looker.detect_many(series), strict=True)
        for change in changes
    ]
    return group(found, series)
