# SPDX-License-Identifier: Apache-2.0
"""References of what is done to signals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..params import Value
from . import reference
from .reading import integer, number

if TYPE_CHECKING:
    from accelerate_core.types import Array


@reference("stft")
def stft(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y` `[batch, frames, bins, 2]`, as ONNX's STFT does."""
    length, step = integer(params, "frame_length"), integer(params, "frame_step")
    place = np.arange(integer(params, "frames"))[:, None] * step + np.arange(length)
    frames = operands["x"].astype(np.float64)[:, place] * operands["window"]
    bins = np.fft.fft(frames)[..., : integer(params, "bins")]
    return {"y": np.stack([bins.real, bins.imag], -1)}


@reference("log_mel")
def log_mel(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y` `[rows, mels]`: the logarithm of the energy that filters let through."""
    energy = (operands["x"].astype(np.float64) ** 2).sum(-1) @ operands["filters"]
    return {"y": number(params, "scale") * np.log(np.maximum(energy, number(params, "floor")))}
