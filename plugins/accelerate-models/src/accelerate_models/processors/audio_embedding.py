# SPDX-License-Identifier: Apache-2.0
"""Sound to a log-mel spectrogram, and an embedding to one of length 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from accelerate_core.assets import AssetStore
from accelerate_core.errors import ModelError
from accelerate_core.protocols import Processor
from accelerate_core.types import ProcessorSpec

from .audio import refuse_others, sample_sounds, waveforms
from .mel import Mel, clap_features, stretch

if TYPE_CHECKING:
    from accelerate_core.types import Array


class AudioEmbedding(Processor):
    """Prepare sound as ClapFeatureExtractor and the start of the model do in transformers."""

    def __init__(self, spec: ProcessorSpec, assets: AssetStore) -> None:
        self._settings = spec.settings
        self._mel = Mel(
            rate=spec.settings["rate"],
            window=spec.settings["window"],
            hop=spec.settings["hop"],
            bands=spec.settings["bands"],
            low_hz=float(spec.settings["low_hz"]),
            high_hz=float(spec.settings["high_hz"]),
        )

    def encode(
        self,
        raw: Any,
        *,
        sampling_rate: int | None = None,
        sequence_length: int | None = None,
        **options: Any,
    ) -> Mapping[str, Array]:
        """Return `input_features` [batch, 1, frames, bands] for a sound or a list of sounds.

        A sound is cut to the model's window of 10 s, where transformers cuts a random part out of
        it, or repeated and padded to fill it as the directory says. The window is fixed:
        `sequence_length` changes nothing. ModelError for what is no sound.
        """
        refuse_others(options, "sampling_rate", "sequence_length")
        sounds = waveforms(raw, self._settings["rate"], sampling_rate)
        return {"input_features": np.stack([self._features(sound) for sound in sounds])[:, None]}

    def decode(self, outputs: Mapping[str, Array], encoded: Mapping[str, Array]) -> Array:
        """Return one float32 vector of length 1 per sound: [batch, size]."""
        if "audio_embeds" not in outputs:
            raise ModelError("output 'audio_embeds' is missing", accepted=sorted(outputs))
        vectors = np.asarray(outputs["audio_embeds"], np.float32)
        norms: Array = np.linalg.norm(vectors, axis=-1, keepdims=True)
        return vectors / np.maximum(norms, np.float32(1e-12))

    def sample(self, batch_size: int, sequence_length: int | None) -> Sequence[Array]:
        """Return sounds that fill the window, the same every time."""
        return sample_sounds(batch_size, self._settings["samples"], self._settings["rate"])

    def _features(self, sound: Array) -> Array:
        samples = self._settings["samples"]
        whole = samples // len(sound)
        repeats = {"repeatpad": max(whole, 1), "repeat": whole + 1, "pad": 1}
        filled = np.tile(sound, repeats[self._settings["padding"]])[:samples]
        filled = np.pad(filled, (0, samples - len(filled)))
        return stretch(clap_features(filled, self._mel), self._settings["frames"])
