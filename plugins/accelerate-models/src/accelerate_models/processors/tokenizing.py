# SPDX-License-Identifier: Apache-2.0
"""What all processors of text share: reading a tokenizer, and padding and cutting texts with it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate_core.assets import AssetStore
from accelerate_core.errors import ModelError
from accelerate_core.measuring.numbers import FREE_DIMENSION
from accelerate_core.types import Asset

from ..files import SourceFiles, read_limited
from .samples import sample_texts, sentences

#: The largest multilingual vocabularies in use come to 35 MB.
TOKENIZER_LIMIT_BYTES = 64 << 20
TOKENIZER_HINT = (
    "Write it with transformers: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)"
)
SIDES = ("right", "left")


def read_tokenizer(directory: Path, files: SourceFiles) -> tuple[Any, bytes]:
    """Return the `tokenizers.Tokenizer` of a directory and its file's bytes.

    ModelError when it is missing, too large to be sound, or not a tokenizer.
    """
    path = files.require(directory / "tokenizer.json", TOKENIZER_HINT)
    text = read_limited(path, TOKENIZER_LIMIT_BYTES)
    return parse_tokenizer(text, str(path)), text


def parse_tokenizer(text: bytes, where: str) -> Any:
    """Return the `tokenizers.Tokenizer`; ModelError when it cannot be read."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(text.decode("utf-8"))
    except Exception as error:  # the library raises bare Exceptions
        raise ModelError(
            f"this is not a tokenizer: {error}", where=where, hint=TOKENIZER_HINT
        ) from error


def optional_json(files: SourceFiles, path: Path) -> dict[str, Any]:
    """Return a JSON object, empty where there is no such file."""
    return files.json_object(path) if files.has(path) else {}


def token_text(value: Any) -> str | None:
    """Return a special token as tokenizer_config.json writes it: plain, or with its options."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def padding_token(
    tokenizer: Any, config: Mapping[str, Any], extra: Mapping[str, Any]
) -> tuple[str, int] | None:
    """Return the padding token and its id: from the tokenizer's files, else from the model's."""
    token = token_text(extra.get("pad_token"))
    if token is None and tokenizer.padding:
        token = tokenizer.padding["pad_token"]
    if token is None and isinstance(config.get("pad_token_id"), int):
        token = tokenizer.id_to_token(config["pad_token_id"])
    pad_id = None if token is None else tokenizer.token_to_id(token)
    return None if token is None or pad_id is None else (token, int(pad_id))


def longest_text(tokenizer: Any, limits: Sequence[object], where: Path, hint: str) -> int:
    """Return the smallest of the limits that are known; ModelError when no text would fit."""
    known = [n for n in limits if isinstance(n, int) and not isinstance(n, bool) and n > 0]
    if not known or min(known) <= tokenizer.num_special_tokens_to_add(False):
        raise ModelError("its files do not say how long a text may be", where=str(where), hint=hint)
    return min(known)


def check_texts(raw: Any, reader: str) -> list[str]:
    """Return one text or several as a list; ModelError for anything but non-empty lists of str."""
    texts = [raw] if isinstance(raw, str) else raw
    if not isinstance(texts, (list, tuple)) or not texts:
        raise ModelError(f"{reader} needs texts", accepted=("str", "list of str"))
    for text in texts:
        if not isinstance(text, str):
            raise ModelError(
                f"{reader} cannot take {type(text).__name__}", accepted=("str", "list of str")
            )
    return list(texts)


class Tokenizing:
    """Encode texts as a processor's settings say: `max_length`, `pad_token` and `pad_id`, and
    where they are not on the right `padding_side` and `truncation_side`. Thread-safe.
    """

    def __init__(self, settings: Mapping[str, Any], asset: Asset, assets: AssetStore) -> None:
        text = read_limited(assets.path(asset.sha256), TOKENIZER_LIMIT_BYTES)
        self.tokenizer = parse_tokenizer(text, asset.name)
        self._settings = settings
        # Truncation and padding are settings of the shared tokenizer, not arguments of a call.
        self._lock = threading.Lock()

    def encode(
        self, texts: Sequence[str], sequence_length: int | None, *, is_special_added: bool = True
    ) -> list[Any]:
        """Return `tokenizers.Encoding`s of one length: the longest of them, or the one asked."""
        longest = self.length(sequence_length)
        with self._lock:
            self.tokenizer.enable_truncation(
                longest, direction=self._settings.get("truncation_side", "right")
            )
            self.tokenizer.enable_padding(
                pad_id=self._settings["pad_id"],
                pad_token=self._settings["pad_token"],
                direction=self._settings.get("padding_side", "right"),
                length=sequence_length,
            )
            return self._batch(texts, is_special_added)

    def sample(self, batch_size: int, sequence_length: int | None) -> list[str]:
        """Return texts that encode to exactly `sequence_length` tokens, the same every time.

        ModelError when the model takes no such length. Left out, it is 32 or as many as the model
        takes; where its tokenizer makes no text of that length, they are plain sentences.
        """
        longest = self.length(sequence_length)
        if sequence_length is not None:
            return sample_texts(self._count, batch_size, sequence_length)
        try:
            return sample_texts(self._count, batch_size, min(FREE_DIMENSION, longest))
        except ModelError:
            return sentences(batch_size)

    def length(self, sequence_length: int | None) -> int:
        """Return a length the model can take: the longest, or the one asked; ModelError else."""
        longest: int = self._settings["max_length"]
        if sequence_length is None:
            return longest
        shortest = self.tokenizer.num_special_tokens_to_add(False) + 1
        if not shortest <= sequence_length <= longest:
            raise ModelError(
                f"{sequence_length} tokens are asked",
                where="sequence_length",
                accepted=(f"{shortest} to {longest} tokens",),
            )
        return sequence_length

    def _count(self, text: str) -> int:
        with self._lock:
            self.tokenizer.no_truncation()
            self.tokenizer.no_padding()
            return len(self._batch([text], True)[0].ids)

    def _batch(self, texts: Sequence[str], is_special_added: bool) -> list[Any]:
        encodings: list[Any] = self.tokenizer.encode_batch(
            list(texts), add_special_tokens=is_special_added
        )
        return encodings
