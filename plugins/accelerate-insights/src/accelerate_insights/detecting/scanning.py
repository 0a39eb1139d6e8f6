# SPDX-License-Identifier: Apache-2.0
"""Look at many series after each of their points: when is a new level evident?

A look sees only the points up to it. Medians screen looks; those that are left are weighed by their
likelihood ratio, earliest first, until one is enough.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

import attrs
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .likelihood import Floats, Integers, locate, median, shift
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
    index: int  #: where the shift most likely is
    earliest: int  #: where it may be as well
    latest: int


def candidates(logs: Floats, step: float) -> Integers:
    """Return [looks, 3] of (row, seen, last) that pass the screen, in this order."""
    points = logs.shape[1]
    found = []
    middle, deviation = _levels(logs)
    for last, factor in SCREENS.items():
        if points < FEWEST + last:
            continue
        recent = median(sliding_window_view(logs, last, axis=1))
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
    found = shift(_windows(logs, looks), looks[:, 2], step * FLOOR)
    # What the fit finds smaller than the least effect is none, whatever medians say.
    return np.where(np.abs(found.delta) >= step, found.score, 0.0)


def _windows(logs: Floats, looks: Integers) -> list[Floats]:
    """Return the points that each look sees."""
    return [logs[row, max(0, seen - last - MOST) : seen] for row, seen, last in looks.tolist()]


def first_alarms(
    logs: Floats,
    until: Integers,
    after: Integers,
    step: float,
    limits: Mapping[int, Limit],
    is_confirmed: Callable[[Look], bool],
) -> dict[int, Look]:
    """Return the first look of each row that finds a new level.

    A row has `until` points, and whatever after them; looks up to `after` are over. `step` is the
    least difference of logarithms. Of windows that agree at one look, the one with the least chance
    counts.
    """
    every = candidates(logs, step)
    rows, seen = every[:, 0], every[:, 1]
    every = every[(seen > after[rows]) & (seen <= until[rows])]
    waiting: dict[int, Iterator[list[list[int]]]] = {}
    starts = np.flatnonzero(np.diff(every[:, 0], prepend=-1))
    for looks in np.split(every, starts[1:]) if len(every) else []:
        waiting[int(looks[0, 0])] = _chunks(looks.tolist())
    alarms: dict[int, Look] = {}
    while waiting:
        turn = {row: next(chunks, None) for row, chunks in waiting.items()}
        waiting = {row: waiting[row] for row, looks in turn.items() if looks}
        chosen = np.array([look for looks in turn.values() for look in looks or ()], dtype=np.int64)
        enough: dict[int, list[Look]] = defaultdict(list)
        for look in _evident(logs, chosen, step, limits):
            enough[look.row].append(look)
        for row, found in enough.items():
            ranked = sorted(found, key=lambda one: (one.seen, limits[one.last].chance(one.score)))
            if alarm := next(filter(is_confirmed, ranked), None):
                alarms[row] = alarm
                del waiting[row]
    return alarms


def _evident(
    logs: Floats, looks: Integers, step: float, limits: Mapping[int, Limit]
) -> Iterable[Look]:
    """Yield the looks whose score is enough, with the place of the shift."""
    if not len(looks):
        return
    scores = weigh(logs, looks, step)
    is_enough = scores >= np.array([limits[last].score for last in looks[:, 2].tolist()])
    looks, scores = looks[is_enough], scores[is_enough]
    if not len(looks):
        return
    backs = locate(_windows(logs, looks), looks[:, 2], step * FLOOR)
    for (row, seen, last), score, (least, best, most) in zip(
        looks.tolist(), scores.tolist(), backs.tolist(), strict=True
    ):
        yield Look(
            row=row,
            seen=seen,
            last=last,
            score=score,
            earliest=seen - most,
            index=seen - best,
            latest=seen - least,
        )


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
        middle[:, before] = median(part)
        deviation[:, before] = median(np.abs(part - middle[:, before, None]))
    return middle, 1.4826 * deviation
