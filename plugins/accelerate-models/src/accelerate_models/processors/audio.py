# SPDX-License-Identifier: Apache-2.0
"""Raw sound as models want it: one channel, float32, at their rate. And sounds for benchmarks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accelerate_core.errors import ModelError

from .audio_file import LONGEST_ERROR, LONGEST_S, RATES, read_audio

if TYPE_CHECKING:
    from accelerate_core.types import Array

ACCEPTED = ("path of a sound file", "1-D array of float or int8 to int32", "list of these")
#: Full scale and zero of what integers are used for sound.
_INTEGERS = {"int8": (128.0, 0.0), "uint8": (128.0, 128.0)}
_INTEGERS |= {f"int{bits}": (2.0 ** (bits - 1), 0.0) for bits in (16, 32)}


def waveforms(raw: Any, rate: int, sampling_rate: int | None) -> list[Array]:
    """Return sounds as float32 [samples] at `rate` Hz, from paths, arrays or a list of them.

    Arrays have `sampling_rate` Hz, or the model's `rate` where that is not given; integers are
    scaled to -1 to 1. ModelError for anything that is no sound.
    """
    sounds = list(raw) if isinstance(raw, (list, tuple)) else [raw]
    if not sounds:
        raise ModelError("there is no sound in an empty list", accepted=ACCEPTED)
    _check_rate(sampling_rate, sounds)
    return [_waveform(sound, rate, sampling_rate, index) for index, sound in enumerate(sounds)]


def refuse_others(given: Mapping[str, Any], *accepted: str) -> None:
    """Refuse options that an encode does not have."""
    if given:
        raise ModelError(f"unknown options: {sorted(given)}", accepted=accepted)


def sample_sounds(batch_size: int, samples: int, rate: int) -> list[Array]:
    """Return sounds that are the same every time: voiced syllables over a little noise.

    float32 [samples], within -1 to 1.
    """
    seconds = np.arange(samples) / rate
    sounds = []
    for index in range(batch_size):
        pitch = 110.0 + 17.0 * (index % 8) + 6.0 * np.sin(2 * np.pi * 0.7 * seconds)
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        voice = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 9))
        syllables = np.maximum(0.0, np.sin(2 * np.pi * 3.1 * seconds + index)) ** 2
        noise = np.random.default_rng(index).standard_normal(samples)
        sounds.append((0.2 * voice * syllables + 0.005 * noise).astype(np.float32))
    return sounds


def _check_rate(sampling_rate: Any, sounds: Sequence[Any]) -> None:
    if sampling_rate is None:
        return
    if not isinstance(sampling_rate, int) or not RATES[0] <= sampling_rate <= RATES[1]:
        raise ModelError(
            f"{sampling_rate!r} is no rate of sound",
            where="sampling_rate",
            accepted=(f"{RATES[0]} to {RATES[1]} Hz",),
        )
    if all(isinstance(sound, (str, os.PathLike)) for sound in sounds):
        raise ModelError(
            "files say themselves what rate they have", where="sampling_rate", accepted=("None",)
        )


def _waveform(sound: Any, rate: int, sampling_rate: int | None, index: int) -> Array:
    if isinstance(sound, (str, os.PathLike)):
        where = os.fspath(sound)
        wave, own_rate = read_audio(Path(sound).expanduser())
    else:
        where = f"sound {index}"
        wave, own_rate = _from_array(sound, where), sampling_rate or rate
    if not wave.size:
        raise ModelError("the sound is empty", where=str(where), accepted=("at least one sample",))
    if len(wave) > LONGEST_S * own_rate:
        raise ModelError("the sound is too long", where=str(where), accepted=(LONGEST_ERROR,))
    if not np.isfinite(wave).all():
        raise ModelError(
            "the sound has values that are not finite",
            where=str(where),
            accepted=("finite numbers, about -1 to 1",),
        )
    return wave if own_rate == rate else _resample(wave, own_rate, rate)


def _from_array(sound: Any, where: str) -> Array:
    kind = sound.dtype.name if isinstance(sound, np.ndarray) else type(sound).__name__
    if not isinstance(sound, np.ndarray) or not (sound.dtype.kind == "f" or kind in _INTEGERS):
        raise ModelError(f"{kind} is no sound", where=where, accepted=ACCEPTED)
    if sound.ndim != 1:
        raise ModelError(
            f"the sound has shape {list(sound.shape)}",
            where=where,
            accepted=("1-D: average the channels first",),
        )
    scale, zero = _INTEGERS.get(kind, (1.0, 0.0))
    if sound.dtype.kind == "f":
        with np.errstate(over="ignore"):  # found when looking for what is not finite
            return sound.astype(np.float32)
    return ((sound.astype(np.float64) - zero) / scale).astype(np.float32)


def _resample(wave: Array, rate: int, wanted: int) -> Array:
    import soxr

    resampled: Array = np.asarray(soxr.resample(wave, rate, wanted, quality="HQ"), np.float32)
    if not resampled.size:
        raise ModelError("the sound is too short to be resampled", accepted=("more samples",))
    return resampled
