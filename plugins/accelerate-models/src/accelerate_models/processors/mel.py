# SPDX-License-Identifier: Apache-2.0
"""Log-mel spectrograms as Whisper's and CLAP's feature extractors make them. Pure numpy."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import attrs
import numpy as np

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: Slaney's scale is linear up to 1 kHz; from there 27 steps multiply the frequency by 6.4.
_HZ_PER_MEL = 200.0 / 3
_KNEE_HZ = 1000.0
_KNEE = _KNEE_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0
#: Power below which both extractors see nothing.
_FLOOR = 1e-10


@attrs.frozen
class Mel:
    """Say how sound is cut into frames and frequencies into bands."""

    rate: int  #: Hz
    window: int  #: samples of a frame, and of its Fourier transform
    hop: int  #: samples from one frame to the next
    bands: int
    low_hz: float
    high_hz: float

    def power(self, wave: Array) -> Array:
        """Return the power per frame and band [1 + samples // hop, bands], never below 1e-10.

        Frames are centred: the sound is reflected at both ends. `wave` [samples] is longer than
        half a window.
        """
        padded = np.pad(np.asarray(wave, np.float64), self.window // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.window)[:: self.hop]
        # The periodic Hann window.
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)
        spectrum = np.fft.rfft(frames * hann, axis=-1)
        energy = spectrum.real**2 + spectrum.imag**2
        power: Array = np.maximum(energy @ mel_filters(self), _FLOOR)
        return power


def whisper_features(wave: Array, mel: Mel) -> Array:
    """Return Whisper's features: float32 [bands, samples // hop] (arXiv:2212.04356, section 2.2).

    Decades of power, at most 8 below the loudest, brought to about -1 to 1.
    """
    decades = np.log10(mel.power(wave)[:-1])
    features: Array = (np.maximum(decades, decades.max() - 8.0) + 4.0) / 4.0
    return features.T.astype(np.float32)


def clap_features(wave: Array, mel: Mel) -> Array:
    """Return CLAP's features: decibels, float32 [1 + samples // hop, bands]."""
    features: Array = (10.0 * np.log10(mel.power(wave))).astype(np.float32)
    return features


@cache
def mel_filters(mel: Mel) -> Array:
    """Return triangular filters of equal area on Slaney's scale: float64 [1 + window // 2, bands].

    Source: M. Slaney, Auditory Toolbox, technical report 1998-010.
    """
    lowest, highest = _mels(np.array([mel.low_hz, mel.high_hz]))
    edges = _hz(np.linspace(lowest, highest, mel.bands + 2))
    bins = np.linspace(0.0, mel.rate // 2, 1 + mel.window // 2)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    filters: Array = triangles * (2.0 / (edges[2:] - edges[:-2]))
    return filters


def _mels(hz: Array) -> Array:
    above = np.log(np.maximum(hz, _KNEE_HZ) / _KNEE_HZ) / _LOG_STEP
    mels: Array = np.minimum(hz, _KNEE_HZ) / _HZ_PER_MEL + above
    return mels


def _hz(mels: Array) -> Array:
    above = np.exp(np.maximum(mels - _KNEE, 0.0) * _LOG_STEP)
    hz: Array = np.minimum(mels, _KNEE) * _HZ_PER_MEL * above
    return hz


def stretch(features: Array, frames: int) -> Array:
    """Interpolate [frames before, bands] to more frames; the first and last stay what they are.

    Cubic convolution with a = -0.75 as torch's bicubic mode has it, the edge repeated (R. Keys,
    IEEE Transactions on Acoustics, Speech, and Signal Processing 29, 1981).
    """
    before = len(features)
    places = np.linspace(0.0, before - 1, frames)
    left = np.minimum(np.floor(places).astype(np.int64), before - 1)
    part = (places - left)[:, None]
    near, far = _cubic_near, _cubic_far
    weights = (far(part + 1), near(part), near(1 - part), far(2 - part))
    stretched: Array = sum(
        weight * features[np.clip(left + step, 0, before - 1)]
        for step, weight in zip((-1, 0, 1, 2), weights, strict=True)
    )
    return stretched.astype(np.float32)


def _cubic_near(x: Array) -> Array:
    return (1.25 * x - 2.25) * x * x + 1.0


def _cubic_far(x: Array) -> Array:
    return ((-0.75 * x + 3.75) * x - 6.0) * x + 3.0
