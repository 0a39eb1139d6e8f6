# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `detectors` family: what finds changes of level in a series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelerate_core.errors import Unsupported
from accelerate_core.markers import hookspec
from accelerate_core.protocols import Context

from ..values import Change, Series


class Detector:
    """Find changes. Pure: the same series has the same changes, whatever was asked before."""

    def detect(self, series: Series) -> Sequence[Change]:
        """Return the changes of a series, oldest first; none where nothing can be said.

        Never raises because of values: any number of points, NaN and infinities among them.
        """
        raise Unsupported("this detector does not say how it finds changes")

    def detect_many(self, series: Sequence[Series]) -> Sequence[Sequence[Change]]:
        """Return the changes of each series, as `detect` does; override it to be faster."""
        return [self.detect(one) for one in series]


@hookspec(firstresult=True)
def detector_create(settings: Any, ctx: Context) -> Detector:  # type: ignore[empty-body]
    """Return the detector."""
