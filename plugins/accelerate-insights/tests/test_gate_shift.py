# SPDX-License-Identifier: Apache-2.0
"""Shifts and their intervals: against SciPy, and by simulation of what they promise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from accelerate_insights.gate import ranks
from accelerate_insights.gate.rows import Comparison, Terms, Verdict
from accelerate_insights.gate.shift import inflation, of_blocks, of_samples
from accelerate_insights.gate.spread import Spread, of_runs
from accelerate_insights.gate.verdicts import compare
from scipy.signal import lfilter
from scipy.stats import mannwhitneyu, wilcoxon

from accelerate_core.testing import samples
from accelerate_core.types import RunSummary, Sampling

ALPHA = 0.01


def noise(rng: np.random.Generator, *shape: int, ar: float = 0.0, tails: bool = True) -> Any:
    """Return noise of deviation 1 along the last axis: AR, with t(3) tails or normal ones."""
    drawn = rng.standard_t(3, (*shape[:-1], shape[-1] + 50)) / math.sqrt(3)
    if not tails:
        drawn = rng.standard_normal(drawn.shape)
    return lfilter([1], [1, -ar], drawn)[..., 50:] * math.sqrt(1 - ar**2)


# --- against SciPy --------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [(3, 5), (8, 8), (20, 7), (40, 40), (60, 45)])
def test_chances_of_u_are_scipys(old: int, new: int) -> None:
    rng = np.random.default_rng(old)
    chances = ranks.mann_whitney(old, new)
    assert chances.sum() == pytest.approx(1, abs=1e-6)
    method = "exact" if max(old, new) <= 40 else "asymptotic"
    for _ in range(5):
        x, y = rng.random(old), rng.random(new)
        u, p = mannwhitneyu(x, y, alternative="less", method=method)
        assert chances[: int(u) + 1].sum() == pytest.approx(p, abs=1e-9)


@pytest.mark.parametrize("size", [1, 6, 25, 40, 55])
def test_chances_of_w_are_scipys(size: int) -> None:
    rng = np.random.default_rng(size)
    chances = ranks.signed_rank(size)
    for _ in range(5):
        differences = rng.normal(size=size)
        method = "exact" if size <= 40 else "approx"
        w, p = wilcoxon(differences, alternative="less", method=method, correction=size > 40)
        assert chances[: int(w) + 1].sum() == pytest.approx(p, abs=1e-9)


def test_independent_samples_give_the_textbook_interval() -> None:
    rng = np.random.default_rng(3)
    while True:  # samples that happen not to follow each other
        old, new = np.exp(rng.normal(0, 0.1, 15)), np.exp(rng.normal(0.2, 0.1, 12))
        if inflation(np.log(old), np.log(new)) == 1:
            break
    shift = of_samples(old, new, 0.025)
    ratios = np.sort(np.divide.outer(new, old).ravel())
    assert shift.ratio == pytest.approx(np.sqrt(ratios[89] * ratios[90]))
    # Critical value of U for 12 and 15 at 0.025, of the tables: 49.
    assert (shift.low, shift.high) == pytest.approx((ratios[49], ratios[-50]))
    p = mannwhitneyu(new, old, alternative="greater", method="exact").pvalue
    assert shift.p == pytest.approx(p)


def test_the_interval_and_the_test_agree() -> None:
    rng = np.random.default_rng(8)
    for trial in range(100):
        old, new = np.exp(0.1 * noise(rng, 2, 12))
        for made in (of_samples(old, new * 1.1, ALPHA), of_blocks(old, new * 1.1, ALPHA)):
            if made.inflation == 1 and made.is_known:
                assert (made.low > 1 or made.high < 1) == (made.p <= ALPHA), trial


# --- samples that follow each other ---------------------------------------------------------------


@pytest.mark.parametrize(("ar", "expected"), [(0.0, 1.0), (0.5, 3.0), (0.8, 9.0)])
@pytest.mark.parametrize("tails", [False, True])
def test_inflation_is_what_theory_says(ar: float, expected: float, tails: bool) -> None:
    rng = np.random.default_rng(7)
    found = [inflation(*noise(rng, 2, 60, ar=ar, tails=tails)) for _ in range(300)]
    assert np.median(found) == pytest.approx(expected, rel=0.25)


def test_outliers_hide_no_correlation() -> None:
    rng = np.random.default_rng(7)
    spiky = noise(rng, 200, ar=0.8) + 50 * (rng.random(200) < 0.05)
    assert inflation(spiky) > 3


# --- what is promised -----------------------------------------------------------------------------


def judged(old: Any, new: Any, alpha: float = ALPHA, **options: Any) -> Comparison:
    """Compare two runs of several cells, a row of samples for each."""
    made = []
    for name, rows in (("old", old), ("new", new)):
        cells = [
            samples.measurement(
                number, name, samples_ms=tuple(row), latency_ms=float(np.median(row)), error=None
            )
            for number, row in enumerate(rows, 1)
        ]
        made.append(RunSummary(run=samples.run_info(name), measurements=tuple(cells)))
    alike = {(made[0].measurements[0].series_key, "latency_ms"): Spread(0.0, 3)}
    return compare(*made, Terms(alpha=alpha), **{"spreads": alike, **options})


@pytest.mark.parametrize("is_interleaved", [False, True])
@pytest.mark.parametrize(("ar", "size"), [(0.5, 0.03), (0.5, 0.3)])
def test_false_alarms_are_as_rare_as_promised(ar: float, size: float, is_interleaved: bool) -> None:
    """Of 100 comparisons of 5 cells without a change, at alpha 5 %, 5 may have a false alarm."""
    rng = np.random.default_rng(11)
    false = 0
    for _ in range(100):
        old, new = np.exp(size * noise(rng, 2, 5, 40, ar=ar))
        found = judged(old, new, 0.05, is_interleaved=is_interleaved)
        false += found.count(Verdict.WORSE) > 0
    assert false <= 9  # more than that has a chance of 3 % where alpha is kept
    if size < 0.1:
        assert false <= 1  # the smallest change that counts shelters them


@pytest.mark.parametrize(
    ("is_interleaved", "ar", "repeats", "expected"),
    [(False, 0.0, 20, 0.85), (False, 0.5, 60, 0.9), (True, 0.0, 60, 0.9), (True, 0.5, 120, 0.9)],
)
def test_ten_percent_are_found(
    is_interleaved: bool, ar: float, repeats: int, expected: float
) -> None:
    rng = np.random.default_rng(5)
    verdicts = []
    for _ in range(100):
        old, new = np.exp(0.03 * noise(rng, 2, 1, repeats, ar=ar))
        (row,) = judged(old, new * 1.1, is_interleaved=is_interleaved).rows
        verdicts.append(row.verdict)
    assert verdicts.count(Verdict.WORSE) >= expected * len(verdicts)
    assert not verdicts.count(Verdict.BETTER)


@pytest.mark.parametrize("made", [of_blocks, of_samples])
def test_a_tenfold_slow_down_is_seen_where_samples_are_much_alike(made: Any) -> None:
    """Of 29 blocks AR(0.72) leaves about 5 independent ones: ranks alone would say nothing."""
    rng = np.random.default_rng(3)
    found = known_by_ranks = 0
    for _ in range(100):
        old, new = np.exp(0.1 * noise(rng, 2, 58, ar=0.85))
        shift = made(old, 10 * new, ALPHA)
        found += shift.low > 1.05
        known_by_ranks += shift.independent >= shift.needed
    assert found >= 65 and known_by_ranks < 50


@pytest.mark.parametrize("made", [of_blocks, of_samples])
def test_false_alarms_are_few_where_samples_are_hardly_independent(made: Any) -> None:
    """With AR(0.9) and 30 blocks or samples, about twice as many as asked: 2 % to each side."""
    rng = np.random.default_rng(12)
    false = 0
    for _ in range(400):
        old, new = np.exp(0.3 * noise(rng, 2, 30, ar=0.9))
        if made is of_blocks:  # differences that are alike from one block to the next
            old, new = np.ones(60), np.repeat(new / old, 2)
        shift = made(old, new, ALPHA)
        false += shift.low > 1 or shift.high < 1
    assert false <= 16  # intervals half as wide, where there are few, give 17 and 24


def test_turns_see_through_a_machine_that_gets_slower() -> None:
    """A drift of 30 % in a run, and noise that both share, hide nothing from samples in turns."""
    rng = np.random.default_rng(2)
    shared = np.linspace(0, 0.3, 80) + 0.1 * noise(rng, 80, ar=0.9)
    old, new = np.zeros(40), np.zeros(40)
    for pair in range(40):  # A B B A
        first, second = (old, new) if pair % 2 == 0 else (new, old)
        first[pair], second[pair] = shared[2 * pair], shared[2 * pair + 1]
    old, new = (np.exp([one + 0.01 * noise(rng, 40)]) for one in (old, new))
    assert judged(old, new * 1.1, is_interleaved=True).verdict is Verdict.WORSE
    assert judged(old, new * 1.1).verdict is Verdict.UNDECIDED
    assert judged(old, new, is_interleaved=True).count(Verdict.WORSE) == 0


@pytest.mark.parametrize("earlier", [3, 13])
def test_what_runs_differ_among_themselves_is_no_change(earlier: int) -> None:
    """Runs that differ by 6 % look like changes to their own samples, and not to their history."""
    rng = np.random.default_rng(4 + earlier)
    key = ("ab" * 32, "latency_ms")
    alone = known = 0
    for _ in range(200):
        levels = 0.06 * rng.standard_normal(earlier + 1)
        old, new = (np.exp([level + 0.02 * noise(rng, 30)]) for level in levels[-2:])
        spread = of_runs(list(np.exp(levels[:-1])))
        assert spread is not None
        alone += judged(old, new).count(Verdict.WORSE)
        known += judged(old, new, spreads={key: spread}).count(Verdict.WORSE)
    assert alone > 30
    assert known <= 5  # 1 % of 200 is 2


def test_a_spread_ignores_one_old_change_of_level() -> None:
    rng = np.random.default_rng(1)
    medians = np.exp(0.03 * rng.standard_normal(20))
    medians[:10] *= 2
    spread = of_runs(list(medians))
    assert spread is not None and spread.deviation == pytest.approx(0.03, rel=0.5)
    assert of_runs(list(medians[:2])) is None
    # What differed long ago says nothing of today.
    latest = of_runs([*np.exp(rng.standard_normal(30)), *medians[10:], *medians])
    assert latest is not None and latest.runs == 30
    assert latest.deviation == pytest.approx(0.03, rel=0.5)
    assert Spread(0.03, 6).half_width(0.01) > Spread(0.03, 30).half_width(0.01)


# --- the edges ------------------------------------------------------------------------------------


def test_one_sample_and_constant_samples_have_defined_results() -> None:
    alone = of_samples([10.0], [11.0], ALPHA)
    assert alone.ratio == pytest.approx(1.1) and not alone.is_known and alone.low == 0
    assert not of_blocks([10.0], [11.0], ALPHA).is_known
    same = of_samples([10.0] * 20, [10.0] * 20, ALPHA)
    assert (same.ratio, same.low, same.high) == (1, 1, 1) and same.p > 0.5
    other = of_blocks([10.0] * 20, [11.0] * 20, ALPHA)
    assert (other.low, other.high) == pytest.approx((1.1, 1.1)) and other.p < ALPHA


def test_a_warm_up_that_one_side_left_out_keeps_the_others_in_step() -> None:
    """Every pair is alike but for 10 %; a step between pairs would hide it in steps of 1 to 40."""
    steps = np.repeat(np.random.default_rng(6).permutation(40) + 1.0, 2)
    old = samples.measurement(samples_ms=tuple(steps[3:]), sampling=Sampling(warmup_ms=(9.0,) * 3))
    new = samples.measurement(samples_ms=tuple(1.1 * steps))
    (row,) = compare(
        RunSummary(run=samples.run_info("a"), measurements=(old,)),
        RunSummary(run=samples.run_info("b"), measurements=(new,)),
        is_interleaved=True,
    ).rows
    assert row.verdict is Verdict.WORSE
    assert row.low == pytest.approx(0.1) and row.high == pytest.approx(0.1)
