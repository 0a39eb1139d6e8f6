# SPDX-License-Identifier: Apache-2.0
"""Whisper (arXiv:2212.04356): from log-mel features and the tokens so far to the next one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ..blocks.attention import AttentionNames, AttentionSizes, attend, key_value, self_attention
from ..blocks.convolution_1d import Convolution1dSizes, convolution_1d
from ..blocks.layers import ACTIVATIONS, activation, embedding, first_rows, layer_norm, linear
from ..blocks.masks import causal_bias
from ..blocks.post_norm import EncoderSizes, LayerNames
from ..blocks.pre_norm import pre_norm_layer, pre_norm_perceptron
from ..config import ModelConfig
from ..graph import GraphBuilder, Value
from ..hookspecs.builder import Builder, Part

#: Fixed in the architecture.
_EPSILON = 1e-5
_FIRST_CONVOLUTION = "encoder.conv1"
_SECOND_CONVOLUTION = "encoder.conv2"


@attrs.frozen(kw_only=True)
class _Sizes:
    """Hold what both halves need to know."""

    hidden: int
    bands: int
    positions: int  #: of the encoder: a window of sound always fills all of them
    vocabulary: int
    is_tied: bool
    encoder: EncoderSizes
    encoder_layers: int
    decoder: EncoderSizes
    decoder_layers: int
    longest: int  #: tokens the decoder has positions for

    @property
    def facts(self) -> dict[str, Any]:
        """Return what processors and metadata say of the model."""
        return {
            "hidden_size": self.hidden,
            "layers": self.encoder_layers + self.decoder_layers,
            "heads": self.encoder.heads,
            "feature_bands": self.bands,
            "feature_frames": 2 * self.positions,
            "max_positions": self.longest,
        }


def build(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build one step: hear a window of sound, and read the tokens so far."""
    sizes = _sizes(config)
    memory = _encoder(g, sizes)
    ids = g.input("decoder_input_ids", ("batch", "decoder_sequence"))
    g.output(
        _decoder(g, ids, memory, sizes), "logits", ("batch", "decoder_sequence", sizes.vocabulary)
    )
    g.output(memory, "encoder_last_hidden_state", ("batch", sizes.positions, sizes.hidden))
    return sizes.facts


