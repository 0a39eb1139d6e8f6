# SPDX-License-Identifier: Apache-2.0
"""The detector `shift` keeps its contract, its figures, and its word when more points come."""

from __future__ import annotations

from datetime import timedelta

import attrs
import numpy as np
import pytest
from accelerate_insights import detecting
from accelerate_insights.detecting import judging, synthetic
from accelerate_insights.detecting.cleaning import clean
from accelerate_insights.detecting.confirming import confirm
from accelerate_insights.detecting.likelihood import shift
from accelerate_insights.detecting.limits import limits
from accelerate_insights.detecting.shift import ShiftDetector
from accelerate_insights.testing import DetectorContract
from accelerate_insights.testing.detectors import series
from accelerate_insights.values import METRICS, Change, Severity
from hypothesis import given, settings
from hypothesis import strategies as st

TUNING = synthetic.TUNING_SEED


class TestShift(DetectorContract):
    plugin = "shift"


def test_shifts_of_ten_percent_are_found_within_eight_runs() -> None:
    batch = synthetic.batch((TUNING, 5), 50, df=4, shift=0.1)
    found = ShiftDetector().find(list(batch.values))
    soon = [
        any(abs(one.index - at) <= 4 and one.seen <= at + 8 for one in changes)
        for changes, at in zip(found, batch.at.tolist(), strict=True)
    ]
    assert np.mean(soon) >= 0.9  # the benchmark has the figure, on thousands


def test_noise_is_no_change() -> None:
    batch = synthetic.batch((TUNING, 6), 200, df=3)
    assert sum(map(bool, ShiftDetector().find(list(batch.values)))) <= 5


def test_what_was_found_is_found_again_when_more_points_come() -> None:
    values = synthetic.batch((TUNING, 7), 1, df=3, shift=0.2).values[0].tolist()
    every = detecting.find([series(values)])
    assert every
    ids: set[str] = set()
    for length in range(40, 121, 4):
        now = {one.id for one in detecting.find([series(values[:length])])}
        assert ids <= now
        ids = now
    assert ids == {one.id for one in every}


def test_a_constant_series_changes_when_a_new_value_lasts_and_not_for_one_outlier() -> None:
    (finding,) = detecting.find([series([10.0] * 30 + [11.0] * 8)])
    assert (finding.change.index, finding.change.before, finding.change.after) == (30, 10.0, 11.0)
    seen = finding.series.points[finding.change.evidence["seen_index"]]
    assert finding.detected_at == seen.at > finding.series.points[30].at
    assert detecting.find([series([10.0] * 30 + [20.0] + [10.0] * 30)]) == []
    assert detecting.find([series([10.0] * 30 + [10.3] * 30)]) == []  # less than the least effect


def test_what_is_no_number_is_left_out_and_counted() -> None:
    nan, infinite = float("nan"), float("inf")
    values = [10.0] * 20 + [nan, infinite, 0.0, -1.0] + [10.0] * 10 + [13.0] * 8
    (finding,) = detecting.find([series(values)])
    assert finding.change.index == 34
    assert finding.change.evidence["left_out"] == 4


def test_few_points_and_none_have_no_change() -> None:
    nan = float("nan")
    assert detecting.find([series(values) for values in ([], [10.0], [nan], [nan] * 40)]) == []


def test_gaps_do_not_matter_and_a_clock_that_goes_back_leaves_the_order_as_it_is() -> None:
    one = series([10.0] * 30 + [13.0] * 8)
    (plain,) = detecting.find([one])
    moments = [point.at + timedelta(days=400 * (n > 20)) for n, point in enumerate(one.points)]
    moments[35:] = [moments[0]] * 3
    points = [attrs.evolve(p, at=at) for p, at in zip(one.points, moments, strict=True)]
    (moved,) = detecting.find([attrs.evolve(one, points=tuple(points))])
    assert moved.change.evidence["clock_went_back"] == 1
    assert (moved.id, moved.change.index, moved.change.after) == (plain.id, 30, 13.0)


def test_rows_of_one_run_are_one_point_and_a_clock_that_goes_back_is_told() -> None:
    one = series([10.0, 12.0, 11.0, 10.0])
    points = list(one.points)
    points[1] = attrs.evolve(points[1], run_id=points[0].run_id)
    points[3] = attrs.evolve(points[3], at=points[3].at - timedelta(days=9))
    cleaned = clean(attrs.evolve(one, points=tuple(points)))
    assert cleaned.values.tolist() == [11.0, 11.0, 10.0]
    assert cleaned.indices == (0, 2, 3)
    assert (cleaned.pooled, cleaned.backwards, cleaned.left_out) == (1, 1, 0)


