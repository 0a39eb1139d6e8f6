# SPDX-License-Identifier: Apache-2.0
"""Whether several workers gave the same answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import NumericalError
from ..measuring.numbers import relative_l2

if TYPE_CHECKING:
    from ..types import Array


def agree(
    answers: Mapping[int, Mapping[str, Array]], tolerance: float
) -> tuple[int | None, tuple[int, ...]]:
    """Return the answer that a majority agrees with, and those that do not agree with it.

    `answers` are outputs by attempt; two agree whose relative L2 distance is within `tolerance`.
    Of several such answers the one with most company counts, then the earliest attempt.
    Without a majority: None, and every attempt.
    """
    company = {
        number: [other for other in answers if _is_close(answers[other], one, tolerance)]
        for number, one in answers.items()
    }
    accepted = max(company, key=lambda number: (len(company[number]), -number))
    if 2 * len(company[accepted]) <= len(answers):
        return None, tuple(answers)
    return accepted, tuple(other for other in answers if other not in company[accepted])


def _is_close(one: Mapping[str, Array], other: Mapping[str, Array], tolerance: float) -> bool:
    try:
        # Either may stand for the truth: the distance must not depend on which.
        return max(relative_l2(one, other), relative_l2(other, one)) <= tolerance
    except NumericalError:
        return False
