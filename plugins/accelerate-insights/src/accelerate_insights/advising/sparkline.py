# SPDX-License-Identifier: Apache-2.0
"""A series in one line of text. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from statistics import median

_LEVELS = "▁▂▃▄▅▆▇█"
#: Stands before the first point at another level.
MARK = "│"


def sparkline(values: Sequence[float], width: int, marks: Collection[int] = ()) -> str:
    """Return at most `width` characters: low and high values, oldest first.

    More values than that are taken together to medians. `marks` are indices of values before
    which a mark stands; of marks that fall together one is left. Constant values are in the
    middle.
    """
    room = min(len(values), max(1, width - len(marks)))
    if not room:
        return ""
    parts = list(pairwise(index * len(values) // room for index in range(room + 1)))
    shown = [median(values[begin:end]) for begin, end in parts]
    lowest, highest = min(shown), max(shown)
    line = ""
    for (begin, end), value in zip(parts, shown, strict=True):
        if any(begin <= mark < end for mark in marks):
            line += MARK
        part = (value - lowest) / (highest - lowest) if highest > lowest else 0.5
        line += _LEVELS[min(len(_LEVELS) - 1, int(part * len(_LEVELS)))]
    return line
