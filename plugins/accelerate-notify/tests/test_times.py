# SPDX-License-Identifier: Apache-2.0
"""Quiet hours and digests: over midnight, over days, and where the clock is put forward or back."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from accelerate_notify.times import DAYS, Hours, Quiet, Weekly, next_of
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_core.errors import ConfigError

BERLIN = ZoneInfo("Europe/Berlin")
#: Clocks put forward and back, at midnight too; zones off by parts of an hour.
ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Havana",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Pacific/Apia",
    )
]

clocks = st.times().map(lambda one: time(one.hour, one.minute))
moments = st.datetimes(datetime(2011, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))
quiets = st.builds(
    Quiet,
    zone=st.sampled_from(ZONES),
    hours=st.none()
    | st.tuples(clocks, clocks).filter(lambda two: two[0] != two[1]).map(lambda two: Hours(*two)),
    days=st.frozensets(st.integers(0, 6), max_size=6),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@settings(deadline=None)
@given(quiets, moments)
def test_the_moment_is_the_first_that_is_loud(quiet: Quiet, moment: datetime) -> None:
    loud = quiet.loud_from(moment)
    assert loud >= moment and loud - moment <= timedelta(days=8)
    assert quiet.loud_from(loud) == loud
    # Everything before it is quiet, up to the same moment.
    for part in (0.0, 0.3, 0.9, 0.999):
        between = moment + (loud - moment) * part
        assert between == loud or quiet.loud_from(between) == loud


@settings(deadline=None)
@given(quiets, moments)
def test_away_from_changes_of_the_clock_quiet_is_what_the_wall_says(
    quiet: Quiet, moment: datetime
) -> None:
    day = timedelta(hours=26)
    offsets = {(moment + part).astimezone(quiet.zone).utcoffset() for part in (-day, day)}
    if len(offsets) > 1:
        return
    wall = moment.astimezone(quiet.zone)
    is_quiet = wall.weekday() in quiet.days
    if quiet.hours is not None:
        start, end, clock = quiet.hours.start, quiet.hours.end, wall.time()
        inside = start <= clock < end if start < end else clock >= start or clock < end
        is_quiet = is_quiet or inside
    assert (quiet.loud_from(moment) != moment) is is_quiet


@settings(deadline=None)
@given(
    st.lists(st.builds(Weekly, clocks, st.none() | st.integers(0, 6)), min_size=1, max_size=3),
    st.sampled_from(ZONES),
    moments,
)
def test_a_digest_is_told_at_its_times(
    times: list[Weekly], zone: ZoneInfo, moment: datetime
) -> None:
    told = next_of(times, zone, moment)
    assert moment < told <= moment + timedelta(days=9)
    wall = told.astimezone(zone)
    fits = any(one.at == wall.time() and one.day in (None, wall.weekday()) for one in times)
    # A time that the wall skips is told as much later as the clock was put forward.
    assert fits or not _is_usual(told, zone)


def _is_usual(moment: datetime, zone: ZoneInfo) -> bool:
    """Whether the clock was not put forward or back within a day before the moment."""
    before = (moment - timedelta(hours=26)).astimezone(zone)
    return before.utcoffset() == moment.astimezone(zone).utcoffset()


@pytest.mark.parametrize(
    ("moment", "loud"),
    [
        ("2026-11-25T21:59+01:00", "2026-11-25T21:59+01:00"),
        ("2026-11-25T22:00+01:00", "2026-11-26T07:00+01:00"),
        ("2026-11-26T03:00+01:00", "2026-11-26T07:00+01:00"),
        ("2026-11-26T07:00+01:00", "2026-11-26T07:00+01:00"),
        # Friday night runs into the quiet weekend, and that into Monday's morning.
        ("2026-11-27T23:00+01:00", "2026-11-30T07:00+01:00"),
        ("2026-11-28T12:00+01:00", "2026-11-30T07:00+01:00"),
        # The night in which an hour is missing, and the one that has an hour twice.
        ("2026-03-28T12:00+01:00", "2026-03-30T07:00+02:00"),
        ("2026-10-22T23:00+02:00", "2026-10-23T07:00+02:00"),
    ],
)
def test_nights_and_weekends_are_quiet(moment: str, loud: str) -> None:
    quiet = Quiet(zone=BERLIN, hours=Hours.parse("22:00-07:00"), days=frozenset((5, 6)))
    assert quiet.loud_from(at(moment)) == at(loud)


@pytest.mark.parametrize(
    ("hours", "moment", "loud"),
    [
        # 02:30 does not exist: quiet ends an hour's worth later by the wall.
        ("22:00-02:30", "2026-03-29T00:00+01:00", "2026-03-29T03:30+02:00"),
        # 02:30 comes twice: quiet goes on to the second one, in one piece.
        ("22:00-02:30", "2026-10-25T02:40+02:00", "2026-10-25T02:30+01:00"),
        ("02:30-06:00", "2026-10-25T02:10+01:00", "2026-10-25T06:00+01:00"),
    ],
)
def test_quiet_is_never_cut_by_a_change_of_the_clock(hours: str, moment: str, loud: str) -> None:
    assert Quiet(zone=BERLIN, hours=Hours.parse(hours)).loud_from(at(moment)) == at(loud)


def test_nothing_is_quiet_where_nothing_is_said() -> None:
    assert Quiet(zone=BERLIN).loud_from(at("2026-11-25T03:00+01:00")) == at(
        "2026-11-25T03:00+01:00"
    )


@pytest.mark.parametrize(
    "text", ["", "22-7", "24:00-07:00", "22:00-22:00", "22:60-07:00", "22:00", 22, None]
)
def test_what_is_no_part_of_a_day_is_refused(text: object) -> None:
    with pytest.raises(ConfigError, match="no part of a day"):
        Hours.parse(text)


@pytest.mark.parametrize("text", ["", "9:00", "monday 09:00", "mon", "09:00 mon", 9])
def test_what_is_no_time_of_a_day_is_refused(text: object) -> None:
    with pytest.raises(ConfigError, match="no time of a day"):
        Weekly.parse(text)


def test_times_are_read_as_written() -> None:
    assert Hours.parse("22:00 - 07:30") == Hours(time(22), time(7, 30))
    assert Weekly.parse("09:00") == Weekly(time(9))
    assert [Weekly.parse(f"{day} 09:05").day for day in DAYS] == list(range(7))
