# SPDX-License-Identifier: Apache-2.0
"""Texts for benchmarks: deterministic, realistic, of an exact number of tokens."""

from __future__ import annotations

from collections.abc import Callable

from accelerate_core.errors import ModelError

_SENTENCES = (
    "The harbour was quiet when the first fishing boats came back in the grey light.",
    "A new library opened in the old town hall, and children were the first to visit.",
    "She measured the river every morning and wrote the level in a small red book.",
    "Trains from the north were late again because of snow on the mountain line.",
    "The committee agreed that the bridge should be closed for repairs in the spring.",
    "Bread, salt and olive oil were all that the shop still had on its shelves.",
    "After the storm the engineers checked every cable between the two islands.",
    "He learned to play the violin from recordings, long before he met a teacher.",
)
#: Single tokens in most vocabularies: they fill what whole sentences leave open.
_FILLERS = ("the", "and", "of", "a", "in", "to", "is")


def sentences(number: int) -> list[str]:
    """Return sentences of about equal length."""
    return [_SENTENCES[index % len(_SENTENCES)] for index in range(number)]


def sample_texts(
    count_tokens: Callable[[str], int], batch_size: int, sequence_length: int
) -> list[str]:
    """Return `batch_size` texts, each of `sequence_length` tokens.

    `count_tokens` counts a text's tokens, special ones included. ModelError when the tokenizer
    makes no text of that length.
    """
    return [_exact(count_tokens, index, sequence_length) for index in range(batch_size)]


def _exact(count_tokens: Callable[[str], int], index: int, length: int) -> str:
    words: list[str] = []
    # No text has fewer tokens than words in these vocabularies, so this many words are enough.
    for turn in range(length):
        candidates = _SENTENCES[(index + turn) % len(_SENTENCES)].split()
        if count_tokens(" ".join([*words, *candidates])) > length:
            break
        words += candidates
    for pool in (_SENTENCES[(index + 3) % len(_SENTENCES)].split(), _FILLERS * length):
        for word in pool:
            used = count_tokens(" ".join(words))
            if used == length:
                return " ".join(words)
            if count_tokens(" ".join([*words, word])) <= length:
                words.append(word)
    if count_tokens(" ".join(words)) == length:
        return " ".join(words)
    raise ModelError(
        f"this tokenizer makes no sample of exactly {length} tokens",
        hint="Ask for another sequence length.",
    )
