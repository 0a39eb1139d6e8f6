# SPDX-License-Identifier: Apache-2.0
"""Text to token tensors, and token vectors to embeddings."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from accelerate_core.assets import AssetStore
from accelerate_core.errors import ModelError
from accelerate_core.protocols import Processor
from accelerate_core.types import ProcessorSpec

from ..files import read_limited
from .embedding_files import TOKENIZER_LIMIT_BYTES, parse_tokenizer
from .samples import sample_texts

if TYPE_CHECKING:
    from accelerate_core.types import Array


class TextEmbedding(Processor):
    """Tokenise, pool and normalise as the model's own files say. Thread-safe."""

    def __init__(self, spec: ProcessorSpec, assets: AssetStore) -> None:
        path = assets.path(spec.assets[0].sha256)
        self._settings = spec.settings
        text = read_limited(path, TOKENIZER_LIMIT_BYTES)
        self._tokenizer = parse_tokenizer(text, spec.assets[0].name)
        # Truncation and padding are settings of the shared tokenizer, not arguments of a call.
        self._lock = threading.Lock()

    def encode(
        self, raw: Any, *, sequence_length: int | None = None, **options: Any
    ) -> Mapping[str, Array]:
        """Return int64 tensors [batch, sequence] for a text or a list of texts.

        Texts are padded to the longest of them, or to `sequence_length` tokens, and cut to what
        the model takes. ModelError for anything but non-empty lists of str.
        """
        if options:
            raise ModelError(f"unknown options: {sorted(options)}", accepted=("sequence_length",))
        texts: Any = [raw] if isinstance(raw, str) else raw
        if not isinstance(texts, (list, tuple)) or not texts:
            raise ModelError("a text embedding needs texts", accepted=("str", "list of str"))
        for text in texts:
            if not isinstance(text, str):
                raise ModelError(
                    f"a text embedding cannot take {type(text).__name__}",
                    accepted=("str", "list of str"),
                )
        if self._settings["lowercase"]:
            texts = [text.lower() for text in texts]
        encodings = self._tokenize(texts, self._length(sequence_length), sequence_length)
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
        """Return sentences, the same ones every time.

        With a `sequence_length` each encodes to exactly that many tokens. ModelError when the
        model takes no such length.
        """
        if sequence_length is not None:
            self._length(sequence_length)
        return sample_texts(self._count, batch_size, sequence_length)

    def _count(self, text: str) -> int:
        return len(self._tokenize([text], None, None)[0].ids)

    def _length(self, sequence_length: int | None) -> int:
        longest: int = self._settings["max_length"]
        if sequence_length is None:
            return longest
        shortest = self._tokenizer.num_special_tokens_to_add(False) + 1
        if not shortest <= sequence_length <= longest:
            raise ModelError(
                f"{sequence_length} tokens are asked",
                where="sequence_length",
                accepted=(f"{shortest} to {longest} tokens",),
            )
        return sequence_length

    def _tokenize(self, texts: list[str], truncate: int | None, pad: int | None) -> list[Any]:
        with self._lock:
            if truncate is None:
                self._tokenizer.no_truncation()
                self._tokenizer.no_padding()
            else:
                self._tokenizer.enable_truncation(truncate)
                self._tokenizer.enable_padding(
                    pad_id=self._settings["pad_id"],
                    pad_token=self._settings["pad_token"],
                    length=pad,
                )
            encodings: list[Any] = self._tokenizer.encode_batch(texts)
        return encodings


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
