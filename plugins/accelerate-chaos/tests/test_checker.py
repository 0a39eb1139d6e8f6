# SPDX-License-Identifier: Apache-2.0
"""The checker finds what is planted, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from accelerate_chaos.checker import Checker, Rule

from accelerate_core.errors import JobTimeout

RIGHT = {"y": np.array([[3.0, 4.0]], np.float32)}


@pytest.fixture
def checker() -> Checker:
    """Return a checker with a worker that lives, and one request answered well."""
    checker = Checker()
    checker.came("w", "w#1")
    _answered(checker, "r0")
    return checker


def _answered(checker: Checker, request: str, outputs: Mapping[str, np.ndarray] = RIGHT) -> None:
    checker.asked(request, RIGHT)
    checker.accepted(request, "w")
    checker.answered(request, outputs, "w#1")


def _rules(checker: Checker) -> list[tuple[Rule, str]]:
    return [(one.rule, one.about) for one in checker.findings()]


def test_what_is_answered_or_refused_with_a_typed_error_is_well(checker: Checker) -> None:
    checker.asked("r1", RIGHT)
    checker.refused("r1", JobTimeout("no answer"))
    assert checker.findings() == ()


def test_a_lost_request_is_found(checker: Checker) -> None:
    checker.asked("r1", RIGHT)
    assert _rules(checker) == [(Rule.LOST, "r1")]


@pytest.mark.parametrize(
    "outputs",
    [
        {"y": np.array([[3.0, 4.01]], np.float32)},
        {"y": np.array([[3.0, np.nan]], np.float32)},
        {"y": np.array([3.0, 4.0], np.float32)},
        {"y": np.array([[3.0, 4.0]], np.float64)},
        {"z": np.array([[3.0, 4.0]], np.float32)},
        {},
    ],
)
def test_a_wrong_answer_is_found(checker: Checker, outputs: Mapping[str, np.ndarray]) -> None:
    _answered(checker, "r1", outputs)
    assert _rules(checker) == [(Rule.WRONG, "r1")]


def test_an_answer_within_the_tolerance_is_right(checker: Checker) -> None:
    _answered(checker, "r1", {"y": np.array([[3.0, 4.0001]], np.float32)})
    assert checker.findings() == ()


def test_the_answer_to_another_request_is_wrong(checker: Checker) -> None:
    checker.asked("r1", {"y": np.array([[5.0, 6.0]], np.float32)})
    checker.accepted("r1", "w")
    checker.answered("r1", RIGHT, "w#1")
    assert _rules(checker) == [(Rule.WRONG, "r1")]


def test_a_doubled_answer_is_found(checker: Checker) -> None:
    checker.answered("r0", RIGHT, "w#1")
    assert _rules(checker) == [(Rule.DOUBLED, "r0")]


def test_an_answer_accepted_twice_is_found(checker: Checker) -> None:
    checker.accepted("r0", "w")
    assert _rules(checker) == [(Rule.DOUBLED, "r0")]


def test_an_error_after_an_answer_is_found(checker: Checker) -> None:
    checker.refused("r0", JobTimeout("too late"))
    assert _rules(checker) == [(Rule.DOUBLED, "r0")]


def test_an_answer_of_a_worker_that_was_gone_is_found(checker: Checker) -> None:
    checker.asked("r1", RIGHT)
    checker.went("w", "w#1")
    checker.accepted("r1", "w")
    assert _rules(checker)[0] == (Rule.STALE, "r1")


def test_an_answer_of_an_epoch_that_is_over_is_found(checker: Checker) -> None:
    checker.asked("r1", RIGHT)
    checker.went("w", "w#1")
    checker.came("w", "w#2")
    checker.accepted("r1", "w")
    checker.answered("r1", RIGHT, "w#1")
    assert _rules(checker) == [(Rule.STALE, "r1")]


def test_the_end_of_an_old_epoch_says_nothing_of_the_new_one(checker: Checker) -> None:
    checker.came("w", "w#2")
    checker.went("w", "w#1")
    checker.asked("r1", RIGHT)
    checker.accepted("r1", "w")
    checker.answered("r1", RIGHT, "w#2")
    assert checker.findings() == ()


def test_an_untyped_error_is_found(checker: Checker) -> None:
    checker.asked("r1", RIGHT)
    checker.refused("r1", KeyError("r1"))
    assert _rules(checker) == [(Rule.UNTYPED, "r1")]


def test_an_answer_nobody_asked_for_is_found(checker: Checker) -> None:
    checker.answered("r9", {}, "w#1")
    assert (Rule.WRONG, "r9") in _rules(checker)


def test_a_request_is_asked_once(checker: Checker) -> None:
    with pytest.raises(ValueError, match="asked already"):
        checker.asked("r0", RIGHT)
