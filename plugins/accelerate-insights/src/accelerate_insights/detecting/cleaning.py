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
    runs: dict[str, list[float]] = {}
    indices: list[int] = []
    points = series.points
    for index, point in enumerate(points):
        if 0 < point.value < math.inf:
            values = runs.setdefault(point.run_id, [])
            if not values:
                indices.append(index)
            values.append(point.value)
    kept = sum(map(len, runs.values()))
    return Cleaned(
        values=np.array([one[0] if len(one) == 1 else median(one) for one in runs.values()]),
        indices=tuple(indices),
        left_out=len(points) - kept,
        pooled=kept - len(runs),
        backwards=sum(after.at < before.at for before, after in pairwise(points)),
    )
