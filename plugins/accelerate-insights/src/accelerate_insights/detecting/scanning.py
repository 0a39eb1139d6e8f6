# SPDX-License-Identifier: Apache-2.0
"""Look at many series of equal length after each of their points: when is a new level evident?

A look sees only the points up to it. Medians screen looks; those that are left are weighed by their
likelihood ratio, earliest first, until one is enough.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import attrs
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .likelihood import Floats, Integers, shift
from .limits import Limit

#: Points that a level needs before another can be told from it, and the most that are looked at.
FEWEST, MOST = 8, 100
#: By window, the number of points since a shift: medians must differ by so many of the deviations
#: before. Looks that pass with less never had a score near a limit in simulations.
SCREENS: Mapping[int, float] = {5: 2.5, 8: 1.8, 16: 1.2}
#: Noise below this share of the least effect is taken for so much: a constant series has none.
FLOOR = 1 / 20
_AT_ONCE = 3  # looks of a series that are weighed together


@attrs.frozen(kw_only=True)
class Look:
    """Hold what one look at one series found."""

    row: int
    seen: int  #: points there were
    last: int  #: of them after the shift, by assumption
    score: float


def candidates(logs: Floats, step: float) -> Integers:
    """Return [looks, 3] of (row, seen, last) that pass the screen, in this order."""
    points = logs.shape[1]
    found = []
    middle, deviation = _levels(logs)
    for last, factor in SCREENS.items():
        if points < FEWEST + last:
            continue
        recent = np.median(sliding_window_view(logs, last, axis=1), axis=-1)
        before = slice(FEWEST, points - last + 1)
        moved = np.abs(recent[:, FEWEST:] - middle[:, before])
        row, length = np.nonzero(moved >= np.maximum(step, factor * deviation[:, before]))
        found.append(np.stack([row, length + FEWEST + last, np.full_like(row, last)], axis=1))
    if not found:
        return np.empty((0, 3), dtype=np.int64)
    every = np.concatenate(found)
    return every[np.lexsort((every[:, 2], every[:, 1], every[:, 0]))]


def weigh(logs: Floats, looks: Integers, step: float) -> Floats:
    """Return the score of each look."""
    scores = np.zeros(len(looks))
    together: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, (_, seen, last) in enumerate(looks.tolist()):
        together[seen, last].append(index)
    for (seen, last), chosen in together.items():
        begin = max(0, seen - last - MOST)
        found = shift(logs[looks[chosen, 0], begin:seen], last, step * FLOOR)
        # What the fit finds smaller than the least effect is none, whatever medians say.
        scores[chosen] = np.where(np.abs(found.delta) >= step, found.score, 0.0)
    return scores


def first_alarms(
    logs: Floats,
    after: Sequence[int],
    step: float,
    limits: Mapping[int, Limit],
    is_confirmed: Callable[[Look], bool],
) -> dict[int, Look]:
    """Return the first look of each row that finds a new level; those up to `after` are over.

    `step` is the least difference of logarithms. Of windows that agree at one look, the one with
    the least chance counts.
    """
    every = candidates(logs, step)
    every = every[every[:, 1] > np.asarray(after)[every[:, 0]]]
    waiting: dict[int, Iterator[list[list[int]]]] = {}
    starts = np.flatnonzero(np.diff(every[:, 0], prepend=-1))
    for looks in np.split(every, starts[1:]) if len(every) else []:
        waiting[int(looks[0, 0])] = _chunks(looks.tolist())
    alarms: dict[int, Look] = {}
    while waiting:
        turn = {row: next(chunks, None) for row, chunks in waiting.items()}
        waiting = {row: waiting[row] for row, looks in turn.items() if looks}
        chosen = np.array([look for looks in turn.values() for look in looks or ()], dtype=np.int64)
        if not len(chosen):
            break
        enough: dict[int, list[Look]] = defaultdict(list)
        for (row, seen, last), score in zip(
            chosen.tolist(), weigh(logs, chosen, step).tolist(), strict=True
        ):
            if score >= limits[last].score:
                enough[row].append(Look(row=row, seen=seen, last=last, score=score))
        for row, found in enough.items():
            ranked = sorted(found, key=lambda one: (one.seen, limits[one.last].chance(one.score)))
            if alarm := next(filter(is_confirmed, ranked), None):
                alarms[row] = alarm
                del waiting[row]
    return alarms


def _chunks(looks: list[list[int]]) -> Iterator[list[list[int]]]:
    """Yield looks some at a time; those at the same point together."""
    remaining = iter(looks)
    while chunk := list(islice(remaining, _AT_ONCE)):
        yield chunk


def _levels(logs: Floats) -> tuple[Floats, Floats]:
    """Return the median and the median deviation of what is before each point, at most `MOST`."""
    middle, deviation = np.zeros_like(logs), np.zeros_like(logs)
    for before in range(FEWEST, logs.shape[1]):
        part = logs[:, max(0, before - MOST) : before]
        middle[:, before] = np.median(part, axis=1)
        deviation[:, before] = np.median(np.abs(part - middle[:, before, None]), axis=1)
    return middle, 1.4826 * deviation
