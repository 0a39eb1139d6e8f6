# SPDX-License-Identifier: Apache-2.0
"""The default detector, `shift`: a new level that lasts, and is unlikely to be noise.

It looks at a series as if its points came one by one: what it says of the first points of a series
does not depend on later ones, so a change once found is found again by every later look.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import attrs
import numpy as np

from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Context

from ..hookspecs.detector import Detector
from ..values import Change, Series
from .cleaning import Cleaned, clean
from .confirming import Confirmed, confirm
from .likelihood import Floats, shift
from .limits import limits
from .scanning import FLOOR, MOST, Look, first_alarms
from .settings import Settings

_TWO_SIDED = 1.96


@attrs.frozen(kw_only=True)
class _Found:
    """Hold a change of one series; indices are of its cleaned values."""

    begin: int  #: of the level before
    index: int
    earliest: int  #: where it may be as well
    latest: int
    seen: int  #: points that were needed
    look: Look
    confirmed: Confirmed

    @classmethod
    def of(cls, look: Look, confirmed: Confirmed, begin: int) -> _Found:
        """Take what is said of the points since `begin`."""
        return cls(
            begin=begin,
            index=begin + look.index,
            earliest=begin + look.earliest,
            latest=begin + look.latest,
            seen=begin + look.seen,
            look=look,
            confirmed=Confirmed(kernel=begin + confirmed.kernel, pelt=begin + confirmed.pelt),
        )


class ShiftDetector(Detector):
    """Find shifts by a likelihood ratio over the last points, which ruptures confirms."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._step = float(np.log1p((settings or Settings()).min_effect))
        self._limits = limits()

    def detect(self, series: Series) -> Sequence[Change]:
        """Return the changes of a series."""
        return self.detect_many([series])[0]

    def detect_many(self, series: Sequence[Series]) -> Sequence[Sequence[Change]]:
        """Return the changes of each series."""
        cleaned = [clean(one) for one in series]
        found = self.find([one.values for one in cleaned])
        changes = iter(self._changes(cleaned, found))
        return [[next(changes) for _ in one] for one in found]

    def find(self, values: Sequence[Floats]) -> list[list[_Found]]:
        """Return the changes of each series of positive numbers, oldest first."""
        logs = [np.log(one) for one in values]
        found: list[list[_Found]] = [[] for _ in logs]
        # Each turn finds the next change of every series; what is before it is then over.
        at_work: Iterable[int] = range(len(logs))
        while at_work:
            alike: dict[int, list[int]] = defaultdict(list)
            for number in at_work:
                begin = found[number][-1].index if found[number] else 0
                alike[(len(logs[number]) - begin).bit_length()].append(number)
            at_work = [
                number for numbers in alike.values() for number in self._next(logs, numbers, found)
            ]
        return found

    def _next(
        self, logs: list[Floats], numbers: list[int], found: list[list[_Found]]
    ) -> Iterable[int]:
        """Add the next change of series whose current levels are about as long; return whose."""
        over = [found[number][-1] if found[number] else None for number in numbers]
        begins = [one.index if one else 0 for one in over]
        after = np.array([one.seen - one.index if one else 0 for one in over])
        levels = [logs[number][begin:] for number, begin in zip(numbers, begins, strict=True)]
        until = np.array([len(one) for one in levels])
        rows = np.zeros((len(levels), until.max()))
        for row, level in zip(rows, levels, strict=True):
            row[: len(level)] = level
        confirmed: dict[int, Confirmed] = {}

        def is_confirmed(look: Look) -> bool:
            places = confirm(rows[look.row, : look.seen], look.index, self._step * FLOOR)
            if places is not None:
                confirmed[look.row] = places
            return places is not None

        alarms = first_alarms(rows, until, after, self._step, self._limits, is_confirmed)
        for row, look in alarms.items():
            found[numbers[row]].append(_Found.of(look, confirmed[row], begins[row]))
        return [numbers[row] for row in alarms]

    def _changes(
        self, cleaned: Sequence[Cleaned], found: Sequence[Sequence[_Found]]
    ) -> Iterable[Change]:
        """Yield the changes of all series with their sizes, as levels are known now."""
        several = [
            (one, change, one.values[change.begin : change.index], one.values[change.index : until])
            for one, changes in zip(cleaned, found, strict=True)
            for change, until in _with_ends(changes, one)
        ]
        if not several:
            return
        known = [np.log([*before[-MOST:], *after[:MOST]]) for _, _, before, after in several]
        lasts = np.array([min(len(after), MOST) for _, _, _, after in several])
        fitted = shift(known, lasts, self._step * FLOOR)
        sizes = zip(fitted.delta, fitted.error, fitted.noise, fitted.phi, strict=True)
        for one, size in zip(several, sizes, strict=True):
            yield self._change(*one, *map(float, size))

    def _change(
        self,
        cleaned: Cleaned,
        found: _Found,
        before: Floats,
        after: Floats,
        delta: float,
        error: float,
        noise: float,
        phi: float,
    ) -> Change:
        levels = float(np.median(before)), float(np.median(after))
        margin, relative = _TWO_SIDED * error, levels[1] / levels[0] - 1
        limit = self._limits[found.look.last]
        return Change(
            index=cleaned.indices[found.index],
            before=levels[0],
            after=levels[1],
            low=min(float(np.expm1(delta - margin)), relative),
            high=max(float(np.expm1(delta + margin)), relative),
            confidence=1 - limit.chance(found.look.score),
            evidence={
                "detector": "shift",
                "score": round(found.look.score, 3),
                "limit": limit.score,
                "window": found.look.last,
                "seen_index": cleaned.indices[found.seen - 1],
                "earliest_index": cleaned.indices[found.earliest],
                "latest_index": cleaned.indices[found.latest],
                "kernel_index": cleaned.indices[found.confirmed.kernel],
                "pelt_index": cleaned.indices[found.confirmed.pelt],
                "runs_before": len(before),
                "runs_after": len(after),
                "noise": round(noise, 5),
                "autocorrelation": round(phi, 3),
                "left_out": cleaned.left_out,
                "pooled": cleaned.pooled,
                "clock_went_back": cleaned.backwards,
            },
        )


def _with_ends(found: Sequence[_Found], cleaned: Cleaned) -> Iterable[tuple[_Found, int]]:
    """Return each change with the index where the level after it ends."""
    ends = [*(one.index for one in found[1:]), len(cleaned.values)]
    return zip(found, ends, strict=False)  # nothing found: no level ends


class ShiftPlugin:
    """Finds changes by a likelihood ratio that knows bursts and outliers."""

    name = "shift"
    settings = Settings

    @hookimpl
    def detector_create(self, settings: Settings | None, ctx: Context) -> Detector:
        """Return the detector."""
        return ShiftDetector(settings)
