# SPDX-License-Identifier: Apache-2.0
"""wav2vec2, Whisper and CLAP against transformers, on native ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from accelerate_core.errors import ModelError
from accelerate_core.types import ModelSpec

from .conftest import checkpoints

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
WAV2VEC2 = ["wav2vec2", "wav2vec2-layer"]


@pytest.fixture(scope="module")
def write() -> Callable[..., Any]:
    """Write a checkpoint by name and return its torch model."""
    known = checkpoints("audio").CHECKPOINTS

    def call(name: str, directory: Path, **changes: Any) -> Any:
        return known[name](directory, **changes)

    return call


def wav2vec2_inputs(spec: ModelSpec, lengths: Sequence[int]) -> dict[str, np.ndarray]:
    """Noise of these lengths, padded with zeros, masked where the model takes a mask."""
    rng = np.random.default_rng(len(lengths))
    mask = np.array([[n < length for n in range(max(lengths))] for length in lengths], np.int64)
    values = (rng.standard_normal(mask.shape) * mask).astype(np.float32)
    known = {"input_values": values, "attention_mask": mask}
    return {tensor.name: known[tensor.name] for tensor in spec.inputs}


def whisper_inputs(batch: int, tokens: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(batch)
    return {
        "input_features": rng.standard_normal((batch, 11, 100)).astype(np.float32),
        "decoder_input_ids": rng.integers(0, 38, (batch, tokens)),
    }


def clap_inputs(batch: int) -> dict[str, np.ndarray]:
    """Decibels, of as many frames as the tower works with."""
    rng = np.random.default_rng(batch)
    return {"input_features": rng.normal(-30.0, 10.0, (batch, 1, 108, 12)).astype(np.float32)}


def inputs_for(name: str, spec: ModelSpec) -> dict[str, np.ndarray]:
    if name in WAV2VEC2:
        return wav2vec2_inputs(spec, [150, 117])
    if name == "clap":
        return clap_inputs(2)
    return whisper_inputs(2, 5)


def expected(model: Any, inputs: dict[str, np.ndarray]) -> Any:
    import torch

    with torch.no_grad():
        return model(**{name: torch.from_numpy(value) for name, value in inputs.items()})


@pytest.mark.parametrize("name", WAV2VEC2)
def test_wav2vec2_equals_transformers(
    name: str, tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    model = write(name, tmp_path / "m")
    spec = resolve(f"dir:{tmp_path / 'm'}")
    # 30 samples make one frame: what is shorter than the next one makes no other.
    for lengths in ([30], [49], [400, 31, 117], [50, 350]):
        inputs = wav2vec2_inputs(spec, lengths)
        actual = run(spec, inputs)["logits"]
        wanted = expected(model, inputs).logits.numpy()
        np.testing.assert_allclose(actual, wanted, **CLOSE)
        assert actual.shape[1] == 1 + (max(lengths) - 30) // 20
    assert spec.metadata["receptive_samples"] == 30 and spec.metadata["stride_samples"] == 20
    assert spec.task == "audio" and spec.family == "wav2vec2"
    assert spec.metadata["unused_tensors"] == ["wav2vec2.masked_spec_embed"]


def test_only_models_that_were_trained_with_a_mask_take_one(
    tmp_path: Path, write: Any, resolve: Any
) -> None:
    taken = []
    for name in WAV2VEC2:
        write(name, tmp_path / name)
        taken.append([tensor.name for tensor in resolve(f"dir:{tmp_path / name}").inputs])
    assert taken == [["input_values"], ["input_values", "attention_mask"]]


def test_masked_padding_changes_nothing(tmp_path: Path, write: Any, resolve: Any, run: Any) -> None:
    write("wav2vec2-layer", tmp_path / "m")
    spec = resolve(f"dir:{tmp_path / 'm'}")
    both = wav2vec2_inputs(spec, [400, 117])
    both["input_values"][1, 117:] = 5.0  # whatever stands under the mask
    alone = {name: value[1:, :117] for name, value in both.items()}
    wanted = run(spec, alone)["logits"]
    actual = run(spec, both)["logits"][1:, : wanted.shape[1]]
    np.testing.assert_allclose(actual, wanted, atol=1e-5)


def test_both_ways_to_store_weight_norm_give_the_same_model(
    tmp_path: Path, write: Any, resolve: Any
) -> None:
    from safetensors.numpy import load_file, save_file

    write("wav2vec2", tmp_path / "new")
    write("wav2vec2", tmp_path / "old")
    path = tmp_path / "old" / "model.safetensors"
    tensors = load_file(path)
    conv = "wav2vec2.encoder.pos_conv_embed.conv"
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        tensors[f"{conv}.{old}"] = tensors.pop(f"{conv}.parametrizations.weight.{new}")
    save_file(tensors, path)
    old, new = (resolve(f"dir:{tmp_path / name}") for name in ("old", "new"))
    assert old.sha256 == new.sha256


def test_wav2vec2_without_a_head_gives_hidden_states(
    tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    model = write("wav2vec2", tmp_path / "m").wav2vec2
    model.save_pretrained(tmp_path / "m")
    spec = resolve(f"dir:{tmp_path / 'm'}")
    inputs = wav2vec2_inputs(spec, [117])
    actual = run(spec, inputs)["last_hidden_state"]
    np.testing.assert_allclose(actual, expected(model, inputs).last_hidden_state, **CLOSE)


@pytest.mark.parametrize("is_tied", [True, False])
def test_whisper_equals_transformers(
    is_tied: bool, tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    model = write("whisper", tmp_path / "m", tie_word_embeddings=is_tied)
    spec = resolve(f"dir:{tmp_path / 'm'}")
    for batch, tokens in ((1, 1), (3, 7), (2, 34)):
        inputs = whisper_inputs(batch, tokens)
        actual, wanted = run(spec, inputs), expected(model, inputs)
        for name in ("logits", "encoder_last_hidden_state"):
            np.testing.assert_allclose(actual[name], wanted[name], **CLOSE)
    assert spec.metadata["unused_tensors"] == []
    assert spec.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert spec.task == "audio" and spec.family == "whisper"


def test_whispers_halves_give_what_the_whole_gives(
    tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    write("whisper", tmp_path / "m")
    whole, encoder, decoder = (
        resolve(f"dir:{tmp_path / 'm'}{part}") for part in ("", "#encoder", "#decoder")
    )
    inputs = whisper_inputs(3, 4)
    wanted = run(whole, inputs)
    memory = run(encoder, {"input_features": inputs["input_features"]})["last_hidden_state"]
    logits = run(
        decoder,
        {"input_ids": inputs["decoder_input_ids"], "encoder_hidden_states": memory},
    )["logits"]
    np.testing.assert_allclose(memory, wanted["encoder_last_hidden_state"], atol=1e-6)
    np.testing.assert_allclose(logits, wanted["logits"], atol=1e-6)
    assert encoder.processor is None and decoder.processor is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"qkv_bias": False, "enable_patch_layer_norm": False},
        # Windows that cover the last map, then the first one, too: nothing to shift.
        {"depths": [1, 2, 3], "num_attention_heads": [1, 2, 4], "window_size": 3},
        {"depths": [2], "num_attention_heads": [5], "window_size": 12, "hidden_size": 10},
    ],
)
def test_clap_equals_transformers(
    changes: dict[str, Any], tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    import torch

    changes = {"hidden_size": 10 * 2 ** (len(changes.get("depths", "ab")) - 1), **changes}
    model = write("clap", tmp_path / "m", **changes)
    spec = resolve(f"dir:{tmp_path / 'm'}")
    for batch in (1, 3):
        inputs = clap_inputs(batch)
        actual, tower = run(spec, inputs), expected(model.audio_model, inputs)
        with torch.no_grad():
            embeds = model.audio_projection(tower.pooler_output)
        np.testing.assert_allclose(actual["pooler_output"], tower.pooler_output, **CLOSE)
        np.testing.assert_allclose(actual["audio_embeds"], embeds, **CLOSE)
    assert spec.task == "audio" and spec.family == "clap"
    assert spec.metadata["layers"] == sum(changes.get("depths", [2, 2]))


@pytest.mark.parametrize("name", [*WAV2VEC2, "whisper", "clap"])
def test_fp16_is_close(name: str, tmp_path: Path, write: Any, resolve: Any, run: Any) -> None:
    write(name, tmp_path / "m")
    full, half = (resolve(f"dir:{tmp_path / 'm'}", precision=p) for p in ("fp32", "fp16"))
    inputs = inputs_for(name, half)
    wanted = run(full, inputs)
    for output, actual in run(half, inputs).items():
        assert actual.dtype == np.float32
        error = np.linalg.norm(actual - wanted[output]) / np.linalg.norm(wanted[output])
        assert 0 < error < 2e-2, output
    assert half.inputs == full.inputs and half.outputs == full.outputs


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *((name, "") for name in WAV2VEC2),
        ("whisper", ""),
        ("whisper", "#encoder"),
        ("whisper", "#decoder"),
        ("clap", ""),
    ],
)
def test_fixed_sizes_leave_nothing_dynamic(
    name: str, part: str, ctx: Any, tmp_path: Path, write: Any, resolve: Any
) -> None:
    """WebNN takes every node only if no shape is computed once the sizes are fixed."""
    import onnxruntime

    write(name, tmp_path / "m")
    spec = resolve(f"dir:{tmp_path / 'm'}{part}")
    for asset in spec.assets:
        (tmp_path / asset.name).write_bytes(ctx.assets.path(asset.sha256).read_bytes())
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fixed.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    for dimension, size in (("batch", 2), ("samples", 150), ("decoder_sequence", 5)):
        options.add_free_dimension_override_by_name(dimension, size)
    onnxruntime.InferenceSession(tmp_path / "model.onnx", options)
    graph = onnx.load(tmp_path / "fixed.onnx", load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        assert node.op_type not in {"Shape", "Range", "Expand", "Concat", "Where"}
        # What a slice or a lookup takes out of where is known.
        assert node.op_type != "Slice" or set(node.input[1:]) <= constants


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "wav2vec2",
            [
                *(f"feature_extractor.conv_layers.{index}" for index in range(3)),
                "feature_projection",
                "encoder.pos_conv_embed",
                "encoder.layer_norm",
                *(f"encoder.layers.{index}" for index in range(2)),
                "lm_head",
            ],
        ),
        (
            "whisper",
            [
                "encoder.conv1",
                "encoder.conv2",
                "encoder.embed_positions",
                *(f"encoder.layers.{index}" for index in range(2)),
                "encoder.layer_norm",
                "decoder.embeddings",
                *(f"decoder.layers.{index}" for index in range(3)),
                "decoder.layer_norm",
            ],
        ),
        (
            "clap",
            [
                f"audio_model.audio_encoder.{block}"
                for block in (
                    "batch_norm",
                    "patch_embed",
                    "layers.0.blocks.0",
                    "layers.0.blocks.1",
                    "layers.0.downsample",
                    "layers.1.blocks.0",
                    "layers.1.blocks.1",
                    "norm",
                )
            ]
            + ["audio_projection"],
        ),
    ],
)
def test_nodes_carry_their_block(
    name: str, wanted: list[str], tmp_path: Path, write: Any, resolve: Any
) -> None:
    write(name, tmp_path / "m")
    blocks = resolve(f"dir:{tmp_path / 'm'}").metadata["blocks"]
    assert [block["name"] for block in blocks] == wanted


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        ("wav2vec2", {"add_adapter": True}, "add_adapter"),
        ("wav2vec2", {"adapter_attn_dim": 16}, "adapter_attn_dim"),
        ("wav2vec2", {"conv_stride": [5, 2]}, "conv_stride"),
        ("wav2vec2", {"conv_kernel": "3"}, "conv_kernel"),
        ("wav2vec2", {"conv_dim": []}, "conv_dim"),
        ("wav2vec2", {"conv_dim": [7, 9, 12]}, "has shape"),
        ("wav2vec2", {"num_attention_heads": 4}, "num_attention_heads"),
        ("wav2vec2", {"num_conv_pos_embedding_groups": 4}, "num_conv_pos_embedding_groups"),
        ("wav2vec2", {"feat_extract_norm": "batch"}, "feat_extract_norm"),
        ("whisper", {"decoder_attention_heads": 4}, "decoder_attention_heads"),
        ("whisper", {"max_source_positions": 60}, "has shape"),
        ("whisper", {"tie_word_embeddings": False}, "proj_out.weight"),
        ("clap", {"enable_fusion": True}, "audio_config.enable_fusion"),
        ("clap", {"flatten_patch_embeds": False}, "flatten_patch_embeds"),
        ("clap", {"patch_embed_input_channels": 4}, "patch_embed_input_channels"),
        ("clap", {"patch_stride": [3, 4]}, "patch_stride"),
        ("clap", {"spec_size": 40}, "spec_size"),
        ("clap", {"window_size": 5}, "window_size"),
        ("clap", {"depths": [2]}, "num_attention_heads"),
        ("clap", {"num_attention_heads": [3, 5]}, "num_attention_heads"),
        ("clap", {"mlp_ratio": 0}, "mlp_ratio"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    name: str,
    change: dict[str, Any],
    word: str,
    tmp_path: Path,
    write: Any,
    resolve: Any,
    left_over: Any,
) -> None:
    write(name, tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    (config["audio_config"] if name == "clap" else config).update(change)
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=word) as caught:
        resolve(f"dir:{tmp_path / 'm'}")
    assert caught.value.info.accepted or caught.value.info.hint
    assert left_over() == []