def build_encoder(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build the half that hears."""
    sizes = _sizes(config)
    g.output(_encoder(g, sizes), "last_hidden_state", ("batch", sizes.positions, sizes.hidden))
    return sizes.facts


def build_decoder(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build the half that reads and goes on."""
    sizes = _sizes(config)
    ids = g.input("input_ids", ("batch", "decoder_sequence"))
    memory = g.input("encoder_hidden_states", ("batch", sizes.positions, sizes.hidden), "float32")
    g.output(
        _decoder(g, ids, memory, sizes), "logits", ("batch", "decoder_sequence", sizes.vocabulary)
    )
    return sizes.facts


def _sizes(config: ModelConfig) -> _Sizes:
    hidden = config.size("d_model")

    def half(name: str) -> EncoderSizes:
        heads = config.size(f"{name}_attention_heads")
        if hidden % heads:
            raise config.fault(f"{name}_attention_heads", f"a divisor of d_model {hidden}")
        return EncoderSizes(
            hidden=hidden,
            heads=heads,
            intermediate=config.size(f"{name}_ffn_dim"),
            activation=config.choice("activation_function", ACTIVATIONS, "gelu"),
            epsilon=_EPSILON,
        )

    return _Sizes(
        hidden=hidden,
        bands=config.size("num_mel_bins"),
        positions=config.size("max_source_positions"),
        vocabulary=config.size("vocab_size"),
        is_tied=config.flag("tie_word_embeddings", True),
        encoder=half("encoder"),
        encoder_layers=config.size("encoder_layers"),
        decoder=half("decoder"),
        decoder_layers=config.size("decoder_layers"),
        longest=config.size("max_target_positions"),
    )


def _encoder(g: GraphBuilder, sizes: _Sizes) -> Value:
    """Return [batch, positions, hidden]."""
    hidden, frames = sizes.hidden, 2 * sizes.positions
    x = g.input("input_features", ("batch", sizes.bands, frames), "float32")
    for name, channels, stride in (
        (_FIRST_CONVOLUTION, sizes.bands, 1),
        (_SECOND_CONVOLUTION, hidden, 2),
    ):
        shape = Convolution1dSizes(
            channels_in=channels, channels_out=hidden, kernel=3, stride=stride, padding=(1, 1)
        )
        with g.block(name):
            x = activation(g, convolution_1d(g, x, name, shape), "gelu")
    with g.block("encoder.embed_positions"):
        table = g.weight("encoder.embed_positions.weight", (sizes.positions, hidden))
        x = g.op("Add", g.op("Transpose", x, perm=(0, 2, 1)), table)
    for index in range(sizes.encoder_layers):
        layer = f"encoder.layers.{index}"
        with g.block(layer):
            x = pre_norm_layer(g, x, None, _layer_names(layer), sizes.encoder)
    with g.block("encoder.layer_norm"):
        return layer_norm(g, x, "encoder.layer_norm", hidden, _EPSILON)


def _decoder(g: GraphBuilder, ids: Value, memory: Value, sizes: _Sizes) -> Value:
    """Return the scores of every token after each of `ids`: [batch, sequence, vocabulary]."""
    hidden, words = sizes.hidden, "decoder.embed_tokens"
    with g.block("decoder.embeddings"):
        x = embedding(g, ids, words, sizes.vocabulary, hidden)
        x = g.op("Add", x, first_rows(g, ids, "decoder.embed_positions", sizes.longest, hidden))
    bias = causal_bias(g, ids)
    for index in range(sizes.decoder_layers):
        layer = f"decoder.layers.{index}"
        with g.block(layer):
            x = _decoder_layer(g, x, memory, bias, layer, sizes.decoder)
    with g.block("decoder.layer_norm"):
        x = layer_norm(g, x, "decoder.layer_norm", hidden, _EPSILON)
    with g.block("proj_out"):
        head = words if sizes.is_tied else "proj_out"
        return linear(g, x, head, hidden, sizes.vocabulary, bias=False)


def _decoder_layer(
    g: GraphBuilder, x: Value, memory: Value, bias: Value, layer: str, sizes: EncoderSizes
) -> Value:
    names, cross = _layer_names(layer), _attention_names(f"{layer}.encoder_attn")
    shape = AttentionSizes.plain(sizes.hidden, sizes.heads)
    with g.scope("attention"):
        normal = layer_norm(g, x, names.attention_norm, sizes.hidden, _EPSILON)
        x = g.op("Add", self_attention(g, normal, names.attention, shape, bias=bias), x)
    with g.scope("cross_attention"):
        normal = layer_norm(g, x, f"{layer}.encoder_attn_layer_norm", sizes.hidden, _EPSILON)
        heard = key_value(g, memory, cross, shape)
        x = g.op("Add", attend(g, normal, heard, cross, shape), x)
    return pre_norm_perceptron(g, x, names, sizes)


def _layer_names(layer: str) -> LayerNames:
    return LayerNames(
        attention=_attention_names(f"{layer}.self_attn"),
        attention_norm=f"{layer}.self_attn_layer_norm",
        widen=f"{layer}.fc1",
        narrow=f"{layer}.fc2",
        output_norm=f"{layer}.final_layer_norm",
    )


def _attention_names(attention: str) -> AttentionNames:
    return AttentionNames(
        query=f"{attention}.q_proj",
        key=f"{attention}.k_proj",
        value=f"{attention}.v_proj",
        output=f"{attention}.out_proj",
        biased=("query", "value", "output"),
    )


_PARTS = {
    "model": Part(task="audio", processor="speech_to_text", build=build),
    "encoder": Part(task="audio", build=build_encoder),
    "decoder": Part(task="audio", build=build_decoder),
}
BUILDERS = [Builder(model_type="whisper", prefix="model.", parts=_PARTS)]
