# SPDX-License-Identifier: Apache-2.0
"""Decoders, and encoders with decoders, against transformers on native ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from accelerate_models.blocks.relative import Buckets
from safetensors.numpy import load_file, save_file

from accelerate_core.errors import ModelError
from accelerate_core.types import ModelSpec

DECODERS = ["llama", "mistral", "qwen2"]
SEQ2SEQ = ["t5", "bart"]
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def close(actual: np.ndarray, wanted: np.ndarray) -> None:
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, wanted, atol=1e-4, rtol=1e-4)


def ids_and_mask(batch: int, sequence: int, left: bool) -> tuple[np.ndarray, np.ndarray]:
    """Random ids; row r has 2 r padded positions, in front or at the end."""
    rng = np.random.default_rng(batch * 100 + sequence)
    mask = np.ones((batch, sequence), np.int64)
    for row in range(batch):
        mask[row, : min(2 * row, sequence - 1)] = 0
    if not left:
        mask = mask[:, ::-1].copy()
    return rng.integers(5, 53, (batch, sequence)), mask


def positions_of(mask: np.ndarray) -> np.ndarray:
    return np.maximum(mask.cumsum(axis=1) - 1, 0)


def torch_outputs(model: Any, **inputs: Any) -> Any:
    import torch

    tensors = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in inputs.items()
    }
    with torch.no_grad():
        return model(**tensors)


def empty_past(spec: ModelSpec, batch: int) -> dict[str, np.ndarray]:
    return {
        tensor.name: np.zeros((batch, tensor.shape[1], 0, tensor.shape[3]), np.float32)
        for tensor in spec.inputs
        if tensor.name.startswith("past_key_values.")
    }


def as_past(outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name.replace("present", "past_key_values"): value
        for name, value in outputs.items()
        if name.startswith("present.")
    }


def torch_cache(cache: Any) -> Iterator[tuple[str, np.ndarray]]:
    for index, layer in enumerate(cache.layers):
        yield f"present.{index}.key", layer.keys.numpy()
        yield f"present.{index}.value", layer.values.numpy()


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("model_type", DECODERS)
def test_first_and_later_steps_equal_transformers(
    model_type: str, left: bool, tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any
) -> None:
    model = make_checkpoint(tmp_path / "m", model_type)
    first, later = (resolve(f"dir:{tmp_path / 'm'}#{part}") for part in ("prefill", "decode"))
    for batch, sequence in ((1, 1), (3, 9)):
        ids, mask = ids_and_mask(batch, sequence, left)
        wanted = torch_outputs(
            model, input_ids=ids, attention_mask=mask, position_ids=positions_of(mask)
        )
        actual = run(first, {"input_ids": ids, "attention_mask": mask})
        close(actual["logits"][mask == 1], wanted.logits.numpy()[mask == 1])
        # The last step reads two tokens at once.
        for new in (1, 1, 1, 2):
            ids = np.random.default_rng(new).integers(5, 53, (batch, new))
            mask = np.concatenate([mask, np.ones((batch, new), np.int64)], axis=1)
            positions = positions_of(mask)[:, -new:]
            step = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
            wanted = torch_outputs(model, **step, past_key_values=wanted.past_key_values)
            actual = run(later, {**step, **as_past(actual)})
            close(actual["logits"], wanted.logits.numpy())
        assert actual["present.0.key"].shape[2] == sequence + 5
        if model_type == "llama":  # transformers forgets what a window no longer sees
            seen = mask[:, None, :, None] == 1
            for name, value in torch_cache(wanted.past_key_values):
                close(actual[name] * seen, value * seen)


@pytest.mark.parametrize("model_type", DECODERS)
def test_an_empty_cache_makes_a_later_step_the_first(
    model_type: str, tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any
) -> None:
    make_checkpoint(tmp_path / "m", model_type)
    first, later = (resolve(f"dir:{tmp_path / 'm'}#{part}") for part in ("prefill", "decode"))
    ids, mask = ids_and_mask(3, 9, left=True)
    inputs = {"input_ids": ids, "attention_mask": mask}
    wanted = run(first, inputs)
    actual = run(
        later, {**inputs, "position_ids": positions_of(mask) * mask, **empty_past(later, 3)}
    )
    assert wanted.keys() == actual.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(actual[name], value, atol=1e-6)


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("llama", {"num_key_value_heads": 1}),
        ("llama", {"num_key_value_heads": 6, "attention_bias": True, "mlp_bias": True}),
        ("llama", {"head_dim": 8, "tie_word_embeddings": True, "rms_norm_eps": 0.1}),
        ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 3.0}}),
        ("llama", {"rope_parameters": LLAMA3}),
        ("mistral", {"sliding_window": None}),
        ("mistral", {"sliding_window": 1}),
        ("qwen2", {"use_sliding_window": False, "tie_word_embeddings": False}),
        ("qwen2", {"max_window_layers": 0, "hidden_act": "gelu"}),
    ],
)
def test_variants_equal_transformers(
    model_type: str,
    changes: Any,
    tmp_path: Path,
    make_checkpoint: Any,
    resolve: Any,
    run: Any,
) -> None:
    model = make_checkpoint(tmp_path / "m", model_type, **changes)
    spec = resolve(f"dir:{tmp_path / 'm'}")
    ids, mask = ids_and_mask(2, 30, left=True)
    wanted = torch_outputs(
        model, input_ids=ids, attention_mask=mask, position_ids=positions_of(mask)
    )
    actual = run(spec, {"input_ids": ids, "attention_mask": mask})
    close(actual["logits"][mask == 1], wanted.logits.numpy()[mask == 1])
    assert spec.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_the_older_names_of_rope_mean_the_same(
    tmp_path: Path, make_checkpoint: Any, resolve: Any
) -> None:
    for name in ("new", "old"):
        make_checkpoint(tmp_path / name, "llama", rope_parameters=LLAMA3)
    path = tmp_path / "old" / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = {"type": rope.pop("rope_type"), **rope}
    path.write_text(json.dumps(config))
    new, old = (resolve(f"dir:{tmp_path / name}") for name in ("new", "old"))
    assert new.sha256 == old.sha256


def test_without_a_list_of_layers_the_last_ones_look_through_the_window(
    tmp_path: Path, make_checkpoint: Any, resolve: Any
) -> None:
    for name in ("new", "old"):
        make_checkpoint(tmp_path / name, "qwen2")
    path = tmp_path / "old" / "config.json"
    config = json.loads(path.read_text())
    assert config.pop("layer_types") == ["full_attention"] * 2 + ["sliding_attention"]
    path.write_text(json.dumps(config))
    new, old = (resolve(f"dir:{tmp_path / name}") for name in ("new", "old"))
    assert new.sha256 == old.sha256


def test_a_base_model_gives_hidden_states(
    tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any
) -> None:
    model = make_checkpoint(tmp_path / "m", "llama", head="AutoModel")
    spec = resolve(f"dir:{tmp_path / 'm'}")
    ids, mask = ids_and_mask(3, 7, left=False)
    wanted = torch_outputs(model, input_ids=ids, attention_mask=mask)
    actual = run(spec, {"input_ids": ids, "attention_mask": mask})
    close(actual["last_hidden_state"][mask == 1], wanted.last_hidden_state.numpy()[mask == 1])
    assert "logits" not in actual and spec.metadata["has_head"] is False


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("t5", {}),
        ("t5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
        ("t5", {"feed_forward_proj": "gated-silu", "relative_attention_num_buckets": 32}),
        ("bart", {}),
        ("bart", {"scale_embedding": False, "activation_function": "relu"}),
    ],
)
def test_both_halves_equal_transformers(
    model_type: str,
    changes: Any,
    tmp_path: Path,
    make_checkpoint: Any,
    resolve: Any,
    run: Any,
) -> None:
    model = make_checkpoint(tmp_path / "m", model_type, **changes)
    whole, encoder, decoder = (
        resolve(f"dir:{tmp_path / 'm'}#{part}") for part in ("model", "encoder", "decoder")
    )
    assert whole.sha256 == resolve(f"dir:{tmp_path / 'm'}").sha256
    for batch, sequence, target, left in ((1, 1, 1, False), (3, 31, 30, False), (3, 7, 2, True)):
        ids, mask = ids_and_mask(batch, sequence, left)
        wanted_ids, _ = ids_and_mask(batch, target, left)
        source = {"input_ids": ids, "attention_mask": mask}
        wanted = torch_outputs(model, **source, decoder_input_ids=wanted_ids)
        actual = run(whole, {**source, "decoder_input_ids": wanted_ids})
        close(actual["logits"], wanted.logits.numpy())
        memory = wanted.encoder_last_hidden_state.numpy()
        close(actual["encoder_last_hidden_state"], memory)
        close(run(encoder, source)["last_hidden_state"], memory)
        step = {"input_ids": wanted_ids, "encoder_attention_mask": mask}
        half = run(decoder, {**step, "encoder_hidden_states": memory})
        close(half["logits"], wanted.logits.numpy())
    assert whole.parameters == sum(parameter.numel() for parameter in model.parameters()) + (
        53 if model_type == "bart" else 0  # final_logits_bias is no parameter to torch
    )


def test_an_own_head_is_used_and_not_scaled(
    tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any
) -> None:
    """T5 1.1 keeps its head apart, which transformers no longer writes: done by hand."""
    import torch

    model = make_checkpoint(tmp_path / "m", "t5", tie_word_embeddings=False)
    assert model.config.scale_decoder_outputs is False
    path = tmp_path / "m" / "model.safetensors"
    head = np.random.default_rng(0).standard_normal((53, 21)).astype(np.float32)
    save_file({**load_file(path), "lm_head.weight": head}, path)
    model.lm_head.weight = torch.nn.Parameter(torch.from_numpy(head))
    ids, mask = ids_and_mask(2, 5, left=False)
    inputs = {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": ids}
    actual = run(resolve(f"dir:{tmp_path / 'm'}"), inputs)
    close(actual["logits"], torch_outputs(model, **inputs).logits.numpy())


def test_an_encoder_alone_is_a_part(
    tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any, left_over: Any
) -> None:
    model = make_checkpoint(tmp_path / "m", "t5", head="T5EncoderModel")
    with pytest.raises(ModelError, match="no decoder") as caught:
        resolve(f"dir:{tmp_path / 'm'}")
    assert f"dir:{tmp_path / 'm'}#encoder" in str(caught.value.info.hint)
    assert left_over() == []
    spec = resolve(f"dir:{tmp_path / 'm'}#encoder")
    ids, mask = ids_and_mask(3, 7, left=False)
    inputs = {"input_ids": ids, "attention_mask": mask}
    wanted = torch_outputs(model, **inputs).last_hidden_state.numpy()
    close(run(spec, inputs)["last_hidden_state"], wanted)
    assert spec.task == "text_embedding" and spec.processor is not None


@pytest.mark.parametrize("is_bidirectional", [True, False])
@pytest.mark.parametrize(("count", "distance"), [(32, 128), (10, 23), (4, 5), (33, 1000)])
def test_every_distance_is_in_its_bucket(count: int, distance: int, is_bidirectional: bool) -> None:
    import torch
    from transformers.models.t5.modeling_t5 import T5Attention

    table = Buckets(count, distance, is_bidirectional).table()
    wanted = T5Attention._relative_position_bucket(
        torch.arange(-distance - 50, distance + 51), is_bidirectional, count, distance
    ).numpy()
    np.testing.assert_array_equal(np.pad(table, 50, mode="edge"), wanted)


@pytest.mark.parametrize("model_type", DECODERS + SEQ2SEQ)
def test_fp16_is_close_and_half_the_size(
    model_type: str, tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any
) -> None:
    make_checkpoint(tmp_path / "m", model_type)
    full, half = (resolve(f"dir:{tmp_path / 'm'}", precision=p) for p in ("fp32", "fp16"))
    ids, mask = ids_and_mask(3, 7, left=True)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if model_type in SEQ2SEQ:
        inputs["decoder_input_ids"] = ids
    wanted, actual = run(full, inputs)["logits"], run(half, inputs)["logits"]
    assert actual.dtype == np.float32 and not np.array_equal(actual, wanted)
    actual, wanted = actual[mask == 1], wanted[mask == 1]
    assert np.linalg.norm(actual - wanted) / np.linalg.norm(wanted) < 2e-2
    assert half.assets[1].size_bytes < 0.6 * full.assets[1].size_bytes


@pytest.mark.parametrize(
    ("model_type", "part"),
    [
        *((name, part) for name in DECODERS for part in ("prefill", "decode")),
        *((name, part) for name in SEQ2SEQ for part in ("model", "encoder", "decoder")),
    ],
)
def test_fixed_sizes_leave_nothing_dynamic(
    model_type: str, part: str, tmp_path: Path, make_checkpoint: Any, resolve: Any, ctx: Any
) -> None:
    """WebNN takes every node only if no shape is computed once the sizes are fixed."""
    import onnxruntime

    make_checkpoint(tmp_path / "m", model_type)
    spec = resolve(f"dir:{tmp_path / 'm'}#{part}")
    for asset in spec.assets:
        (tmp_path / asset.name).hardlink_to(ctx.assets.path(asset.sha256))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fixed.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    sizes = {"batch": 2, "sequence": 5, "past_sequence": 3, "total_sequence": 8}
    for name, size in {**sizes, "decoder_sequence": 4}.items():
        options.add_free_dimension_override_by_name(name, size)
    onnxruntime.InferenceSession(tmp_path / "model.onnx", options)
    graph = onnx.load(tmp_path / "fixed.onnx", load_external_data=False).graph
    operators = {node.op_type for node in graph.node}
    assert not operators & {"Shape", "Range", "Expand", "Where", "Clip", "Greater", "Squeeze"}
    # A slice of a head is static: its bounds are constants.
    constants = {tensor.name for tensor in graph.initializer}
    slices = [node for node in graph.node if node.op_type == "Slice"]
    assert all(set(node.input[1:]) <= constants for node in slices)
    assert "MatMul" in operators


def test_specs_follow_the_conventions(tmp_path: Path, make_checkpoint: Any, resolve: Any) -> None:
    make_checkpoint(tmp_path / "m", "mistral")
    first, later = (resolve(f"dir:{tmp_path / 'm'}#{part}") for part in ("prefill", "decode"))
    assert resolve(f"dir:{tmp_path / 'm'}").sha256 == first.sha256
    assert [tensor.name for tensor in first.inputs] == ["input_ids", "attention_mask"]
    assert [(t.name, t.dtype, t.shape) for t in later.inputs[:4]] == [
        ("input_ids", "int64", ("batch", "sequence")),
        ("attention_mask", "int64", ("batch", "total_sequence")),
        ("position_ids", "int64", ("batch", "sequence")),
        ("past_key_values.0.key", "float32", ("batch", 2, "past_sequence", 10)),
    ]
    assert [(t.name, t.shape) for t in later.outputs[:3]] == [
        ("logits", ("batch", "sequence", 53)),
        ("present.0.key", ("batch", 2, "total_sequence", 10)),
        ("present.0.value", ("batch", 2, "total_sequence", 10)),
    ]
    assert {first.task, later.task} == {"text_generation"} and first.family == "mistral"
    names = [block["name"] for block in first.metadata["blocks"]]
    assert names == ["embed_tokens", "layers.0", "layers.1", "layers.2", "norm", "lm_head"]
    assert sum(block["parameters"] for block in first.metadata["blocks"]) == first.parameters
    make_checkpoint(tmp_path / "t5", "t5")
    names = [block["name"] for block in resolve(f"dir:{tmp_path / 't5'}").metadata["blocks"]]
    assert "encoder.block.2" in names and "decoder.block.1" in names


@pytest.mark.parametrize(
    ("model_type", "changes", "key"),
    [
        ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope_scaling.rope_type"),
        ("llama", {"rope_parameters": {"type": "dynamic"}}, "rope_parameters.type"),
        ("llama", {"rope_parameters": {"rope_type": "linear"}}, "rope_parameters.factor"),
        ("llama", {"rope_parameters": 3}, "rope_parameters"),
        (
            "llama",
            {"rope_parameters": {**LLAMA3, "high_freq_factor": 0.5}},
            "rope_parameters.high_freq_factor",
        ),
        ("llama", {"rope_parameters": None, "rope_theta": -1}, "rope_theta"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ("llama", {"head_dim": 7}, "head_dim"),
        ("llama", {"num_key_value_heads": 4}, "num_key_value_heads"),
        ("llama", {"max_position_embeddings": 1 << 30}, "max_position_embeddings"),
        ("llama", {"head_dim": None, "hidden_size": 37}, "num_attention_heads"),
        ("mistral", {"sliding_window": 0}, "sliding_window"),
        ("qwen2", {"layer_types": ["full_attention"]}, "layer_types"),
        ("qwen2", {"layer_types": ["chunked_attention"] * 3}, "layer_types"),
        ("t5", {"feed_forward_proj": "gated-swish-relu"}, "feed_forward_proj"),
        ("t5", {"relative_attention_num_buckets": 3}, "relative_attention_num_buckets"),
        ("t5", {"relative_attention_max_distance": 1 << 30}, "relative_attention_max_distance"),
        ("bart", {"decoder_attention_heads": 4}, "decoder_attention_heads"),
        ("bart", {"activation_function": "mish"}, "activation_function"),
    ],
)
def test_a_config_with_an_impossible_value(
    model_type: str,
    changes: dict[str, Any],
    key: str,
    tmp_path: Path,
    make_checkpoint: Any,
    resolve: Any,
    left_over: Any,
) -> None:
    make_checkpoint(tmp_path / "m", model_type)
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ModelError) as caught:
        resolve(f"dir:{tmp_path / 'm'}")
    assert caught.value.info.message.startswith(f"{key} is ") and caught.value.info.accepted
    assert left_over() == []
