# SPDX-License-Identifier: Apache-2.0
"""LLaMA, Mistral and Qwen2: decoders with rotary positions, grouped heads and gated perceptrons."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
from typing import Any

import attrs
import numpy as np
from onnx import TensorProto

from ..blocks.attention import AttentionNames, AttentionSizes, KeyValue, attend, key_value
from ..blocks.layers import ACTIVATIONS, activation, embedding, linear, rms_norm
from ..blocks.masks import causal_bias
from ..blocks.rotary import Rotation, check_rows, frequencies, rotate, rotation
from ..config import ModelConfig
from ..graph import GraphBuilder, Value
from ..hookspecs.builder import Builder, Part


@attrs.frozen(kw_only=True)
class Sizes:
    """Hold what the layers of a decoder have in common."""

    attention: AttentionSizes
    biased: Collection[str]  #: of query, key, value, output
    intermediate: int
    is_mlp_biased: bool
    activation: str
    epsilon: float
    windows: tuple[int | None, ...]  #: of each layer: how many positions it looks back over


def build_prefill(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build the decoder for the first tokens of a text: no cache goes in, one comes out."""
    ids, mask = (g.input(name) for name in ("input_ids", "attention_mask"))
    with g.scope("position_ids"):
        # Padding in front is not counted. int32: more providers sum and multiply it than int64.
        is_token = g.op("Cast", mask, to=TensorProto.INT32)
        count = g.op("CumSum", is_token, g.constant(np.array(1, np.int64)))
        before = g.op("Sub", count, g.constant(np.array(1, np.int32)))
        positions = g.op("Mul", before, is_token)
    return _build(g, config, ids, mask, positions, with_past=False)


def build_decode(g: GraphBuilder, config: ModelConfig) -> Mapping[str, Any]:
    """Build the decoder for the tokens after those whose keys and values are in the cache."""
    ids = g.input("input_ids")
    mask = g.input("attention_mask", ("batch", "total_sequence"))
    positions = g.input("position_ids")
    return _build(g, config, ids, mask, positions, with_past=True)


def _build(
    g: GraphBuilder,
    config: ModelConfig,
    ids: Value,
    mask: Value,
    positions: Value,
    *,
    with_past: bool,
) -> Mapping[str, Any]:
    sizes = _sizes(config)
    hidden, heads = sizes.attention.hidden, sizes.attention.kv_heads
    rows = check_rows(config, "max_position_embeddings")
    angles = frequencies(config, sizes.attention.head_size)
    cache = ("batch", heads, "past_sequence", sizes.attention.head_size)
    pasts = [
        KeyValue(
            g.input(f"past_key_values.{index}.key", cache, "float32"),
            g.input(f"past_key_values.{index}.value", cache, "float32"),
        )
        if with_past
        else None
        for index in range(len(sizes.windows))
    ]

    with g.block("embed_tokens"):
        x = embedding(g, ids, "embed_tokens", config.size("vocab_size"), hidden)
    turn = rotation(g, positions, angles, rows)
    biases = {
        window: causal_bias(g, ids, mask, window=window) for window in dict.fromkeys(sizes.windows)
    }
    presents = []
    for index, (window, past) in enumerate(zip(sizes.windows, pasts, strict=True)):
        with g.block(f"layers.{index}"):
            x, present = _layer(g, x, f"layers.{index}", sizes, biases[window], turn, past)
        presents.append(present)
    with g.block("norm"):
        x = rms_norm(g, x, "norm", hidden, sizes.epsilon)
    has_head = _head(g, config, x, hidden)
    total = "total_sequence" if with_past else "sequence"
    for index, present in enumerate(presents):
        for name, value in (("key", present.key), ("value", present.value)):
            shape = ("batch", heads, total, sizes.attention.head_size)
            g.output(value, f"present.{index}.{name}", shape)
    return {
        "hidden_size": hidden,
        "layers": len(sizes.windows),
        "heads": sizes.attention.heads,
        "kv_heads": heads,
        "max_positions": rows,
        "has_head": has_head,
    }


