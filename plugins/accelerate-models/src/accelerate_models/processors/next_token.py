# SPDX-License-Identifier: Apache-2.0
"""What a model says next: the most likely token after each text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

if TYPE_CHECKING:
    from accelerate_core.types import Array


@attrs.frozen
class NextToken:
    """Hold the most likely next token."""

    text: str  #: what it adds to the text, a space in front included
    id: int
    log_probability: float  #: natural logarithm, at most 0


def next_tokens(tokenizer: Any, logits: Array, last_ids: Array) -> list[NextToken]:
    """Return the most likely token for each row of `logits` [batch, vocabulary].

    `last_ids` [batch] are the tokens that the texts end with.
    """
    wide = logits.astype(np.float64)
    ids = wide.argmax(axis=-1)
    # The largest logit is its own reference: log softmax without overflow.
    log_probabilities = -np.log(np.exp(wide - wide.max(axis=-1, keepdims=True)).sum(axis=-1))
    return [
        NextToken(_added(tokenizer, int(last), int(id_)), int(id_), float(log_probability))
        for last, id_, log_probability in zip(last_ids, ids, log_probabilities, strict=True)
    ]


def _added(tokenizer: Any, last: int, id_: int) -> str:
    """Return what a token adds after another: alone, many lose the space before the word."""
    before, both = (
        tokenizer.decode(ids, skip_special_tokens=False) for ids in ([last], [last, id_])
    )
    alone = tokenizer.decode([id_], skip_special_tokens=False)
    return str(both[len(before) :] if both.startswith(before) else alone)
