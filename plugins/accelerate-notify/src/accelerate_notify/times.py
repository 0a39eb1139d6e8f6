# SPDX-License-Identifier: Apache-2.0
"""When people may be told: quiet hours and digests by the clock on a wall. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, ClassVar, Literal, get_args

import attrs

from accelerate_core.errors import ConfigError
from accelerate_core.settings import converter

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)

_CLOCK = r"([01]\d|2[0-3]):([0-5]\d)"
_HOURS = re.compile(rf"{_CLOCK}\s*-\s*{_CLOCK}")
_WEEKLY = re.compile(rf"(?:({'|'.join(DAYS)})\s+)?{_CLOCK}")
_ONE_DAY = timedelta(days=1)


@attrs.frozen
class Hours:
    """Hold a part of each day; it goes over midnight where it ends before it begins."""

    in_words: ClassVar[str] = 'times of day: `"22:00-07:00"`'

    start: time
    end: time

    @classmethod
    def parse(cls, text: Any) -> Hours:
        """Read "22:00-07:00"; ConfigError for anything else."""
        match = _HOURS.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None or match[1] + match[2] == match[3] + match[4]:
            raise ConfigError(
                f"{text!r} is no part of a day", accepted=('"22:00-07:00"', '"18:00-00:00"')
            )
        start_h, start_m, end_h, end_m = map(int, match.groups())
        return cls(time(start_h, start_m), time(end_h, end_m))


@attrs.frozen
class Weekly:
    """Hold a time of day, of every day or of one of the week."""

    in_words: ClassVar[str] = 'time of day: `"09:00"` or `"mon 09:00"`'

    at: time
    day: int | None = None  #: 0 is Monday

    @classmethod
    def parse(cls, text: Any) -> Weekly:
        """Read "09:00" or "mon 09:00"; ConfigError for anything else."""
        match = _WEEKLY.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise ConfigError(f"{text!r} is no time of a day", accepted=('"09:00"', '"mon 09:00"'))
        day = DAYS.index(match[1]) if match[1] else None
        return cls(time(int(match[2]), int(match[3])), day)


converter.register_structure_hook(Hours, lambda text, _: Hours.parse(text))
converter.register_structure_hook(Weekly, lambda text, _: Weekly.parse(text))


@attrs.frozen(kw_only=True)
class Quiet:
    """Hold when nobody is to be told: hours of every day, and whole days.

    Where the clock is put forward or back, quiet begins at the first and ends at the last moment
    that the wall could mean: it is never cut in two.
    """

    zone: tzinfo
    hours: Hours | None = None
    days: frozenset[int] = frozenset()  #: 0 is Monday

    def loud_from(self, moment: datetime) -> datetime:
        """Return the first moment, from this one on, at which people may be told (UTC)."""
        moment = moment.astimezone(UTC)
        while ends := [end for start, end in self._around(moment) if start <= moment < end]:
            moment = max(ends)
        return moment

    def _around(self, moment: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the quiet times, in UTC, that this moment could be in."""
        today = moment.astimezone(self.zone).date()
        for day in (today - _ONE_DAY, today):
            if self.hours is not None:
                start, end = self.hours.start, self.hours.end
                last = day if start < end else day + _ONE_DAY
                yield min(_both(day, start, self.zone)), max(_both(last, end, self.zone))
            if day.weekday() in self.days:
                midnight = time(0)
                yield (
                    min(_both(day, midnight, self.zone)),
                    max(_both(day + _ONE_DAY, midnight, self.zone)),
                )


def next_of(times: Iterable[Weekly], zone: tzinfo, after: datetime) -> datetime:
    """Return the first of these times after a moment, in UTC."""
    after = after.astimezone(UTC)
    today = after.astimezone(zone).date()
    wanted = tuple(times)
    days = [today + timedelta(days=number) for number in range(-1, 9)]
    return min(
        moment
        for one in wanted
        for day in days
        if one.day in (None, day.weekday())
        if (moment := _both(day, one.at, zone)[0]) > after
    )


def _both(day: date, at: time, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the two moments, in UTC, that a wall clock could mean; mostly they are one."""
    first, second = (
        datetime.combine(day, at, zone).replace(fold=fold).astimezone(UTC) for fold in (0, 1)
    )
    return first, second
