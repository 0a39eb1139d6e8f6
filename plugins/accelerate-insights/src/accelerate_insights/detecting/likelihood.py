# SPDX-License-Identifier: Apache-2.0
"""How much likelier a series is with a shift before its last points than without one.

Logarithms of values are taken as AR(1) around a level, with Student's t of 5 degrees of freedom as
innovations: a burst of slow runs, or one outlier, is then explained without a shift. Both
hypotheses are fitted to all points by iteratively reweighted least squares (Lange, Little and
Taylor, 1989), for many series of equal length at once.
"""

from __future__ import annotations

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


@attrs.frozen(eq=False)
class Shift:
    """Hold, for each series, the evidence of a shift and its size."""

    score: Floats  #: root of twice the logarithm of the likelihood ratio
    delta: Floats  #: difference of logarithms
    error: Floats  #: standard error of `delta`
    level: Floats  #: before the shift
    phi: Floats  #: autocorrelation
    noise: Floats  #: scale of the innovations


@attrs.define(eq=False)
class _Fit:
    """Fit levels, autocorrelations and scales, each [series, 1], step by step."""

    level: Floats
    phi: Floats
    scale: Floats
    floor: float

    @classmethod
    def begin(cls, values: Floats, floor: float) -> _Fit:
        level = np.median(values, axis=1, keepdims=True)
        scale = 1.3 * np.median(np.abs(values - level), axis=1, keepdims=True)
        return cls(level, np.full_like(level, _PHI), np.maximum(scale, floor), floor)

    def residuals(self, values: Floats) -> Floats:
        around = values - self.level
        return around[:, 1:] - self.phi * around[:, :-1]

    def weights(self, residuals: Floats) -> Floats:
        return (_NU + 1) / (_NU + (residuals / self.scale) ** 2)

    def improve(self, values: Floats, times: int) -> None:
        for _ in range(times):
            around = values - self.level
            now, last = around[:, 1:], around[:, :-1]
            residuals = now - self.phi * last
            weights = self.weights(residuals)
            prior = _PHI_WEIGHT * self.scale**2
            above = (weights * now * last).sum(1, keepdims=True) + prior * _PHI
            below = (weights * last * last).sum(1, keepdims=True) + prior
            self.phi = np.clip(above / below, *_PHI_RANGE)
            innovations = values[:, 1:] - self.phi * values[:, :-1]
            mean = (weights * innovations).sum(1, keepdims=True) / weights.sum(1, keepdims=True)
            self.level = mean / (1 - self.phi)
            spread = np.sqrt((weights * residuals**2).mean(1, keepdims=True))
            self.scale = np.maximum(spread, self.floor)

    def likelihood(self, residuals: Floats) -> Floats:
        """Return the logarithm, with that of the prior of phi, up to a constant."""
        loss = _loss(residuals / self.scale)
        prior = 0.5 * _PHI_WEIGHT * (self.phi[:, 0] - _PHI) ** 2
        return np.asarray(-loss - residuals.shape[1] * np.log(self.scale[:, 0]) - prior)


def _loss(residuals: Floats) -> Floats:
    return np.asarray((_NU + 1) / 2 * np.log1p(residuals**2 / _NU).sum(1))


def _moves(phi: Floats, last: int) -> Floats:
    """Return by how much a shift of one moves each residual since.

    The first wholly, those after it by what autocorrelation does not carry over.
    """
    moves = np.repeat(1 - phi, last, axis=1)
    moves[:, 0] = 1
    return moves


def shift(values: Floats, last: int, floor: float) -> Shift:
    """Weigh a shift before the `last` points of each row of logarithms; `floor`: least noise."""
    before = values.shape[1] - last
    null = _Fit.begin(values, floor)
    null.improve(values, 12)
    without = null.likelihood(null.residuals(values))

    recent = values[:, before:]
    delta = np.median(recent, axis=1, keepdims=True)
    delta = delta - np.median(values[:, :before], axis=1, keepdims=True)
    shifted = values.copy()
    shifted[:, before:] = recent - delta
    fit = _Fit.begin(shifted, floor)
    information = np.ones_like(delta)
    for times in (6, 3, 3, 3, 3):
        fit.improve(shifted, times)
        residuals = fit.residuals(shifted)[:, before - 1 :]
        moves = _moves(fit.phi, last)
        for _ in range(2):
            weights = fit.weights(residuals)
            information = (weights * moves * moves).sum(1, keepdims=True)
            step = (weights * moves * residuals).sum(1, keepdims=True) / information
            delta = delta + step
            residuals = residuals - moves * step
        shifted[:, before:] = recent - delta
    fit.improve(shifted, 2)
    gain = fit.likelihood(fit.residuals(shifted)) - without
    level_error = fit.scale / (1 - fit.phi) / np.sqrt(before)
    # Weights overstate what Student's t tells of a level: its information is this share of theirs.
    known = (_NU + 1) / (_NU + 3)
    error = np.sqrt((fit.scale**2 / information + level_error**2) / known)
    return Shift(
        score=np.sqrt(2 * np.maximum(gain, 0.0)),
        delta=delta[:, 0],
        error=error[:, 0],
        level=fit.level[:, 0],
        phi=fit.phi[:, 0],
        noise=fit.scale[:, 0],
    )


def locate(values: Floats, last: int, floor: float) -> Integers:
    """Return [series, 3]: how many points ago a shift was, at least, most likely and at most.

    `last` is where it was looked for. Level and noise are as found with it; place and size are
    open. Between the bounds the place is 95% likely, as far as the likelihood is regular.
    """
    found = shift(values, last, floor)
    level, phi, noise = (one[:, None] for one in (found.level, found.phi, found.noise))
    around = values - level
    residuals = (around[:, 1:] - phi * around[:, :-1]) / noise
    most = min(last + last // 2, residuals.shape[1])
    gains = np.full((len(values), most + 1), -np.inf)
    for back in range(_LEAST_BACK, most + 1):
        recent, moves = residuals[:, -back:], _moves(phi, back)
        size = np.median(around[:, -back:], axis=1, keepdims=True) / noise
        for _ in range(6):
            weights = (_NU + 1) / (_NU + (recent - moves * size) ** 2)
            above = (weights * moves * recent).sum(1, keepdims=True)
            size = above / (weights * moves**2).sum(1, keepdims=True)
        gains[:, back] = _loss(recent) - _loss(recent - moves * size)
    best = gains.argmax(axis=1)
    likely = gains >= gains.max(axis=1, keepdims=True) - _UNLIKELY
    return np.stack([likely.argmax(axis=1), best, most - likely[:, ::-1].argmax(axis=1)], axis=1)