def _sizes(config: ModelConfig) -> Sizes:
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    kv_heads = config.size("num_key_value_heads", heads)
    if heads % kv_heads:
        raise config.fault("num_key_value_heads", f"a divisor of num_attention_heads {heads}")
    if config.values.get("head_dim") is None and hidden % heads:
        raise config.fault("num_attention_heads", f"a divisor of hidden_size {hidden}")
    head_size = config.size("head_dim", hidden // heads)
    is_qwen = config.values["model_type"] == "qwen2"
    every = ("query", "key", "value", "output")
    biased = every if config.flag("attention_bias", False) else ()
    return Sizes(
        attention=AttentionSizes(
            hidden=hidden,
            heads=heads,
            head_size=head_size,
            kv_heads=kv_heads,
            memory=hidden,
            divisor=math.sqrt(head_size),
        ),
        biased=every[:3] if is_qwen else biased,
        intermediate=config.size("intermediate_size"),
        is_mlp_biased=config.flag("mlp_bias", False),
        activation=config.choice("hidden_act", ACTIVATIONS, "silu"),
        epsilon=config.number("rms_norm_eps", 1e-6),
        windows=_windows(config),
    )


def _windows(config: ModelConfig) -> tuple[int | None, ...]:
    """Return of each layer how far it looks back; the rules and defaults are transformers'."""
    layers = config.size("num_hidden_layers")
    match config.values["model_type"]:
        case "mistral":
            is_null = "sliding_window" in config.values and config.values["sliding_window"] is None
            return (None if is_null else config.size("sliding_window", 4096),) * layers
        case "qwen2" if config.flag("use_sliding_window", False):
            window = config.size("sliding_window", 4096)
            return tuple(window if slides else None for slides in _sliding(config, layers))
        case _:
            return (None,) * layers


def _sliding(config: ModelConfig, layers: int) -> list[bool]:
    kinds = config.values.get("layer_types")
    if kinds is None:
        first = config.integer("max_window_layers", 28)
        return [index >= first for index in range(layers)]
    known = ("full_attention", "sliding_attention")
    if not isinstance(kinds, list) or len(kinds) != layers or not set(kinds) <= set(known):
        raise config.fault("layer_types", f"a list of {layers} of {' and '.join(known)}")
    return [kind == "sliding_attention" for kind in kinds]


def _layer(
    g: GraphBuilder,
    x: Value,
    layer: str,
    sizes: Sizes,
    bias: Value,
    turn: Rotation,
    past: KeyValue | None,
) -> tuple[Value, KeyValue]:
    """Add attention, then a gated perceptron, to what was normalised before each."""
    hidden = sizes.attention.hidden
    rotated = functools.partial(rotate, g, by=turn)
    query, key, value, output = (f"{layer}.self_attn.{part}_proj" for part in "qkvo")
    names = AttentionNames(query, key, value, output, biased=sizes.biased)
    with g.scope("attention"):
        normal = rms_norm(g, x, f"{layer}.input_layernorm", hidden, sizes.epsilon)
        asked = key_value(g, normal, names, sizes.attention, rotate=rotated, past=past)
        attended = attend(g, normal, asked, names, sizes.attention, bias=bias, rotate=rotated)
        x = g.op("Add", x, attended)
    with g.scope("mlp"):
        normal = rms_norm(g, x, f"{layer}.post_attention_layernorm", hidden, sizes.epsilon)
        gate, up = (
            linear(
                g,
                normal,
                f"{layer}.mlp.{part}_proj",
                hidden,
                sizes.intermediate,
                bias=sizes.is_mlp_biased,
            )
            for part in ("gate", "up")
        )
        wide = g.op("Mul", activation(g, gate, sizes.activation), up)
        narrow = linear(
            g,
            wide,
            f"{layer}.mlp.down_proj",
            sizes.intermediate,
            hidden,
            bias=sizes.is_mlp_biased,
        )
        return g.op("Add", x, narrow), asked


def _head(g: GraphBuilder, config: ModelConfig, x: Value, hidden: int) -> bool:
    """Make the outputs: logits, or the hidden state of a base model that has no head."""
    vocabulary = config.size("vocab_size")
    if config.flag("tie_word_embeddings", False):
        with g.block("lm_head"):
            table = g.weight("embed_tokens.weight", (vocabulary, hidden), transpose=True)
            logits = g.op("MatMul", x, table)
    elif g.has_weight("lm_head.weight"):
        with g.block("lm_head"):
            logits = linear(g, x, "lm_head", hidden, vocabulary, bias=False)
    else:
        g.output(x, "last_hidden_state", ("batch", "sequence", hidden))
        return False
    g.output(logits, "logits", ("batch", "sequence", vocabulary))
    return True


_PARTS = {
    "prefill": Part(task="text_generation", processor="text_generation", build=build_prefill),
    "decode": Part(task="text_generation", processor="text_generation", build=build_decode),
}
BUILDERS = [
    Builder(model_type=name, prefix="model.", parts=_PARTS)
    for name in ("llama", "mistral", "qwen2")
]