@settings(max_examples=8)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([1e-9, 0.001, 7.0, 1e12]))
def test_units_and_dates_do_not_matter(seed: int, scale: float) -> None:
    values = synthetic.batch((TUNING, 8, seed), 1, df=3, shift=0.15, points=108).values[0]
    plain = detecting.find([series(values.tolist())])
    scaled = series((values * scale).tolist())
    later = tuple(attrs.evolve(one, at=one.at + timedelta(days=999)) for one in scaled.points)
    moved = detecting.find([attrs.evolve(scaled, points=later)])
    assert [(one.id, one.severity) for one in moved] == [(one.id, one.severity) for one in plain]


@pytest.mark.parametrize(
    ("metric", "factor", "severity"),
    [
        ("latency_ms", 1.5, Severity.CRITICAL),
        ("latency_ms", 1.15, Severity.MAJOR),
        ("latency_ms", 1.07, Severity.MINOR),
        ("latency_ms", 0.5, Severity.IMPROVEMENT),
        ("throughput_items_per_second", 0.5, Severity.CRITICAL),
        ("throughput_items_per_second", 1.5, Severity.IMPROVEMENT),
    ],
)
def test_severity_is_by_effect_in_the_direction_that_is_worse(
    metric: str, factor: float, severity: Severity
) -> None:
    (finding,) = detecting.find([series([10.0] * 30 + [10.0 * factor] * 10, metric)])
    assert finding.severity is severity
    assert finding.is_worse == (severity is not Severity.IMPROVEMENT)


@pytest.mark.parametrize(
    ("after", "confidence", "severity"),
    [
        (15.0, 0.9995, Severity.CRITICAL),
        (15.0, 0.995, Severity.MAJOR),
        (15.0, 0.95, Severity.MINOR),
        (11.5, 0.98, Severity.MINOR),
    ],
)
def test_what_is_less_sure_is_less_severe(
    after: float, confidence: float, severity: Severity
) -> None:
    change = Change(
        index=5, before=10.0, after=after, low=0.0, high=1.0, confidence=confidence, evidence={}
    )
    assert judging.severity(change, METRICS["latency_ms"]) is severity


def test_intervals_hold_the_truth() -> None:
    batch = synthetic.batch((TUNING, 9), 50, df=4, shift=0.2)
    found = detecting.find([series(row.tolist(), key=str(n)) for n, row in enumerate(batch.values)])
    held = [
        one.change.low <= truth <= one.change.high
        for one in found
        for truth in [0.2 if one.change.relative > 0 else -0.2]
    ]
    assert len(held) >= 48
    assert np.mean(held) >= 0.8  # of 404 it was 94.5%; of fifty, chance takes its part


def test_an_interval_is_as_wide_as_it_says() -> None:
    logs = np.log(synthetic.batch((TUNING, 10), 1000, df=4).values)
    logs[:, -30:] += np.log1p(0.2)
    found = shift(list(logs[:, -80:]), np.full(1000, 30), 0.0025)
    held = np.abs(found.delta - np.log1p(0.2)) <= 1.96 * found.error
    assert 0.92 <= np.mean(held) <= 0.97


def test_a_wider_spread_about_the_same_median_is_not_confirmed() -> None:
    steady = 10 + 0.05 * (np.arange(30) * 7 % 11 - 5)
    slower, restless = np.full(8, 11.0), 10 + np.tile((1.0, -1.0), 4)
    real = confirm(np.log(np.concatenate([steady, slower])), 30, 0.0025)
    assert real is not None and (real.kernel, real.pelt) == (30, 30)
    # KernelCPD sees another distribution, PELT no other median.
    assert confirm(np.log(np.concatenate([steady, restless])), 30, 0.0025) is None


def test_rarer_scores_are_less_likely() -> None:
    for limit in limits().values():
        chances = [limit.chance(score) for score in (3.0, 4.0, 5.0, 20.0)]
        assert chances == sorted(chances, reverse=True)
        assert limit.chance(limit.score) == pytest.approx(limit.budget, rel=1.0)
