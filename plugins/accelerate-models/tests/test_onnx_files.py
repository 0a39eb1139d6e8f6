# SPDX-License-Identifier: Apache-2.0
"""ONNX files, with and without external data, sound and broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from accelerate_models import FileSource
from onnx import TensorProto, helper, numpy_helper

from accelerate_core.errors import ModelError
from accelerate_core.protocols import Context

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def matmul(dtype: type = np.float32, **changes: Any) -> onnx.ModelProto:
    """Return `y = x @ WEIGHT`; `changes` replace the operator, its domain, its inputs."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    node = helper.make_node(
        changes.get("op_type", "MatMul"),
        changes.get("inputs", ["x", "w"]),
        ["y"],
        name="head/MatMul",
        domain=changes.get("domain", ""),
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", kind, ["batch", 3])],
        [helper.make_tensor_value_info(changes.get("output", "y"), kind, ["batch", 4])],
        [numpy_helper.from_array(WEIGHT.astype(dtype), "w")],
    )
    opsets = [helper.make_opsetid("", changes.get("opset", 17))]
    if changes.get("domain"):
        opsets.append(helper.make_opsetid(changes["domain"], 1))
    return helper.make_model(graph, ir_version=8, opset_imports=opsets)


def save_external(path: Path, location: str = "weights.bin") -> onnx.ModelProto:
    model = matmul()
    tensor = model.graph.initializer[0]
    data = path.parent / location
    data.parent.mkdir(parents=True, exist_ok=True)
    data.write_bytes(b"\0" * 64 + tensor.raw_data)
    tensor.ClearField("raw_data")
    set_external(tensor, location=location, offset=64, length=48)
    path.write_bytes(model.SerializeToString())
    return model


def set_external(tensor: onnx.TensorProto, **entries: Any) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in" / "model.onnx"


@pytest.fixture
def refusal(path: Path, resolve: Any, left_over: Any) -> Callable[..., ModelError]:
    def call(data: bytes | onnx.ModelProto | None = None, precision: str = "fp32") -> ModelError:
        if data is not None:
            raw = data if isinstance(data, bytes) else data.SerializeToString()
            path.write_bytes(raw)
        with pytest.raises(ModelError) as caught:
            resolve(f"file:{path}", precision=precision)
        assert left_over() == []
        return caught.value

    return call


def test_a_file_becomes_an_asset(ctx: Context, path: Path, resolve: Any, run: Any) -> None:
    onnx.save(matmul(), path)
    spec = resolve(f"file:{path}")
    assert ctx.assets.path(spec.assets[0].sha256).read_bytes() == path.read_bytes()
    assert [(t.name, t.dtype, t.shape) for t in (*spec.inputs, *spec.outputs)] == [
        ("x", "float32", ("batch", 3)),
        ("y", "float32", ("batch", 4)),
    ]
    assert spec.operators == ("MatMul",) and spec.parameters == 12 and spec.precision == "fp32"
    assert spec.processor is None and spec.task is None
    assert spec.source == f"file:{path}" and spec.name == "model"
    x = np.eye(2, 3, dtype=np.float32)
    np.testing.assert_array_equal(run(spec, {"x": x})["y"], x @ WEIGHT)


@pytest.mark.parametrize("location", ["weights.bin", "parts/weights.bin"])
def test_external_data_is_kept_under_the_name_the_graph_uses(
    path: Path, resolve: Any, run: Any, location: str
) -> None:
    save_external(path, location)
    spec = resolve(f"file:{path}")
    assert [asset.name for asset in spec.assets] == ["model.onnx", location]
    assert spec.size_bytes == path.stat().st_size + 112
    x = np.eye(2, 3, dtype=np.float32)
    np.testing.assert_array_equal(run(spec, {"x": x})["y"], x @ WEIGHT)


def test_changed_external_data_is_another_model(path: Path, resolve: Any) -> None:
    save_external(path)
    first = resolve(f"file:{path}")
    assert resolve(f"file:{path}") == first
    data = path.with_name("weights.bin")
    data.write_bytes(b"\1" + data.read_bytes()[1:])
    assert resolve(f"file:{path}").sha256 != first.sha256


def test_free_dimensions_have_names(path: Path, resolve: Any) -> None:
    model = matmul()
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    sizes[0].ClearField("dim_param")
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = -1
    path.write_bytes(model.SerializeToString())
    spec = resolve(f"file:{path}")
    assert spec.inputs[0].shape == ("?", 3) and spec.outputs[0].shape == ("?", 4)


def test_a_half_precision_file_says_so(path: Path, resolve: Any, refusal: Any) -> None:
    error = refusal(matmul(np.float16))
    assert error.info.accepted == ("fp16",)
    assert resolve(f"file:{path}", precision="fp16").precision == "fp16"


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_files_beside_it_make_a_processor(
    ctx: Context,
    tmp_path: Path,
    make_checkpoint: Any,
    resolve: Any,
    run: Any,
    model_type: str,
) -> None:
    make_checkpoint(tmp_path / "m", model_type)
    built = resolve(f"dir:{tmp_path / 'm'}")
    for asset in built.assets:
        shutil.copyfile(ctx.assets.path(asset.sha256), tmp_path / "m" / asset.name)
    spec = resolve(f"file:{tmp_path / 'm' / 'model.onnx'}")
    assert spec.sha256 == built.sha256
    assert spec.task == "text_embedding" and spec.family == model_type
    assert spec.processor == built.processor
    assert spec.metadata["blocks"] == built.metadata["blocks"]
    processor = FileSource().model_create(None, ctx).processor(spec.processor)
    encoded = processor.encode(["the cat", "the cat sat on a mat"])
    assert processor.decode(run(spec, encoded), encoded).shape == (2, 21)

    (tmp_path / "m" / "tokenizer.json").unlink()
    assert resolve(f"file:{tmp_path / 'm' / 'model.onnx'}").processor is None


