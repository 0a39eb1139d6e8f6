# SPDX-License-Identifier: Apache-2.0
"""Findings with one cause are told as one; others are not drawn into it."""

from __future__ import annotations

import attrs
from accelerate_insights import detecting
from accelerate_insights.detecting import synthetic_lab
from accelerate_insights.testing.detectors import series
from accelerate_insights.values import Finding, Series


def at(one: Series, index: int, **columns: tuple[str, str]) -> Series:
    """Let columns of points change at an index."""
    points = tuple(
        attrs.evolve(point, **{name: pair[number >= index] for name, pair in columns.items()})
        for number, point in enumerate(one.points)
    )
    return attrs.evolve(one, points=points)


SLOWER, STEADY = [10.0] * 30 + [13.0] * 10, [10.0] * 40


def found(*several: Series) -> list[Finding]:
    return detecting.find(several)


def test_a_version_explains_what_a_commit_of_the_same_day_would_too() -> None:
    both = {"browser_version": ("141.0", "142.0"), "commit": ("aaa", "bbb")}
    slower = [at(series(SLOWER, key=key), 30, **both) for key in "abc"]
    steady = at(series(STEADY, key="d"), 30, commit=("aaa", "bbb"))
    findings = found(*slower, steady)
    assert {one.cause for one in findings} == {"chromium 141.0 -> 142.0"}
    assert {one.cause_kind for one in findings} == {"browser_version"}
    assert len({one.cause_id for one in findings}) == 1


def test_an_engine_a_system_and_a_commit_are_causes() -> None:
    for column, kind, words in (
        ("engine_version", "engine_version", "webgpu 1 -> 2"),
        ("system", "machine", "machine m 1 -> 2"),
        ("commit", "commit", "commit 1 -> 2"),
    ):
        (one,) = found(at(series(SLOWER), 30, **{column: ("1", "2")}))
        assert (one.cause_kind, one.cause) == (kind, words)


def test_what_changed_elsewhere_is_no_cause() -> None:
    (one,) = found(at(series(SLOWER), 12, browser_version=("141.0", "142.0")))
    assert (one.cause_kind, one.cause, one.cause_id) == (None, None, None)


def test_most_alerts_of_a_lab_are_grouped_under_what_was_planted() -> None:
    lab = synthetic_lab.lab((6, 2))
    grouped = synthetic_lab.judge(lab, detecting.find(lab.series))
    assert grouped.right >= 0.9 * grouped.caused
    assert grouped.drawn_in <= 0.1 * grouped.unrelated
