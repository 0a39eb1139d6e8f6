# SPDX-License-Identifier: Apache-2.0
"""Text or conversations to a decoder's tensors, and its logits to the next token."""

from __future__ import annotations

import functools
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

    from .chat import ChatTemplate


class TextGeneration(Processor):
    """Tokenise for a decoder, padded on the left, and read its next token. Thread-safe."""

    def __init__(self, spec: ProcessorSpec, assets: AssetStore) -> None:
        self._settings = spec.settings
        self._tokenizing = Tokenizing(spec.settings, spec.assets[0], assets)

    def encode(
        self, raw: Any, *, sequence_length: int | None = None, **options: Any
    ) -> Mapping[str, Array]:
        """Return the graph's inputs for a text, a conversation, or a list of either.

        `input_ids`, `attention_mask` and `position_ids` are int64 [batch, sequence], padded on the
        left to the longest, or to `sequence_length` tokens, and cut to what the model takes. A
        graph with a cache gets an empty one. A conversation is a list of `{"role", "content"}`;
        the model's chat template makes it a text that asks for the next message. ModelError for
        anything else, for a text without tokens, and for a model without a template.
        """
        if options:
            raise ModelError(f"unknown options: {sorted(options)}", accepted=("sequence_length",))
        is_chat = _is_chat(raw)
        texts = self._render(raw) if is_chat else check_texts(raw, "text generation")
        # A template writes the special tokens itself.
        encodings = self._tokenizing.encode(texts, sequence_length, is_special_added=not is_chat)
        mask = np.array([one.attention_mask for one in encodings], np.int64)
        if not mask.size or not mask.any(axis=1).all():
            raise ModelError("a text has no tokens", hint="There is nothing to continue.")
        known = {
            "input_ids": np.array([one.ids for one in encodings], np.int64),
            "attention_mask": mask,
            "position_ids": (mask.cumsum(axis=1) - 1) * mask,
        }
        for name, (_, heads, _, head_size) in self._settings["past"].items():
            known[name] = np.zeros((len(texts), heads, 0, head_size), np.float32)
        return {name: known[name] for name in self._settings["inputs"]}

    def decode(
        self, outputs: Mapping[str, Array], encoded: Mapping[str, Array]
    ) -> list[NextToken] | Array:
        """Return the most likely next token of each text.

        A model without a head gives the hidden state of each text's last token instead: float32
        [batch, hidden]. ModelError when the output is missing.
        """
        name = self._settings["output"]
        if name not in outputs:
            raise ModelError(f"output {name!r} is missing", accepted=sorted(outputs))
        ids = np.asarray(encoded["input_ids"])
        mask = np.asarray(encoded["attention_mask"])[:, -ids.shape[1] :]
        # The last real token, wherever a caller's own inputs have their padding.
        last = ids.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
        rows = np.arange(len(ids))
        values: Array = np.asarray(outputs[name], np.float32)[rows, last]
        if name != "logits":
            return values
        return next_tokens(self._tokenizing.tokenizer, values, ids[rows, last])

    def sample(self, batch_size: int, sequence_length: int | None) -> list[str]:
        """Return sentences; see `Tokenizing.sample`."""
        return self._tokenizing.sample(batch_size, sequence_length)

    def _render(self, raw: Any) -> list[str]:
        conversations = [raw] if isinstance(raw[0], Mapping) else raw
        return [self._template.render(messages) for messages in conversations]

    @functools.cached_property
    def _template(self) -> ChatTemplate:
        source = self._settings["chat_template"]
        if source is None:
            raise ModelError(
                "this model has no chat template",
                accepted=("str", "list of str"),
                hint="Write the conversation out as the model was trained to read it.",
            )
        from .chat import ChatTemplate

        return ChatTemplate(source, self._settings["special_tokens"], "chat_template")


def _is_chat(raw: Any) -> bool:
    """Whether these are messages, or lists of messages."""
    first = raw[0] if isinstance(raw, (list, tuple)) and raw else None
    return isinstance(first, Mapping) or (isinstance(first, (list, tuple)) and bool(first))
