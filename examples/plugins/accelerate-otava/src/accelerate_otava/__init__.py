# SPDX-License-Identifier: Apache-2.0
"""Apache Otava as a detector: E-divisive means with Student's t, as in its paper.

Fleming et al., "Hunter: Using Change Point Detection to Hunt for Performance Regressions" (2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
from accelerate_insights.hookspecs.detector import Detector
from accelerate_insights.values import Change, Series

from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Context

_TWO_SIDED = 1.96
_FAR = math.log(1e6)


@attrs.frozen(kw_only=True)
class OtavaSettings:
    """Set how sure Otava is to be."""

    #: Changes with a greater chance than this to be noise are left out.
    max_pvalue: float = attrs.field(
        default=0.001, validator=[attrs.validators.gt(0.0), attrs.validators.lt(0.5)]
    )
    #: Least change that counts, as a part of the level before.
    min_effect: float = attrs.field(default=0.05, validator=attrs.validators.gt(0.0))
    #: Runs that are looked at together.
    window: int = attrs.field(default=50, validator=attrs.validators.ge(10))


@attrs.frozen
class OtavaDetector(Detector):
    """Find changes of the mean by hierarchical division."""

    settings: OtavaSettings

    def detect(self, series: Series) -> Sequence[Change]:
        """Return the changes of a series, oldest first."""
        from accelerate_insights.detecting.cleaning import clean
        from otava.analysis import compute_change_points

        known = clean(series)
        if not len(known.values):
            return ()
        # Squares of very large and very small numbers are no numbers, and nothing in a history is a
        # million times its median.
        middle = float(np.median(known.values))
        values = np.exp(np.clip(np.log(known.values) - math.log(middle), -_FAR, _FAR))
        found, _ = compute_change_points(
            values.tolist(),
            window_len=self.settings.window,
            max_pvalue=self.settings.max_pvalue,
            min_magnitude=self.settings.min_effect,
        )
        edges = [0, *(one.index for one in found), len(known.values)]
        counts = [end - begin for begin, end in pairwise(edges)]
        return [
            _change(one.stats, middle, known.indices[one.index], *counts)
            for one, counts in zip(found, pairwise(counts), strict=True)
        ]


def _change(stats: Any, unit: float, index: int, before: int, after: int) -> Change:
    relative = float(stats.mean_2 / stats.mean_1) - 1
    error = math.hypot(stats.std_1 / math.sqrt(before), stats.std_2 / math.sqrt(after))
    margin = _TWO_SIDED * error / float(stats.mean_1)
    return Change(
        index=index,
        before=unit * float(stats.mean_1),
        after=unit * float(stats.mean_2),
        low=relative - margin,
        high=relative + margin,
        confidence=1 - float(stats.pvalue),
        evidence={
            "detector": "otava",
            "p_value": float(stats.pvalue),
            "runs_before": before,
            "runs_after": after,
        },
    )


class OtavaPlugin:
    """Finds changes with Apache Otava."""

    name = "otava"
    settings = OtavaSettings

    @hookimpl
    def detector_create(self, settings: OtavaSettings | None, ctx: Context) -> Detector:
        """Return the detector."""
        return OtavaDetector(settings or OtavaSettings())
