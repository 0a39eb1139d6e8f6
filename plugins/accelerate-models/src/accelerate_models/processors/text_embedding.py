# SPDX-License-Identifier: Apache-2.0
"""Text to token tensors, and token vectors to embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from accelerate_core.assets import AssetStore
from accelerate_core.errors import ModelError
from accelerate_core.protocols import Processor
from accelerate_core.types import ProcessorSpec

from .tokenizing import Tokenizing, check_texts

if TYPE_CHECKING:
    from accelerate_core.types import Array


class TextEmbedding(Processor):
    """Tokenise, pool and normalise as the model's own files say. Thread-safe."""

    def __init__(self, spec: ProcessorSpec, assets: AssetStore) -> None:
        self._settings = spec.settings
        self._tokenizing = Tokenizing(spec.settings, spec.assets[0], assets)

    def encode(
        self, raw: Any, *, sequence_length: int | None = None, **options: Any
    ) -> Mapping[str, Array]:
        """Return int64 tensors [batch, sequence] for a text or a list of texts.

        Texts are padded to the longest of them, or to `sequence_length` tokens, and cut to what
        the model takes. ModelError for anything but non-empty lists of str.
        """
        if options:
            raise ModelError(f"unknown options: {sorted(options)}", accepted=("sequence_length",))
        texts = check_texts(raw, "a text embedding")
        if self._settings["lowercase"]:
            texts = [text.lower() for text in texts]
        encodings = self._tokenizing.encode(texts, sequence_length)
        columns = {
            "input_ids": "ids",
            "attention_mask": "attention_mask",
            "token_type_ids": "type_ids",
        }
        return {
            name: np.array([getattr(e, columns[name]) for e in encodings], np.int64)
            for name in self._settings["inputs"]
        }

    def decode(self, outputs: Mapping[str, Array], encoded: Mapping[str, Array]) -> Array:
        """Return one float32 vector per text: [batch, hidden].

        ModelError when the outputs lack the token vectors.
        """
        name = self._settings["output"]
        if name not in outputs:
            raise ModelError(f"output {name!r} is missing", accepted=sorted(outputs))
        tokens = np.asarray(outputs[name], np.float32)
        mask = encoded.get("attention_mask")
        if mask is None:
            mask = encoded["input_ids"] != self._settings["pad_id"]
        vectors = pool(tokens, np.asarray(mask), self._settings["pooling"])
        if self._settings["normalize"]:
            norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
            vectors = vectors / np.maximum(norms, 1e-12)
        return vectors.astype(np.float32, copy=False)

    def sample(self, batch_size: int, sequence_length: int | None) -> list[str]:
        """Return sentences; see `Tokenizing.sample`."""
        return self._tokenizing.sample(batch_size, sequence_length)


def pool(tokens: Array, mask: Array, kind: str) -> Array:
    """Reduce token vectors [batch, sequence, hidden] to [batch, hidden], without padding.

    The formulas are those of sentence-transformers.
    """
    if kind == "cls":
        first: Array = tokens[np.arange(len(tokens)), mask.argmax(axis=1)]
        return first
    weights = mask[:, :, None].astype(np.float32)
    if kind == "max":
        largest: Array = np.where(weights > 0, tokens, -np.inf).max(axis=1)
        return largest
    mean: Array = (tokens * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9)
    return mean
