# SPDX-License-Identifier: Apache-2.0
"""Sound to samples, and what a model hears in each frame to text (CTC, greedily)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from accelerate_core.assets import AssetStore
from accelerate_core.errors import ModelError
from accelerate_core.protocols import Processor
from accelerate_core.types import ProcessorSpec

from .audio import refuse_others, sample_sounds, waveforms

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: How transformers tidies English text that was tokenised at punctuation.
_TIDY = (" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're")


class SpeechCtc(Processor):
    """Prepare sound as Wav2Vec2FeatureExtractor, join letters as Wav2Vec2CTCTokenizer does."""

    def __init__(self, spec: ProcessorSpec, assets: AssetStore) -> None:
        self._settings = spec.settings
        self._letters: dict[int, str] = {}
        for asset in spec.assets:
            letters = json.loads(assets.path(asset.sha256).read_bytes())
            self._letters = {int(index): letter for index, letter in letters.items()}

    def encode(
        self,
        raw: Any,
        *,
        sampling_rate: int | None = None,
        sequence_length: int | None = None,
        **options: Any,
    ) -> Mapping[str, Array]:
        """Return float32 `input_values` [batch, samples] for a sound or a list of sounds.

        Sounds are padded to the longest of them, or padded and cut to `sequence_length` frames of
        the model. With it goes `attention_mask` (int64, 1 for sound) where the model takes one.
        ModelError for what is no sound, and for one shorter than a frame.
        """
        refuse_others(options, "sampling_rate", "sequence_length")
        sounds = waveforms(raw, self._settings["rate"], sampling_rate)
        for index, sound in enumerate(sounds):
            if len(sound) < self._settings["receptive_samples"]:
                raise ModelError(
                    f"the sound has {len(sound)} samples",
                    where=f"sound {index}",
                    accepted=(f"at least {self._settings['receptive_samples']}",),
                )
        length = (
            max(map(len, sounds)) if sequence_length is None else self._samples(sequence_length)
        )
        mask = np.zeros((len(sounds), length), np.int64)
        values = np.full((len(sounds), length), self._settings["padding_value"], np.float32)
        for row, sound in enumerate(sounds):
            mask[row, : len(sound)] = 1
            values[row, : len(sound)] = sound[:length]
        if not self._settings["mask"]:
            # Without a mask padding counts as sound; such models were trained so.
            mask[:] = 1
        if self._settings["normalize"]:
            self._normalize(values, mask)
        known: dict[str, Array] = {"input_values": values, "attention_mask": mask}
        return {name: known[name] for name in self._settings["inputs"]}

    def decode(self, outputs: Mapping[str, Array], encoded: Mapping[str, Array]) -> Any:
        """Return one text per sound, or the hidden states of a model that has no letters."""
        name = self._settings["output"]
        if name not in outputs:
            raise ModelError(f"output {name!r} is missing", accepted=sorted(outputs))
        if not self._letters:
            return np.asarray(outputs[name], np.float32)
        return [self._text(row) for row in np.asarray(outputs[name]).argmax(axis=-1).tolist()]

    def sample(self, batch_size: int, sequence_length: int | None) -> Sequence[Array]:
        """Return sounds of `sequence_length` frames, or of two seconds; the same every time."""
        rate = self._settings["rate"]
        length = 2 * rate if sequence_length is None else self._samples(sequence_length)
        return sample_sounds(batch_size, max(length, self._settings["receptive_samples"]), rate)

    def _samples(self, frames: int) -> int:
        if frames < 1:
            raise ModelError(
                f"{frames} frames are asked", where="sequence_length", accepted=("at least 1",)
            )
        receptive: int = self._settings["receptive_samples"]
        return receptive + (frames - 1) * int(self._settings["stride_samples"])

    def _normalize(self, values: Array, mask: Array) -> None:
        """Bring each sound to mean 0 and variance 1, in place, padding left as it is."""
        for row, length in zip(values, mask.sum(axis=1), strict=True):
            sound = row[:length]
            sound[:] = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)

    def _text(self, ids: Iterable[int]) -> str:
        settings = self._settings
        tokens = [self._letters.get(index, settings["unknown"]) for index in ids]
        letters = [token for token, _ in itertools.groupby(tokens) if token != settings["blank"]]
        text = "".join(
            settings["space"] if letter == settings["delimiter"] else letter for letter in letters
        ).strip()
        if settings["lowercase"]:
            text = text.lower()
        if settings["tidy"]:
            for before in _TIDY:
                text = text.replace(" ' ", "'").replace(before, before[1:])
        return text
