# SPDX-License-Identifier: Apache-2.0
"""How much likelier a series is with a shift before its last points than without one.

Logarithms of values are taken as AR(1) around a level, with Student's t of 5 degrees of freedom as
innovations: a burst of slow runs, or one outlier, is then explained without a shift. Both
hypotheses are fitted to all points by iteratively reweighted least squares (Lange, Little and
Taylor, 1989), for many series at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

_NU = 5.0
#: What is known of the autocorrelation before a point was seen, and how many points it is worth: of
#: short series it cannot be told apart from a shift.
_PHI, _PHI_WEIGHT = 0.5, 150.0
_PHI_RANGE = (-0.2, 0.9)
#: A place whose likelihood is less by more than this (half of chi squared at 95%) is not likely.
_UNLIKELY = 1.92
_LEAST_BACK = 2
_AT_ONCE = 256  # series that are fitted together: so many stay in a processor's cache


@attrs.frozen(eq=False)
class Shift:
    """Hold, for each series, the evidence of a shift and its size."""

    score: Floats  #: root of twice the logarithm of the likelihood ratio
    delta: Floats  #: difference of logarithms
    error: Floats  #: standard error of `delta`
    level: Floats  #: before the shift
    phi: Floats  #: autocorrelation
    noise: Floats  #: scale of the innovations


@attrs.frozen(eq=False)
class _Packed:
    """Hold series side by side, their last points in the last column; before the first is 0."""

    values: Floats  #: [series, points]
    known: Floats  #: [series, points]: 1 for a point, else 0
    since: Floats  #: [series, points]: 1 for a point after the shift, else 0
    points: Floats  #: [series, 1]: how many there are
    last: Floats  #: [series, 1]: how many of them are after the shift

    @classmethod
    def of(cls, series: Sequence[Floats], last: Integers) -> _Packed:
        points = np.array([len(one) for one in series])
        values = np.zeros((len(series), points.max()))
        for row, one in zip(values, series, strict=True):
            row[len(row) - len(one) :] = one
        ago = np.arange(points.max(), 0, -1)
        return cls(
            values,
            (ago <= points[:, None]).astype(float),
            (ago <= last[:, None]).astype(float),
            points[:, None].astype(float),
            last[:, None].astype(float),
        )


@attrs.define(eq=False)
class _Fit:
    """Fit levels, autocorrelations and scales, each [series, 1], step by step."""

    packed: _Packed
    level: Floats
    phi: Floats
    scale: Floats
    floor: float

    @classmethod
    def begin(cls, packed: _Packed, values: Floats, floor: float) -> _Fit:
        level = _median_known(values, packed.known)
        scale = 1.3 * _median_known(np.abs(values - level), packed.known)
        return cls(packed, level, np.full_like(level, _PHI), np.maximum(scale, floor), floor)

    def residuals(self, values: Floats) -> Floats:
        around = values - self.level
        return around[:, 1:] - self.phi * around[:, :-1]

    def weights(self, residuals: Floats) -> Floats:
        return (_NU + 1) / (_NU + (residuals / self.scale) ** 2)

    def improve(self, values: Floats, times: int) -> None:
        known, count = self.packed.known[:, :-1], self.packed.points - 1
        for _ in range(times):
            around = values - self.level
            now, last = around[:, 1:], around[:, :-1]
            residuals = now - self.phi * last
            weights = self.weights(residuals) * known
            weighted = weights * last
            prior = _PHI_WEIGHT * self.scale**2
            above = _dot(weighted, now) + prior * _PHI
            below = _dot(weighted, last) + prior
            self.phi = np.clip(above / below, *_PHI_RANGE)
            total = weights.sum(1, keepdims=True)
            mean = (_dot(weights, now) - self.phi * weighted.sum(1, keepdims=True)) / total
            self.level = self.level + mean / (1 - self.phi)
            spread = np.sqrt(_dot(weights * residuals, residuals) / count)
            self.scale = np.maximum(spread, self.floor)

    def likelihood(self, values: Floats) -> Floats:
        """Return the logarithm, with that of the prior of phi, up to a constant."""
        loss = _loss(self.residuals(values) / self.scale * self.packed.known[:, :-1])
        prior = 0.5 * _PHI_WEIGHT * (self.phi - _PHI) ** 2
        return np.asarray(-loss - (self.packed.points - 1) * np.log(self.scale) - prior)


def median(values: Floats) -> Floats:
    """Return the medians of rows: what numpy's does, in a third of its time when rows are short."""
    ordered, number = np.sort(values, axis=-1), values.shape[-1]
    return np.asarray((ordered[..., (number - 1) // 2] + ordered[..., number // 2]) / 2)


def _median_known(values: Floats, known: Floats) -> Floats:
    """Return the median of what is known of each row, [series, 1]."""
    ordered = np.sort(np.where(known, values, np.inf), axis=1)
    number = known.sum(axis=1, keepdims=True).astype(int)
    middle = np.concatenate([(number - 1) // 2, number // 2], axis=1)
    return np.asarray(np.take_along_axis(ordered, middle, axis=1).mean(axis=1, keepdims=True))


def _dot(one: Floats, other: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", one, other)[:, None])


def _loss(residuals: Floats) -> Floats:
    return np.asarray((_NU + 1) / 2 * np.log1p(residuals**2 / _NU).sum(1, keepdims=True))


def _moves(phi: Floats, since: Floats) -> Floats:
    """Return by how much a shift of one moves each residual since.

    The first wholly, those after it by what autocorrelation does not carry over.
    """
    before = np.pad(since, ((0, 0), (1, 0)))[:, :-1]
    return since - phi * before


def shift(series: Sequence[Floats], last: Integers, floor: float) -> Shift:
    """Weigh a shift before the `last` points of each series of logarithms; `floor`: least noise."""
    order = np.argsort([len(one) for one in series], kind="stable")
    parts = [
        _shift(_Packed.of([series[index] for index in some], last[some]), floor)
        for some in np.split(order, range(_AT_ONCE, len(order), _AT_ONCE))
    ]
    found = np.empty((len(attrs.fields(Shift)), len(order)))
    found[:, order] = np.concatenate([[*attrs.astuple(part)] for part in parts], axis=1)
    return Shift(*found)


def _shift(packed: _Packed, floor: float) -> Shift:
    values, since = packed.values, packed.since
    null = _Fit.begin(packed, values, floor)
    null.improve(values, 12)
    without = null.likelihood(values)

    delta = _median_known(values, since) - _median_known(values, packed.known - since)
    shifted = values - since * delta
    fit = _Fit.begin(packed, shifted, floor)
    information = np.ones_like(delta)
    most = int(packed.last.max())
    for times in (6, 3, 3, 3, 3):
        fit.improve(shifted, times)
        residuals = fit.residuals(shifted[:, -most - 1 :])
        moves = _moves(fit.phi, since[:, -most:])
        for _ in range(2):
            weighted = fit.weights(residuals) * moves
            information = _dot(weighted, moves)
            step = _dot(weighted, residuals) / information
            delta = delta + step
            residuals = residuals - moves * step
        shifted = values - since * delta
    fit.improve(shifted, 2)
    gain = fit.likelihood(shifted) - without
    level_error = fit.scale / (1 - fit.phi) / np.sqrt(packed.points - packed.last)
    # Weights overstate what Student's t tells of a level: its information is this share of theirs.
    known = (_NU + 1) / (_NU + 3)
    error = np.sqrt((fit.scale**2 / information + level_error**2) / known)
    score = np.sqrt(2 * np.maximum(gain, 0.0))
    return Shift(*(one[:, 0] for one in (score, delta, error, fit.level, fit.phi, fit.scale)))


def locate(series: Sequence[Floats], last: Integers, floor: float) -> Integers:
    """Return [series, 3]: how many points ago a shift was, at least, most likely and at most.

    `last` is where it was looked for. Level and noise are as found with it; place and size are
    open. Between the bounds the place is 95% likely, as far as the likelihood is regular.
    """
    found = shift(series, last, floor)
    level, phi, noise = (one[:, None] for one in (found.level, found.phi, found.noise))
    most = np.minimum(last + last // 2, [len(one) - 1 for one in series])
    far = int(most.max())
    around = _Packed.of([one[-far - 1 :] for one in series], last).values - level
    residuals = (around[:, 1:] - phi * around[:, :-1]) / noise
    gains = np.full((len(series), far + 1), -np.inf)
    for back in range(_LEAST_BACK, far + 1):
        recent, moves = residuals[:, -back:], _moves(phi, np.ones((len(series), back)))
        size = median(around[:, -back:])[:, None] / noise
        for _ in range(6):
            weighted = (_NU + 1) / (_NU + (recent - moves * size) ** 2) * moves
            size = _dot(weighted, recent) / _dot(weighted, moves)
        gain = _loss(recent) - _loss(recent - moves * size)
        gains[:, back] = np.where(back <= most, gain[:, 0], -np.inf)
    best = gains.argmax(axis=1)
    likely = gains >= gains.max(axis=1, keepdims=True) - _UNLIKELY
    return np.stack([likely.argmax(axis=1), best, far - likely[:, ::-1].argmax(axis=1)], axis=1)
