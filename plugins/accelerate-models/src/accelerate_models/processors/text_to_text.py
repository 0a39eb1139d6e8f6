# SPDX-License-Identifier: Apache-2.0
"""Text to the tensors of an encoder and a decoder, and logits to the answer's first token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from accelerate_core.assets import AssetStore
from accelerate_core.errors import ModelError
from accelerate_core.protocols import Processor
from accelerate_core.types import ProcessorSpec

from .next_token import NextToken, next_tokens
from .tokenizing import Tokenizing, check_texts

if TYPE_CHECKING:
    from accelerate_core.types import Array


class TextToText(Processor):
    """Tokenise for an encoder, start the decoder, and read its next token. Thread-safe."""

    def __init__(self, spec: ProcessorSpec, assets: AssetStore) -> None:
        self._settings = spec.settings
        self._tokenizing = Tokenizing(spec.settings, spec.assets[0], assets)

    def encode(
        self, raw: Any, *, sequence_length: int | None = None, **options: Any
    ) -> Mapping[str, Array]:
        """Return the graph's inputs for a text or a list of texts, all int64.

        `input_ids` and `attention_mask` [batch, sequence] are padded to the longest text, or to
        `sequence_length` tokens, and cut to what the model takes; `decoder_input_ids` [batch, 1]
        is the token an answer begins with. ModelError for anything but non-empty lists of str.
        """
        if options:
            raise ModelError(f"unknown options: {sorted(options)}", accepted=("sequence_length",))
        texts = check_texts(raw, "text to text")
        encodings = self._tokenizing.encode(texts, sequence_length)
        mask = np.array([one.attention_mask for one in encodings], np.int64)
        if not mask.size or not mask.any(axis=1).all():
            raise ModelError("a text has no tokens", hint="There is nothing to answer.")
        start = self._settings["decoder_start_token_id"]
        known = {
            "input_ids": np.array([one.ids for one in encodings], np.int64),
            "attention_mask": mask,
            "decoder_input_ids": np.full((len(texts), 1), start, np.int64),
        }
        return {name: known[name] for name in self._settings["inputs"]}

    def decode(self, outputs: Mapping[str, Array], encoded: Mapping[str, Array]) -> list[NextToken]:
        """Return the most likely next token of each answer; ModelError without logits."""
        if "logits" not in outputs:
            raise ModelError("output 'logits' is missing", accepted=sorted(outputs))
        logits = np.asarray(outputs["logits"], np.float32)[:, -1]
        last_ids = np.asarray(encoded["decoder_input_ids"])[:, -1]
        return next_tokens(self._tokenizing.tokenizer, logits, last_ids)

    def sample(self, batch_size: int, sequence_length: int | None) -> list[str]:
        """Return sentences; see `Tokenizing.sample`."""
        return self._tokenizing.sample(batch_size, sequence_length)
