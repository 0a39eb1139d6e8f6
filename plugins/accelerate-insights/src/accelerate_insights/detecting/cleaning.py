# SPDX-License-Identifier: Apache-2.0
"""From points as they were stored to one positive number for each run. Pure."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import median

import attrs
import numpy as np

from ..values import Series
from .likelihood import Floats


@attrs.frozen(kw_only=True, eq=False)
class Cleaned:
    """Hold one value for each run, in the order of the points."""

    values: Floats
    indices: tuple[int, ...]  #: in the series, of each run's first point
    left_out: int  #: points without a positive, finite value
    pooled: int  #: points beyond the first of their run
    backwards: int  #: times at which the clock went back


def clean(series: Series) -> Cleaned:
    """Leave out what is no positive number, and take the median of points of one run.

    Points stay in the order they have, whatever their clocks say; runs may have any gaps.
    """
    runs: dict[str, list[int]] = {}
    for index, point in enumerate(series.points):
        if math.isfinite(point.value) and point.value > 0:
            runs.setdefault(point.run_id, []).append(index)
    kept = sum(len(indices) for indices in runs.values())
    points = series.points
    return Cleaned(
        values=np.array(
            [median(points[index].value for index in indices) for indices in runs.values()]
        ),
        indices=tuple(indices[0] for indices in runs.values()),
        left_out=len(points) - kept,
        pooled=kept - len(runs),
        backwards=sum(after.at < before.at for before, after in pairwise(points)),
    )
