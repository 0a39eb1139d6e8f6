# SPDX-License-Identifier: Apache-2.0
"""Reading sound from files: WAV, FLAC, Ogg, MP3 and whatever else libsndfile knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accelerate_core.errors import ModelError

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: Longer sounds are refused before memory is taken for them, whatever a file says of itself.
LONGEST_S = 3600
LONGEST_ERROR = f"at most {LONGEST_S // 60} minutes"
#: Telephone to studio; anything else is a damaged header or a slip of the pen.
RATES = (4_000, 192_000)
_MOST_CHANNELS = 32
_BLOCK_FRAMES = 1 << 16
_HINT = "Convert it where it plays: ffmpeg -i FILE -ac 1 sound.wav"
#: What streams write where they cannot know their length.
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)


def read_audio(path: Path) -> tuple[Array, int]:
    """Return a file's sound, its channels averaged: float32 [samples], and its rate in Hz.

    ModelError for a file that is missing, damaged, no sound, or too long.
    """
    from soundfile import LibsndfileError, SoundFile

    try:
        _check_riff(path)
        with SoundFile(path) as sound:
            return _read(sound, path), int(sound.samplerate)
    # TypeError: the library wants to be told about headerless formats, which it sees by name.
    except (LibsndfileError, TypeError) as error:
        raise ModelError(f"this is no sound: {error}", where=str(path), hint=_HINT) from error
    except OSError as error:
        raise ModelError(
            f"it cannot be read: {error.strerror}", where=str(path), accepted=("a sound file",)
        ) from error


def _read(sound: Any, path: Path) -> Array:
    channels, rate = sound.channels, sound.samplerate
    if not RATES[0] <= rate <= RATES[1] or channels > _MOST_CHANNELS:
        raise ModelError(
            f"it says it has {channels} channels of {rate} Hz",
            where=str(path),
            accepted=(f"{RATES[0]} to {RATES[1]} Hz", f"at most {_MOST_CHANNELS} channels"),
            hint=_HINT,
        )
    blocks: list[Array] = []
    frames = 0
    # Not all at once: what the header says of the length may be wrong.
    while len(block := sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        frames += len(block)
        if frames > LONGEST_S * rate:
            raise ModelError("the sound is too long", where=str(path), accepted=(LONGEST_ERROR,))
        with np.errstate(invalid="ignore", over="ignore"):  # refused later, with all of the sound
            blocks.append(block.mean(axis=1, dtype=np.float32))
    return np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def _check_riff(path: Path) -> None:
    """Refuse a WAV file that ends early: libsndfile would give what is left of it."""
    with path.open("rb") as file:
        head, size = file.read(8), path.stat().st_size
    promised = int.from_bytes(head[4:], "little")
    if head[:4] == b"RIFF" and promised not in _UNKNOWN_SIZES and promised + 8 > size:
        raise ModelError(
            f"it ends after {size} of {promised + 8} bytes",
            where=str(path),
            hint="Get the file again; it was cut off.",
        )
