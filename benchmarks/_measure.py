# SPDX-License-Identifier: Apache-2.0
"""Figures, the order of pairs, and their statistics. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
#: Reduces resampled pairs, [resamples, pairs] each, to one number per resample.
Statistic: TypeAlias = Callable[[Floats, Floats], Floats]

_RESAMPLES = 2000
_CONFIDENCE = 0.95


@attrs.frozen(kw_only=True)
class Figure:
    """Hold one measured number, what it should be, and under which conditions it was taken."""

    figure: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    #: Held against the target in place of the value: a bound of its interval, say.
    judged: float | None = None
    conditions: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def target(self) -> str | None:
        """The target in words; None for a figure that is only reported."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return f">= {self.at_least:g}" if self.at_least is not None else None

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None without one."""
        value = self.value if self.judged is None else self.judged
        if self.at_most is not None:
            return value <= self.at_most
        return value >= self.at_least if self.at_least is not None else None

    def line(self) -> str:
        """Return the figure as one line of JSON."""
        return json.dumps(
            {
                "figure": self.figure,
                "value": rounded(self.value),
                "unit": self.unit,
                "target": self.target,
                "holds": self.holds,
                "conditions": self.conditions,
            }
        )


@attrs.frozen
class Estimate:
    """Hold a statistic with its 95% bootstrap interval."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> list[float]:
        """Both bounds, for a figure's conditions."""
        return [rounded(self.low), rounded(self.high)]


def rounded(value: float) -> float:
    """Return four significant digits."""
    return float(f"{value:.4g}")


def turns(pairs: int) -> Iterator[tuple[str, str]]:
    """Yield which of A and B comes first in each pair: A B, B A, A B, ...

    A machine that gets slower or faster meanwhile then favours neither.
    """
    for index in range(pairs):
        yield ("a", "b") if index % 2 == 0 else ("b", "a")


def paired_ratio(a: Sequence[float], b: Sequence[float], *, seed: int = 0) -> Estimate:
    """Return the median of a/b over pairs; the interval resamples pairs."""
    return _bootstrap(a, b, lambda x, y: np.median(x / y, axis=1), seed)


def percentile_ratio(
    a: Sequence[float], b: Sequence[float], percent: float, *, seed: int = 0
) -> Estimate:
    """Return the ratio of a percentile of a to that of b; the interval resamples pairs."""

    def ratio(x: Floats, y: Floats) -> Floats:
        of_a, of_b = (np.percentile(values, percent, axis=1) for values in (x, y))
        return np.asarray(of_a / of_b)

    return _bootstrap(a, b, ratio, seed)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p90 and p99, rounded."""
    return {f"p{q}": rounded(float(np.percentile(values, q))) for q in (50, 90, 99)}


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return float(np.median(values))


def _bootstrap(a: Sequence[float], b: Sequence[float], statistic: Statistic, seed: int) -> Estimate:
    if len(a) != len(b) or len(a) == 0:
        raise ValueError(f"{len(a)} and {len(b)} samples are no pairs")
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    picks = np.random.default_rng(seed).integers(0, len(x), (_RESAMPLES, len(x)))
    tail = 50 * (1 - _CONFIDENCE)
    low, high = np.percentile(statistic(x[picks], y[picks]), [tail, 100 - tail])
    return Estimate(float(statistic(x[None], y[None])[0]), float(low), float(high))
