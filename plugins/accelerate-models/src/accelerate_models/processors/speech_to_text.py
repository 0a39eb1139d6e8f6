# SPDX-License-Identifier: Apache-2.0
"""Sound to log-mel features and the tokens to go on from, and scores to the next token's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from accelerate_core.assets import AssetStore
from accelerate_core.errors import ModelError, did_you_mean
from accelerate_core.protocols import Processor
from accelerate_core.types import ProcessorSpec

from ..files import read_limited
from .audio import refuse_others, sample_sounds, waveforms
from .mel import Mel, whisper_features
from .tokenizing import TOKENIZER_LIMIT_BYTES, parse_tokenizer

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: Whisper's bands end here, whatever the rate.
_HIGHEST_HZ = 8000.0


class SpeechToText(Processor):
    """Prepare sound as WhisperFeatureExtractor does, and take one step of its decoder."""

    def __init__(self, spec: ProcessorSpec, assets: AssetStore) -> None:
        path = assets.path(spec.assets[0].sha256)
        text = read_limited(path, TOKENIZER_LIMIT_BYTES)
        self._tokenizer = parse_tokenizer(text, spec.assets[0].name)
        self._settings = spec.settings
        self._mel = Mel(
            rate=spec.settings["rate"],
            window=spec.settings["window"],
            hop=spec.settings["hop"],
            bands=spec.settings["bands"],
            low_hz=0.0,
            high_hz=_HIGHEST_HZ,
        )

    def encode(
        self,
        raw: Any,
        *,
        sampling_rate: int | None = None,
        sequence_length: int | None = None,
        language: str | None = None,
        task: str | None = None,
        **options: Any,
    ) -> Mapping[str, Array]:
        """Return `input_features` and `decoder_input_ids` for a sound or a list of sounds.

        A sound is cut or padded with silence to the model's window of 30 s. The tokens ask for
        `task` ("transcribe" by default) in `language`; a model of several languages that is told
        none is asked for the language instead. They are padded to `sequence_length`. ModelError
        for what is no sound, and for words the model does not know.
        """
        refuse_others(options, "sampling_rate", "sequence_length", "language", "task")
        prompt = self._prompt(language, task)
        length = len(prompt) if sequence_length is None else sequence_length
        longest = self._settings["max_positions"]
        if not len(prompt) <= length <= longest:
            raise ModelError(
                f"{length} tokens are asked",
                where="sequence_length",
                accepted=(f"{len(prompt)} to {longest} tokens",),
            )
        sounds = waveforms(raw, self._settings["rate"], sampling_rate)
        ids = np.full((len(sounds), length), self._settings["padding"], np.int64)
        ids[:, : len(prompt)] = prompt
        features = np.stack([self._features(sound) for sound in sounds])
        return {"input_features": features, "decoder_input_ids": ids}

    def decode(self, outputs: Mapping[str, Array], encoded: Mapping[str, Array]) -> list[str]:
        """Return the text of the most likely next token for each sound.

        Where the language was asked it is that of the language: "<|en|>".
        """
        if "logits" not in outputs:
            raise ModelError("output 'logits' is missing", accepted=sorted(outputs))
        # The first token is the start, even where padding is the same one.
        asked = 1 + int((encoded["decoder_input_ids"][0, 1:] != self._settings["padding"]).sum())
        scores = np.array(outputs["logits"][:, asked - 1], np.float32)
        languages = list(self._settings["languages"].values())
        if languages and asked == 1:
            best = np.array(languages)[scores[:, languages].argmax(axis=-1)]
        else:
            scores[:, self._settings["suppressed"]] = -np.inf
            best = scores.argmax(axis=-1)
        return [self._tokenizer.decode([one], skip_special_tokens=False) for one in best.tolist()]

    def sample(self, batch_size: int, sequence_length: int | None) -> Sequence[Array]:
        """Return sounds that fill the window, the same every time; the length is the tokens'."""
        return sample_sounds(batch_size, self._settings["samples"], self._settings["rate"])

    def _features(self, sound: Array) -> Array:
        samples = self._settings["samples"]
        cut = sound[:samples]
        return whisper_features(np.pad(cut, (0, samples - len(cut))), self._mel)

    def _prompt(self, language: str | None, task: str | None) -> list[int]:
        settings = self._settings
        start = [settings["start"]]
        if language is None and task is None and not settings["languages"]:
            middle = settings["forced"]
        elif language is None and task is None:
            return start
        else:
            middle = [
                _word(language, "language", settings["languages"]),
                _word(task or "transcribe", "task", settings["tasks"]),
            ]
        last = settings["last"]
        return [*start, *middle, *([last] if last is not None and last not in middle else [])]


def _word(word: str | None, option: str, known: Mapping[str, int]) -> int:
    if word is None or word not in known:
        raise ModelError(
            f"the model knows no {option} {word!r}",
            where=option,
            accepted=sorted(known) or ("None: it is a model of one language",),
            hint=did_you_mean(str(word), known),
        )
    return known[word]
