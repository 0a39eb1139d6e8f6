# SPDX-License-Identifier: Apache-2.0
"""Ask two detectors of another kind, from ruptures, whether a shift is where it seems to be.

KernelCPD (rbf kernel; Arlot, Celisse and Harchaoui, 2019) looks for any other distribution and is
quick, so it screens; PELT with the L1 cost and every index as a candidate (Killick, Fearnhead and
Eckley, 2012) looks for another median, and confirms. By themselves both take bursts of slow runs
for shifts: their word is needed and not enough.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from .likelihood import Floats

#: Points before the shift that are looked at: PELT's time grows with their square.
_BEFORE = 8
_LEAST = 3  # points of a level
_NEAR = 2  # points between the places
#: Penalties of a change. They are low: nearly all real shifts pass, half of the bursts do not.
_KERNEL_PENALTY, _PELT_PENALTY = 1.5, 3.0


@attrs.frozen(kw_only=True)
class Confirmed:
    """Hold where each of the two sees the shift, as an index into the values given."""

    kernel: int
    pelt: int


def confirm(logs: Floats, index: int, floor: float) -> Confirmed | None:
    """Return where both see a shift near `index` of a series; None when one of them does not."""
    from ruptures import KernelCPD, Pelt

    begin = max(0, index - _BEFORE)
    window = logs[begin:].reshape(-1, 1)
    kernel = _nearest(KernelCPD("rbf", min_size=_LEAST), window, _KERNEL_PENALTY, index - begin)
    if kernel is None:
        return None
    noise = max(float(np.median(np.abs(np.diff(window[:, 0])))), floor)
    pelt = _nearest(
        Pelt("l1", jump=1, min_size=_LEAST), window, _PELT_PENALTY * noise, index - begin
    )
    return None if pelt is None else Confirmed(kernel=kernel + begin, pelt=pelt + begin)


def _nearest(detector: Any, window: Floats, penalty: float, index: int) -> int | None:
    breaks = detector.fit(window).predict(pen=penalty)[:-1]
    near = [one for one in breaks if abs(one - index) <= _NEAR]
    return min(near, key=lambda one: abs(one - index), default=None)
