# SPDX-License-Identifier: Apache-2.0
"""Series whose changes are known: what detectors are tuned on, and what they are judged by.

Noise is AR(1) with Student's t as innovations, scaled to the variation asked: slow moments come in
bursts and outliers are common, as in timings of a browser.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

POINTS = 120
#: A shift begins no earlier and no later than at these indices.
EARLIEST, LATEST = 40, 105
#: Of the sets that detectors may be tuned on. Any other is of the held-out set, below.
TUNING_SEED = 6
_HELD_OUT_SEED = 20261122
_SETTLE = 50  # points before the first, so that the series begins in no special state
_LEVELS = (0.5, 5000.0)


@attrs.frozen(kw_only=True, eq=False)
class Batch:
    """Hold series of equal length, and where each of them changes."""

    values: Floats  #: [series, points]
    at: Integers  #: [series]: index of the first point at the new level; `points` without one
    shift: float  #: size of the change, after / before - 1, whichever its direction


def noise(
    random: np.random.Generator, number: int, points: int, *, df: float, phi: float = 0.5
) -> Floats:
    """Return AR(1) noise [number, points] of variance 1; `df` degrees of freedom, more than 2."""
    total = points + _SETTLE
    shocks = random.standard_t(df, size=(number, total)) * np.sqrt((df - 2) / df)
    shocks *= np.sqrt(1 - phi * phi)
    for index in range(1, total):
        shocks[:, index] += phi * shocks[:, index - 1]
    return np.ascontiguousarray(shocks[:, _SETTLE:])


def batch(
    seed: int | tuple[int, ...],
    number: int,
    *,
    df: float,
    shift: float = 0.0,
    points: int = POINTS,
    variation: float = 0.03,
    phi: float = 0.5,
) -> Batch:
    """Return series with one change each, of `shift` up or down at a random place; or without."""
    random = np.random.default_rng(seed)
    values = 1 + variation * noise(random, number, points, df=df, phi=phi)
    at = np.full(number, points)
    if shift:
        at = random.integers(EARLIEST, LATEST + 1, size=number)
        signs = random.choice((-1.0, 1.0), size=number)
        values *= np.where(np.arange(points) >= at[:, None], 1 + shift * signs[:, None], 1.0)
    low, high = _LEVELS
    values *= random.uniform(low, high, size=(number, 1))
    # An outlier of -33 standard deviations would be a negative latency.
    return Batch(values=np.maximum(values, 1e-3), at=at, shift=shift)


def held_out() -> dict[str, Batch]:
    """Return the set that judges the detector once, at the end; nothing is tuned on it."""
    sets = {}
    for df in (3, 4):
        sets[f"none_t{df}"] = batch((_HELD_OUT_SEED, df, 0), 5000, df=df)
        sets[f"ten_t{df}"] = batch((_HELD_OUT_SEED, df, 10), 2000, df=df, shift=0.10)
        sets[f"five_t{df}"] = batch((_HELD_OUT_SEED, df, 5), 2000, df=df, shift=0.05)
    return sets


def digest(sets: dict[str, Batch]) -> str:
    """Return the SHA-256 of sets; to six decimals, so that it is the same on every machine."""
    total = hashlib.sha256()
    for name in sorted(sets):
        one = sets[name]
        total.update(name.encode())
        total.update(np.rint(one.values * 1e6).astype("<i8").tobytes())
        total.update(one.at.astype("<i8").tobytes())
    return total.hexdigest()