@pytest.mark.parametrize(
    "data",
    [b"", b"not onnx at all", b"PK\x03\x04" + b"\0" * 50, b"\x89PNG\r\n", b"\xff" * 4096],
    ids=["empty", "text", "zip", "png", "ff"],
)
def test_a_file_that_is_no_onnx(refusal: Any, data: bytes) -> None:
    error = refusal(data)
    assert "not an ONNX file" in error.info.message and error.info.hint


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
def test_a_truncated_file(refusal: Any, share: float) -> None:
    data = matmul().SerializeToString()
    error = refusal(data[: int(len(data) * share)])
    assert "truncated" in str(error)


def test_an_unknown_operator(refusal: Any) -> None:
    assert "ai.onnx.MatMull" in refusal(matmul(op_type="MatMull")).info.message
    assert "my.shop.Magic" in refusal(matmul(op_type="Magic", domain="my.shop")).info.message


def test_operators_of_onnx_runtime_are_left_to_the_backend(path: Path, resolve: Any) -> None:
    onnx.save(matmul(op_type="FusedMatMul", domain="com.microsoft"), path)
    assert resolve(f"file:{path}").operators == ("com.microsoft.FusedMatMul",)


def test_an_unknown_opset(refusal: Any) -> None:
    assert "opset 999" in refusal(matmul(opset=999)).info.message


def test_a_graph_with_loose_ends(refusal: Any) -> None:
    assert "'z', which nothing makes" in refusal(matmul(inputs=["x", "z"])).info.message
    assert "nothing makes output 'z'" in refusal(matmul(output="z")).info.message


def test_a_tensor_with_too_few_bytes(refusal: Any) -> None:
    model = matmul()
    model.graph.initializer[0].raw_data = b"\0" * 40
    assert "40 bytes and needs 48" in refusal(model).info.message


@pytest.mark.parametrize("change", ["dtype", "negative"])
def test_a_tensor_that_makes_no_sense(refusal: Any, change: str) -> None:
    model = matmul()
    if change == "dtype":
        model.graph.initializer[0].data_type = 0
    else:
        model.graph.initializer[0].dims[0] = -3
    assert "no known dtype or a negative dimension" in refusal(model).info.message


def test_an_input_without_a_shape(refusal: Any) -> None:
    model = matmul()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "known type and rank" in refusal(model).info.message


@pytest.mark.parametrize(
    "location", ["../weights.bin", "/etc/passwd", "a/../../b", "..\\weights.bin", "C:weights", ""]
)
def test_external_data_outside_the_folder(path: Path, refusal: Any, location: str) -> None:
    model = save_external(path)
    set_external(model.graph.initializer[0], location=location)
    error = refusal(model)
    assert "outside its own folder" in error.info.message


def test_external_data_of_a_subgraph_is_judged_too(refusal: Any) -> None:
    model = matmul()
    inner = helper.make_graph(
        [helper.make_node("Identity", ["v"], ["o"])],
        "inner",
        [],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, [1])],
        [TensorProto(name="v", data_type=TensorProto.FLOAT, dims=[1])],
    )
    set_external(inner.initializer[0], location="../../secret")
    condition = numpy_helper.from_array(np.array(True), "c")
    model.graph.initializer.append(condition)
    model.graph.node.append(
        helper.make_node("If", ["c"], ["unused"], then_branch=inner, else_branch=inner)
    )
    assert "outside its own folder" in refusal(model).info.message


def test_external_data_named_like_the_graph(path: Path, refusal: Any) -> None:
    model = save_external(path)
    set_external(model.graph.initializer[0], location="model.onnx", offset=0, length=48)
    assert "as the graph itself" in refusal(model).info.message


def test_missing_external_data(path: Path, refusal: Any) -> None:
    save_external(path)
    path.with_name("weights.bin").unlink()
    error = refusal()
    assert "weights.bin is missing" in error.info.message


def test_external_data_that_is_too_short(path: Path, refusal: Any) -> None:
    save_external(path)
    path.with_name("weights.bin").write_bytes(b"\0" * 100)
    assert "has 100 bytes; the graph needs 112" in refusal().info.message


@pytest.mark.parametrize("entries", [{"offset": "x"}, {"offset": -1}, {"length": 47}])
def test_external_data_that_lies_about_its_place(
    path: Path, refusal: Any, entries: dict[str, Any]
) -> None:
    model = save_external(path)
    set_external(model.graph.initializer[0], location="weights.bin", **entries)
    assert "does not say where its 48 bytes" in refusal(model).info.message


def test_a_graph_over_2_gb(path: Path, refusal: Any) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 31)
    error = refusal()
    assert "over 2 GiB" in error.info.message and "save_as_external_data" in str(error.info.hint)


def test_broken_files_beside_it(
    ctx: Context, tmp_path: Path, make_checkpoint: Any, resolve: Any
) -> None:
    make_checkpoint(tmp_path / "m", "bert")
    for asset in resolve(f"dir:{tmp_path / 'm'}").assets:
        shutil.copyfile(ctx.assets.path(asset.sha256), tmp_path / "m" / asset.name)
    (tmp_path / "m" / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="not a tokenizer"):
        resolve(f"file:{tmp_path / 'm' / 'model.onnx'}")
