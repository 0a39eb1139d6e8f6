# SPDX-License-Identifier: Apache-2.0
"""What text-to-text families share: their three graphs, made of an encoder and a decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from accelerate_core.errors import ModelError

from ..blocks.masks import padding_bias
from ..config import ModelConfig
from ..graph import GraphBuilder, Value
from ..hookspecs.builder import Part

_SOURCE = ("batch", "sequence")
_TARGET = ("batch", "decoder_sequence")


@attrs.frozen(kw_only=True)
class Family:
    """Build a text-to-text model's halves."""

    #: Facts for the metadata; `hidden_size` and `vocab_size` are among them.
    facts: Callable[[ModelConfig], Mapping[str, Any]]
    #: ids [batch, sequence] and the bias of their padding -> [batch, sequence, hidden]
    encode: Callable[[GraphBuilder, ModelConfig, Value, Value], Value]
    #: ids [batch, decoder_sequence], what was encoded and the bias of its padding -> logits
    decode: Callable[[GraphBuilder, ModelConfig, Value, Value, Value], Value]
    decoder_tensor: str  #: a tensor that a checkpoint with a decoder has

    def parts(self) -> Mapping[str, Part]:
        """Return the parts "model", "encoder" and "decoder"."""
        return {
            "model": Part(
                task="text_generation", processor="text_to_text", build=self._build_model
            ),
            "encoder": Part(
                task="text_embedding", processor="text_embedding", build=self._build_encoder
            ),
            "decoder": Part(task="text_generation", build=self._build_decoder),
        }

    def _build_model(self, g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
        self._require_decoder(g, config)
        facts = self.facts(config)
        ids, mask = (g.input(name, _SOURCE) for name in ("input_ids", "attention_mask"))
        decoder_ids = g.input("decoder_input_ids", _TARGET)
        bias = padding_bias(g, mask)
        memory = self.encode(g, config, ids, bias)
        logits = self.decode(g, config, decoder_ids, memory, bias)
        g.output(logits, "logits", (*_TARGET, facts["vocab_size"]))
        g.output(memory, "encoder_last_hidden_state", (*_SOURCE, facts["hidden_size"]))
        return facts

    def _build_encoder(self, g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
        facts = self.facts(config)
        ids, mask = (g.input(name, _SOURCE) for name in ("input_ids", "attention_mask"))
        memory = self.encode(g, config, ids, padding_bias(g, mask))
        g.output(memory, "last_hidden_state", (*_SOURCE, facts["hidden_size"]))
        return facts

    def _build_decoder(self, g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
        self._require_decoder(g, config)
        facts = self.facts(config)
        ids = g.input("input_ids", _TARGET)
        mask = g.input("encoder_attention_mask", _SOURCE)
        memory = g.input("encoder_hidden_states", (*_SOURCE, facts["hidden_size"]), "float32")
        logits = self.decode(g, config, ids, memory, padding_bias(g, mask))
        g.output(logits, "logits", (*_TARGET, facts["vocab_size"]))
        return facts

    def _require_decoder(self, g: GraphBuilder, config: ModelConfig) -> None:
        if not g.has_weight(self.decoder_tensor):
            directory = config.path.parent
            raise ModelError(
                "this checkpoint has an encoder and no decoder",
                where=str(directory),
                accepted=("encoder",),
                hint=f"Use dir:{directory}#encoder.",
            )


def shared_embedding(g: GraphBuilder) -> str:
    """Return the name under which a checkpoint keeps the embedding that both halves share."""
    names = ("shared", "encoder.embed_tokens", "decoder.embed_tokens", "lm_head")
    return next((name for name in names if g.has_weight(f"{name}.weight")), names[0])
