# SPDX-License-Identifier: Apache-2.0
"""What samples say: intervals hold the truth as often as stated, warm-ups end where they end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_core.measuring import sampling
from accelerate_core.measuring.sampling import (
    MAX_SAMPLES,
    Steady,
    effective_count,
    missing,
    percentile,
    reach,
    share,
    spread,
    steady,
)
from accelerate_core.types import Estimate

Draw = Callable[[np.random.Generator, int], np.ndarray]


def normal(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.standard_normal(count)


def heavy(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw from Student's t with 3 degrees of freedom."""
    return rng.standard_t(3, count)


def alike(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw an AR(1) process in which each value keeps half of the one before."""
    return np.convolve(rng.standard_normal(count + 29), 0.5 ** np.arange(30), "valid")


def covered(draw: Draw, count: int, percent: int, rounds: int = 300) -> tuple[float, float]:
    """Return how many intervals are known, and how many of those hold the true percentile."""
    rng = np.random.default_rng(count + percent)
    # True ones by a sample large enough that its own error does not matter here.
    truth = float(np.quantile(draw(np.random.default_rng(0), 200_000), percent / 100))
    found = [percentile(draw(rng, count), percent) for _ in range(rounds)]
    known = [one for one in found if one and one.low is not None and one.high is not None]
    return len(known) / rounds, sum(one.low <= truth <= one.high for one in known) / len(known)


@pytest.mark.parametrize("draw", [normal, heavy, alike])
@pytest.mark.parametrize(("count", "percent"), [(60, 50), (300, 50), (300, 90), (2000, 99)])
def test_intervals_hold_the_true_percentile_as_often_as_stated(
    draw: Draw, count: int, percent: int
) -> None:
    known, held = covered(draw, count, percent)
    # 300 rounds: 95 % is found as 92 % or more 99 times in 100. Ranks are whole, so rather more.
    assert known > 0.9 and held >= 0.92


def test_without_autocorrelation_taken_into_account_they_would_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sampling, "autocorrelation_time", lambda values: 1.0)
    assert covered(alike, 300, 50)[1] < 0.88


def test_stopping_at_an_interval_keeps_it_honest_and_no_wider_than_asked() -> None:
    rng = np.random.default_rng(5)
    for draw, least in ((normal, 0.93), (heavy, 0.93), (alike, 0.88)):
        held = []
        for _ in range(100):
            samples = 100 * (1 + 0.03 * draw(rng, 2_000))
            count = 0
            while more := missing(samples[:count], 20, 0.01):
                count += more
            found = percentile(samples[steady(samples[:count]).start : count], 50)
            assert found and found.low and found.high and reach(found) <= 0.01
            held.append(found.low <= 100 <= found.high)
        assert sum(held) / len(held) >= least


def test_more_samples_are_asked_for_only_while_they_are_needed() -> None:
    rng = np.random.default_rng(6)
    assert missing([], 20) == missing([], 20, 0.02) == 20
    assert missing([5.0] * 17, 20) == 3
    assert missing([5.0] * 20, 20, 0.001) == 0  # equal ones: nothing is left to learn
    wide = list(100 + 30 * rng.standard_normal(20))
    assert missing(wide, 20) == 0 < missing(wide, 20, 0.02) <= 20
    # Those of the warm-up do not count.
    assert missing([50.0, 30.0, *[5.0 + 0.01 * (i % 7) for i in range(18)]], 20) == 2
    assert missing(rng.exponential(size=MAX_SAMPLES) + 1, 20, 1e-9) == 0


@pytest.mark.parametrize(
    ("percent", "value_from", "interval_from"), [(50, 3, 6), (90, 10, 36), (95, 20, 72)]
)
def test_too_few_samples_give_no_percentile_and_no_interval(
    percent: int, value_from: int, interval_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "autocorrelation_time", lambda values: 1.0)

    def of(count: int) -> Estimate | None:
        return percentile([float(index) for index in range(count)], percent)

    assert of(value_from - 1) is None
    first = of(value_from)
    assert first is not None and first.low is None and first.high is None
    before, then = of(interval_from - 1), of(interval_from)
    assert before is not None and before.low is None
    assert then is not None and then.low is not None and then.high is not None
    assert then.low <= then.value <= then.high


@given(st.lists(st.floats(0.001, 1e6), max_size=60), st.sampled_from(sampling.PERCENTILES))
def test_whatever_the_samples_are_the_numbers_are_theirs(
    samples: list[float], percent: int
) -> None:
    found = percentile(samples, percent)
    if found is not None:
        assert min(samples) <= found.value <= max(samples)
        assert (found.low is None) == (found.high is None)
        if found.low is not None and found.high is not None:
            assert min(samples) <= found.low <= found.high <= max(samples)
            assert (reach(found) or 0) >= 0
    assert 0 <= steady(samples).start <= len(samples) // 2
    assert 0 <= effective_count(samples) <= len(samples)
    assert missing(samples, 3) >= 0 and (spread(samples) or 0) >= 0


def test_a_constant_series_is_steady_and_exactly_known() -> None:
    samples = [2.0] * 50
    assert steady(samples) == Steady() and spread(samples) == 0
    found = percentile(samples, 50)
    assert found is not None and (found.low, found.value, found.high) == (2.0, 2.0, 2.0)
    assert spread([0.0] * 5) is None and reach(percentile([0.0] * 50, 50)) is None


@pytest.mark.parametrize("draw", [normal, heavy, alike])
@pytest.mark.parametrize("count", [20, 200])
def test_what_is_steady_from_the_start_is_left_whole(draw: Draw, count: int) -> None:
    rng = np.random.default_rng(count)
    found = [steady(100 * (1 + 0.03 * draw(rng, count))) for _ in range(300)]
    assert sum(one.start > 0 for one in found) <= 0.05 * 300
    assert sum(one.change is not None for one in found) <= 0.06 * 300


@pytest.mark.parametrize("draw", [normal, heavy])
def test_a_warm_up_is_left_out(draw: Draw) -> None:
    rng = np.random.default_rng(1)
    first, level, decay = [], [], []
    for _ in range(200):
        samples = 100 * (1 + 0.03 * draw(rng, 200))
        first.append(steady(np.concatenate((samples[:3] * 2, samples[3:20]))).start)
        level.append(steady(np.concatenate((samples[:50] * 1.1, samples[50:]))).start)
        decay.append(steady(samples * (1 + np.exp(-np.arange(200) / 8))).start)
    assert np.mean(np.array(first) == 3) > 0.9
    assert np.mean(np.abs(np.array(level) - 50) <= 10) > 0.9
    # After 10 to 30 of them, what is left of a decay with 8 is 30 to 2 % of it.
    assert 6 <= np.median(decay) <= 40


def test_a_level_that_changes_late_is_no_warm_up_and_is_said() -> None:
    rng = np.random.default_rng(2)
    samples = 100 * (1 + 0.02 * rng.standard_normal(200))
    slower = steady(np.concatenate((samples[:30], samples[30:] * 1.2)))
    assert slower.start == 0 and slower.change == pytest.approx(0.2, abs=0.03)
    faster = steady(np.concatenate((samples[:160] * 1.2, samples[160:])))
    assert faster.start == 0 and faster.change == pytest.approx(1 / 1.2 - 1, abs=0.03)


def test_a_share_has_the_interval_of_wilson() -> None:
    found = share(10, 10)  # tables: 0.722 to 1
    assert (found.value, found.high) == (1.0, 1.0) and found.low == pytest.approx(0.7225, abs=1e-4)
    rng = np.random.default_rng(3)
    drawn = [share(int(one), 200) for one in rng.binomial(200, 0.97, 1000)]
    assert sum(one.low <= 0.97 <= one.high for one in drawn) >= 930  # type: ignore[operator]
