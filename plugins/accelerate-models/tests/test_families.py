# SPDX-License-Identifier: Apache-2.0
"""Every family against transformers, on native ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from accelerate_core.protocols import Context
from accelerate_core.types import ModelSpec

ALL = ["bert", "distilbert", "roberta", "xlm-roberta"]


def inputs_for(spec: ModelSpec, batch: int, sequence: int, pad_id: int, left: bool = False) -> Any:
    """Random ids; row r has r padded positions, at the end or in front."""
    rng = np.random.default_rng(batch * 100 + sequence)
    ids = rng.integers(5, 53, (batch, sequence))
    mask = np.ones((batch, sequence), np.int64)
    for row in range(batch):
        padded = min(2 * row, sequence - 1)
        mask[row, :padded] = 0
    if not left:
        mask = mask[:, ::-1].copy()
    ids[mask == 0] = pad_id
    values = {"input_ids": ids, "attention_mask": mask}
    if any(tensor.name == "token_type_ids" for tensor in spec.inputs):
        values["token_type_ids"] = np.zeros_like(ids)
    return values


def expected(model: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    import torch

    with torch.no_grad():
        result = model(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    return result.last_hidden_state.float().numpy()


@pytest.mark.parametrize("model_type", ALL)
def test_output_equals_transformers(
    model_type: str, tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any
) -> None:
    model = make_checkpoint(tmp_path / "m", model_type)
    spec = resolve(f"dir:{tmp_path / 'm'}")
    pad_id = model.config.pad_token_id
    for batch, sequence, left in ((1, 1, False), (3, 7, False), (3, 7, True), (2, 39, False)):
        inputs = inputs_for(spec, batch, sequence, pad_id, left)
        actual = run(spec, inputs)["last_hidden_state"]
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, expected(model, inputs), atol=1e-4, rtol=1e-4)
    assert spec.parameters == sum(
        parameter.numel() for name, parameter in model.named_parameters() if "pooler" not in name
    )
    assert spec.family == model_type and spec.task == "text_embedding"


def test_token_types_reach_the_output(
    tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any
) -> None:
    model = make_checkpoint(tmp_path / "m", "bert")
    spec = resolve(f"dir:{tmp_path / 'm'}")
    inputs = inputs_for(spec, 2, 5, 0)
    inputs["token_type_ids"][:, 3:] = 1
    actual = run(spec, inputs)["last_hidden_state"]
    np.testing.assert_allclose(actual, expected(model, inputs), atol=1e-4, rtol=1e-4)


def test_padding_changes_nothing(
    tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any
) -> None:
    make_checkpoint(tmp_path / "m", "bert")
    spec = resolve(f"dir:{tmp_path / 'm'}")
    short = inputs_for(spec, 1, 5, 0)
    long = {name: np.pad(value, ((0, 0), (0, 6))) for name, value in short.items()}
    long["input_ids"][:, 5:] = 17  # whatever stands under the mask
    np.testing.assert_allclose(
        run(spec, long)["last_hidden_state"][:, :5],
        run(spec, short)["last_hidden_state"],
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "kind", ["gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "tanh"]
)
def test_every_activation(
    kind: str, tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any
) -> None:
    model = make_checkpoint(tmp_path / "m", "bert", hidden_act=kind, num_hidden_layers=1)
    spec = resolve(f"dir:{tmp_path / 'm'}")
    inputs = inputs_for(spec, 2, 5, 0)
    actual = run(spec, inputs)["last_hidden_state"]
    np.testing.assert_allclose(actual, expected(model, inputs), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model_type", ALL)
def test_fp16_takes_and_gives_the_same_types(
    model_type: str, tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any
) -> None:
    model = make_checkpoint(tmp_path / "m", model_type)
    full, half = (resolve(f"dir:{tmp_path / 'm'}", precision=p) for p in ("fp32", "fp16"))
    inputs = inputs_for(half, 3, 7, model.config.pad_token_id)
    actual = run(half, inputs)["last_hidden_state"]
    wanted = expected(model, inputs)
    assert actual.dtype == np.float32
    assert np.linalg.norm(actual - wanted) / np.linalg.norm(wanted) < 2e-2
    assert not np.array_equal(actual, run(full, inputs)["last_hidden_state"])
    assert half.assets[1].size_bytes < 0.6 * full.assets[1].size_bytes
    assert half.inputs == full.inputs and half.outputs == full.outputs
    assert half.sha256 != full.sha256 and half.precision == "fp16"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_checkpoints_are_widened(
    dtype: str, tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any
) -> None:
    model = make_checkpoint(tmp_path / "m", "bert", dtype=dtype)
    spec = resolve(f"dir:{tmp_path / 'm'}")
    inputs = inputs_for(spec, 2, 5, 0)
    actual = run(spec, inputs)["last_hidden_state"]
    np.testing.assert_allclose(actual, expected(model.float(), inputs), atol=1e-4, rtol=1e-4)


def test_a_sharded_checkpoint_gives_the_same_model(
    tmp_path: Path, make_checkpoint: Any, resolve: Any
) -> None:
    model = make_checkpoint(tmp_path / "one", "bert")
    make_checkpoint(tmp_path / "many", "bert")
    (tmp_path / "many" / "model.safetensors").unlink()
    model.save_pretrained(tmp_path / "many", max_shard_size="20KB")
    assert (tmp_path / "many" / "model.safetensors.index.json").is_file()
    one, many = (resolve(f"dir:{tmp_path / name}") for name in ("one", "many"))
    assert one.sha256 == many.sha256


def test_a_checkpoint_with_a_task_head_gives_its_base_model(
    tmp_path: Path, make_checkpoint: Any, resolve: Any
) -> None:
    import transformers

    base = make_checkpoint(tmp_path / "base", "bert")
    make_checkpoint(tmp_path / "head", "bert")
    head = transformers.BertForMaskedLM(base.config)
    head.bert.load_state_dict(base.state_dict(), strict=False)
    head.save_pretrained(tmp_path / "head")
    with_head = resolve(f"dir:{tmp_path / 'head'}")
    assert with_head.sha256 == resolve(f"dir:{tmp_path / 'base'}").sha256
    assert any(name.startswith("cls.") for name in with_head.metadata["unused_tensors"])


@pytest.mark.parametrize("model_type", ALL)
def test_fixed_sizes_leave_nothing_dynamic(
    model_type: str, tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any
) -> None:
    """WebNN takes every node only if no shape is computed once the sizes are fixed."""
    import onnxruntime

    model = make_checkpoint(tmp_path / "m", model_type)
    spec = resolve(f"dir:{tmp_path / 'm'}")
    run(spec, inputs_for(spec, 1, 5, model.config.pad_token_id))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fixed.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.add_free_dimension_override_by_name("batch", 2)
    options.add_free_dimension_override_by_name("sequence", 5)
    onnxruntime.InferenceSession(tmp_path / "run" / spec.sha256 / "model.onnx", options)
    operators = {
        node.op_type
        for node in onnx.load(tmp_path / "fixed.onnx", load_external_data=False).graph.node
    }
    assert not operators & {"Shape", "Slice", "Range", "Expand", "Concat", "Where"}
    assert "MatMul" in operators or "Gemm" in operators


def test_nodes_carry_their_block(
    ctx: Context, tmp_path: Path, make_checkpoint: Any, resolve: Callable[..., ModelSpec]
) -> None:
    make_checkpoint(tmp_path / "m", "bert")
    spec = resolve(f"dir:{tmp_path / 'm'}")
    graph = onnx.load(ctx.assets.path(spec.assets[0].sha256), load_external_data=False).graph
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert "encoder.layer.2/attention/query/MatMul" in names
    node = graph.node[names.index("encoder.layer.2/attention/query/MatMul")]
    assert {entry.key: entry.value for entry in node.metadata_props} == {
        "accelerate.block": "encoder.layer.2"
    }
    blocks = spec.metadata["blocks"]
    assert [block["name"] for block in blocks] == [
        "embeddings",
        *(f"encoder.layer.{index}" for index in range(3)),
    ]
    assert sum(block["parameters"] for block in blocks) == spec.parameters
    json.dumps(spec.metadata)


def test_a_spec_describes_the_graph(
    ctx: Context, tmp_path: Path, make_checkpoint: Any, resolve: Callable[..., ModelSpec]
) -> None:
    make_checkpoint(tmp_path / "m", "distilbert")
    spec = resolve(f"dir:{tmp_path / 'm'}")
    assert [asset.name for asset in spec.assets] == ["model.onnx", "model.onnx.data"]
    assert [tensor.name for tensor in spec.inputs] == ["input_ids", "attention_mask"]
    assert {tensor.shape for tensor in spec.inputs} == {("batch", "sequence")}
    assert [(t.name, t.dtype, t.shape) for t in spec.outputs] == [
        ("last_hidden_state", "float32", ("batch", "sequence", 21))
    ]
    assert spec.metadata["hidden_size"] == 21 and spec.metadata["layers"] == 3
    assert spec.metadata["max_positions"] == 41
    onnx.checker.check_model(_inline(ctx, spec), full_check=True)


def _inline(ctx: Context, spec: ModelSpec) -> onnx.ModelProto:
    model = onnx.load(ctx.assets.path(spec.assets[0].sha256), load_external_data=False)
    data = ctx.assets.path(spec.assets[1].sha256).read_bytes()
    for tensor in model.graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries:
            start = int(entries["offset"])
            tensor.raw_data = data[start : start + int(entries["length"])]
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
    return model
