# SPDX-License-Identifier: Apache-2.0
"""The default detector, `shift`: a new level that lasted for some points, unlikely by chance.

It looks at a series as if its points came one by one: what it says of the first points of a series
does not depend on later ones, so a change once found is found again by every later look.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Context

from ..hookspecs.detector import Detector
from ..values import Change, Series
from .cleaning import Cleaned, clean
from .likelihood import Floats, shift
from .settings import Settings

_LAST = 8
_BEFORE = 20
_SCORE = 3.95


class ShiftDetector(Detector):
    """Find shifts by a likelihood ratio over the last points."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()

    def detect(self, series: Series) -> Sequence[Change]:
        """Return the changes of a series."""
        return self.detect_many([series])[0]

    def detect_many(self, series: Sequence[Series]) -> Sequence[Sequence[Change]]:
        """Return the changes of each series."""
        return [self._changes(clean(one)) for one in series]

    def _changes(self, cleaned: Cleaned) -> list[Change]:
        values, found, start = cleaned.values, [], 0
        while (seen := self._first(np.log(values[start:]))) is not None:
            length, score, low, high = seen
            index = start + length - _LAST
            before, after = values[start:index], values[index : start + length]
            found.append(
                Change(
                    index=cleaned.indices[index],
                    before=float(np.median(before)),
                    after=float(np.median(after)),
                    low=low,
                    high=high,
                    confidence=0.99,
                    evidence={"detector": "shift", "score": round(score, 2)},
                )
            )
            start = index
        return found

    def _first(self, logs: Floats) -> tuple[int, float, float, float] | None:
        for length in range(_BEFORE + _LAST, len(logs) + 1):
            step = np.median(logs[length - _LAST : length]) - np.median(logs[: length - _LAST])
            if abs(step) < np.log1p(self.settings.min_effect):
                continue
            found = shift(logs[None, :length], _LAST, self.settings.min_effect / 20)
            if found.score[0] > _SCORE:
                low, high = np.expm1(found.delta[0] + np.array([-1.96, 1.96]) * found.error[0])
                return length, float(found.score[0]), float(low), float(high)
        return None


class ShiftPlugin:
    """Finds changes by a likelihood ratio that knows bursts and outliers."""

    name = "shift"
    settings = Settings

    @hookimpl
    def detector_create(self, settings: Settings | None, ctx: Context) -> Detector:
        """Return the detector."""
        return ShiftDetector(settings)
