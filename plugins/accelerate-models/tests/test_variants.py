# SPDX-License-Identifier: Apache-2.0
"""fp16 and 8-bit variants: right, small, remembered, and made without holding the model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from accelerate_models import variants, variants_bits
from onnx import TensorProto, helper, numpy_helper

from accelerate_core.errors import ModelError
from accelerate_core.measuring.numbers import relative_l2
from accelerate_core.protocols import Context
from accelerate_core.types import ModelSpec

RNG = np.random.default_rng(5)
IDS = RNG.integers(5, 11, (3, 7))
INPUTS = {
    "input_ids": IDS,
    "attention_mask": np.tril(np.ones_like(IDS))[::-1].copy(),
    "token_type_ids": IDS * 0,
}


def model_of(
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    *,
    inputs: dict[str, tuple[int, Sequence[int | str]]],
    outputs: dict[str, Sequence[int | str]],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, shape)
            for n, shape in outputs.items()
        ],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    return model


def weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 0.3, shape).astype(np.float32)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[onnx.ModelProto], str]:
    def call(model: onnx.ModelProto) -> str:
        onnx.save(model, tmp_path / "some.onnx")
        return f"file:{tmp_path / 'some.onnx'}"

    return call


@pytest.fixture
def graph_of(ctx: Context) -> Callable[[ModelSpec], onnx.GraphProto]:
    def call(spec: ModelSpec) -> onnx.GraphProto:
        path = ctx.assets.path(spec.assets[0].sha256)
        return onnx.load(str(path), load_external_data=False).graph

    return call


@pytest.mark.parametrize(
    ("precision", "limit"), [("fp16", 5e-3), ("int8", 3e-2), ("int4", 0.3), ("int2", 2.0)]
)
def test_a_directorys_variant_is_close_and_says_how_close(
    checkpoint: Path, resolve: Any, run: Any, precision: str, limit: float
) -> None:
    full, made = (resolve(f"dir:{checkpoint}", precision=p) for p in ("fp32", precision))
    assert 0 < relative_l2(run(made, INPUTS), run(full, INPUTS)) < limit
    error = made.metadata["error"]
    assert 0 < error["relative_l2"]["last_hidden_state"] < limit
    assert error["inputs"] == "the processor's sample" and "onnxruntime" in error["runtime"]
    assert made.precision == precision and "error" not in full.metadata
    assert made.sha256 != full.sha256 and made.size_bytes < 0.9 * full.size_bytes
    assert (made.inputs, made.outputs) == (full.inputs, full.outputs)
    assert (made.parameters, made.processor) == (full.parameters, full.processor)
    json.dumps(dict(made.metadata))


def test_three_bits_are_made_for_our_own_engine(checkpoint: Path, resolve: Any) -> None:
    made = resolve(f"dir:{checkpoint}", precision="int3")
    assert made.precision == "int3" and "com.microsoft.MatMulNBits" in made.operators
    error = made.metadata["error"]
    assert error["relative_l2"] is None
    assert error["reason"] == "ONNX Runtime has no weights of 3 bits"


def test_a_file_of_packed_weights_says_how_many_bits(
    ctx: Context, checkpoint: Path, resolve: Any, tmp_path: Path
) -> None:
    """Its tables stay in fp32, and are larger than what was packed."""
    made = resolve(f"dir:{checkpoint}", precision="int4")
    for asset in made.assets:
        (tmp_path / asset.name).write_bytes(ctx.assets.path(asset.sha256).read_bytes())
    path = tmp_path / made.assets[0].name
    assert resolve(f"file:{path}", precision="int4").precision == "int4"
    with pytest.raises(ModelError, match="this file is int4, and fp32 was asked"):
        resolve(f"file:{path}")


def test_eight_bits_keep_blocks_and_count_their_bytes(
    checkpoint: Path, resolve: Any, graph_of: Any
) -> None:
    full, made = (resolve(f"dir:{checkpoint}", precision=p) for p in ("fp32", "int8"))
    assert "com.microsoft.MatMulNBits" in made.operators and "Gather" in made.operators
    products = [node for node in graph_of(made).node if node.op_type == "MatMulNBits"]
    assert len(products) == 3 * 6
    assert {entry.value for node in products for entry in node.metadata_props} == {
        f"encoder.layer.{index}" for index in range(3)
    }
    before, after = (
        {block["name"]: block for block in spec.metadata["blocks"]} for spec in (full, made)
    )
    assert before.keys() == after.keys()
    assert after["embeddings"] == before["embeddings"]
    layer = "encoder.layer.1"
    assert after[layer]["parameters"] == before[layer]["parameters"]
    # 21 and 37 rows are padded to groups of 32, so these layers shrink by less than four.
    assert after[layer]["size_bytes"] < 0.6 * before[layer]["size_bytes"]


@pytest.mark.parametrize("rows", [21, 64])
def test_quantized_weights_are_those_of_onnx_runtimes_tool(rows: int) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    matrix = weight(rows, 5)
    model = model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"w": matrix},
        inputs={"x": (TensorProto.FLOAT, ["batch", rows])},
        outputs={"y": ["batch", 5]},
    )
    tool = MatMulNBitsQuantizer(model, bits=8, block_size=32, is_symmetric=True)
    tool.process()
    wanted = {t.name: numpy_helper.to_array(t) for t in tool.model.model.graph.initializer}
    packed = variants_bits.to_nearest(8)("w", matrix)
    np.testing.assert_array_equal(packed.values, wanted["w_Q8"])
    np.testing.assert_array_equal(packed.scales.reshape(-1), wanted["w_scales"].reshape(-1))
    assert packed.zeros is None


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_variant_is_made_once(
    checkpoint: Path, resolve: Any, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = resolve(f"dir:{checkpoint}", precision=precision)
    for name in ("variants.make_variant", "variants_error.measure_error"):
        monkeypatch.delattr(f"accelerate_models.{name}")
    assert resolve(f"dir:{checkpoint}", precision=precision) == first


def test_a_variant_follows_its_original(
    ctx: Context, checkpoint: Path, resolve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = resolve(f"dir:{checkpoint}", precision="int8")
    (checkpoint / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    second = resolve(f"dir:{checkpoint}", precision="int8")
    assert second.sha256 == first.sha256
    assert second.processor.settings["max_length"] == 9
    path = ctx.assets.path(second.assets[1].sha256)
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    assert resolve(f"dir:{checkpoint}", precision="int8") == second
    assert path.read_bytes() == good


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("is_external", [False, True])
def test_files_are_converted(
    tmp_path: Path, resolve: Any, run: Any, graph_of: Any, precision: str, is_external: bool
) -> None:
    model = model_of(
        [
            helper.make_node("Gather", ["table", "ids"], ["a"]),
            helper.make_node("MatMul", ["a", "w"], ["b"], name="product"),
            helper.make_node("Transpose", ["table"], ["t"], perm=[1, 0]),
            helper.make_node("MatMul", ["b", "t"], ["c"]),
            helper.make_node("MatMul", ["c", "table"], ["d"]),
            helper.make_node("Mul", ["d", "half"], ["y"]),
        ],
        {"table": weight(50, 40), "w": weight(40, 40), "half": np.array(0.5, np.float32)},
        inputs={"ids": (TensorProto.INT64, ["batch", "sequence"])},
        outputs={"y": ["batch", "sequence", 40]},
    )
    path = tmp_path / "some.onnx"
    onnx.save(model, path, save_as_external_data=is_external, location="w.bin", size_threshold=0)
    full, made = (resolve(f"file:{path}", precision=p) for p in ("fp32", precision))
    inputs = {"ids": np.array([[0, 49, 7]])}
    assert 0 < relative_l2(run(made, inputs), run(full, inputs)) < 1e-2
    assert made.inputs == full.inputs and made.outputs == full.outputs
    assert made.metadata["error"]["inputs"] == "made-up inputs of length 8"
    assert [asset.name for asset in made.assets] == ["model.onnx", "model.onnx.data"]
    # ONNX Runtime in browsers cannot read a factor from outside the graph.
    assert [one.name for one in graph_of(made).initializer if not one.external_data] == ["half"]
    # In 8 bits the table is there twice: to look up in, and as a matrix.
    assert made.size_bytes < (0.7 if precision == "fp16" else 1.1) * 4 * (50 + 40) * 40
    assert made.parameters == full.parameters == (50 + 40) * 40


def test_fp16_keeps_what_needs_float32_and_sorts_its_casts(
    save: Any, resolve: Any, run: Any, graph_of: Any
) -> None:
    """CumSum and Max stay in float32; a mask's -3.4e38 must not become minus infinity."""
    mask = np.triu(np.full((40, 40), np.finfo(np.float32).min, np.float32), 1)
    inner = helper.make_graph(
        [helper.make_node("Add", ["m", "w"], ["then"])],
        "then",
        [],
        [helper.make_tensor_value_info("then", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["m"], ["else"])],
        "else",
        [],
        [helper.make_tensor_value_info("else", TensorProto.FLOAT, None)],
    )
    model = model_of(
        [
            helper.make_node("CumSum", ["x", "axis"], ["s"]),
            helper.make_node("Max", ["s", "x"], ["m"]),
            helper.make_node("If", ["yes"], ["i"], then_branch=inner, else_branch=other),
            helper.make_node("Add", ["i", "mask"], ["masked"]),
            helper.make_node("Softmax", ["masked"], ["y"]),
        ],
        {"axis": np.array(0), "mask": mask, "w": weight(40, 40), "yes": np.array(True)},
        inputs={"x": (TensorProto.FLOAT, [40, 40])},
        outputs={"y": [40, 40]},
    )
    full, made = (resolve(save(model), precision=p) for p in ("fp32", "fp16"))
    assert made.inputs == full.inputs and made.outputs == full.outputs
    x = {"x": weight(40, 40)}
    assert 0 < relative_l2(run(made, x), run(full, x)) < 5e-3
    known = {value.name for value in made.inputs} | {""}
    graph = graph_of(made)
    known |= {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        assert known.issuperset(node.input), node.name
        known.update(node.output)


def test_initializers_listed_as_inputs_are_weights(save: Any, resolve: Any, run: Any) -> None:
    model = model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"w": weight(64, 64)},
        inputs={"x": (TensorProto.FLOAT, ["batch", 64]), "w": (TensorProto.FLOAT, [64, 64])},
        outputs={"y": ["batch", 64]},
    )
    x = {"x": weight(2, 64)}
    full = run(resolve(save(model)), x)
    for precision in ("fp16", "int8"):
        made = resolve(save(model), precision=precision)
        assert [tensor.name for tensor in made.inputs] == ["x"]
        assert 0 < relative_l2(run(made, x), full) < 1e-2


def test_what_cannot_be_measured_says_why(save: Any, resolve: Any) -> None:
    model = model_of(
        [
            helper.make_node("Reshape", ["x", "shape"], ["r"]),
            helper.make_node("MatMul", ["r", "w"], ["y"]),
        ],
        {"w": weight(64, 64), "shape": np.array([3, 64])},
        inputs={"x": (TensorProto.FLOAT, ["n"])},
        outputs={"y": [3, 64]},
    )
    error = resolve(save(model), precision="int8").metadata["error"]
    assert error["relative_l2"] is None and "Reshape" in error["reason"]


# --- refused ----------------------------------------------------------------------------------


def test_only_fp32_is_converted(save: Any, resolve: Any, left_over: Any) -> None:
    model = model_of(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
        ],
        {"w": weight(8, 8).astype(np.float16)},
        inputs={"x": (TensorProto.FLOAT16, ["batch", 8])},
        outputs={"y": ["batch", 8]},
    )
    with pytest.raises(ModelError, match="is fp16, and int8 was asked") as caught:
        resolve(save(model), precision="int8")
    assert caught.value.info.accepted == ("fp16",) and "fp32" in (caught.value.info.hint or "")
    assert left_over() == []


def test_eight_bits_need_a_matrix_product(save: Any, resolve: Any, ctx: Context) -> None:
    model = model_of(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        {"w": weight(8, 8)},
        inputs={"x": (TensorProto.FLOAT, [8, 8])},
        outputs={"y": [8, 8]},
    )
    with pytest.raises(ModelError, match="this graph has none") as caught:
        resolve(save(model), precision="int8")
    assert caught.value.info.accepted == ("fp32", "fp16")
    original = resolve(save(model))
    assert {path.name for path in ctx.assets.root.rglob("*") if path.is_file()} == {
        asset.sha256 for asset in original.assets
    }


def test_a_graph_the_converter_cannot_take_is_refused(save: Any, resolve: Any) -> None:
    def branch(name: str) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node("Add", ["x", "same"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(weight(1), "same")],
        )

    branches = {"then_branch": branch("one"), "else_branch": branch("two")}
    model = model_of(
        [helper.make_node("If", ["yes"], ["y"], **branches)],
        {"yes": np.array(True)},
        inputs={"x": (TensorProto.FLOAT, [3])},
        outputs={"y": [3]},
    )
    with pytest.raises(ModelError, match="no fp16 of this graph: AssertionError") as caught:
        resolve(save(model), precision="fp16")
    assert caught.value.info.accepted == ("fp32", "int8", "int4", "int3", "int2")


def test_a_variant_that_does_not_run_is_refused(
    save: Any, resolve: Any, left_over: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"w": weight(64, 64)},
        inputs={"x": (TensorProto.FLOAT, ["batch", 64])},
        outputs={"y": ["batch", 64]},
    )
    resolve(save(model))
    before = left_over()
    three = variants_bits.to_nearest(3)  # ONNX Runtime has no kernel for it
    monkeypatch.setattr(variants_bits, "to_nearest", lambda bits: three)
    with pytest.raises(ModelError, match="does not run where the fp32 model does"):
        resolve(save(model), precision="int8")
    assert [one for one in left_over() if "/assets/" in one] == [
        one for one in before if "/assets/" in one
    ]


# --- memory -----------------------------------------------------------------------------------

MEASURE = r"""
import re, sys
from pathlib import Path
import numpy, onnxruntime
import accelerate_models.onnx_file, accelerate_models.variants, accelerate_models.variants_error
from accelerate_models.cache import AssetBatch
from accelerate_core.host import Host
host = Host(cache_dir=Path(sys.argv[1]), state_dir=Path(sys.argv[1]))
original = host.resolve_model(sys.argv[2])
def peak():
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
with AssetBatch(host.context.assets) as batch:
    accelerate_models.variants.make_variant(original, sys.argv[3], batch, host.context.assets)
print(1024 * (peak() - before))
"""


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_weights_are_converted_one_at_a_time(tmp_path: Path, precision: str) -> None:
    count, size = 16, 1024
    names = [f"w{index}" for index in range(count)]
    values = ["x", *(f"h{index}" for index in range(count))]
    model = model_of(
        [
            helper.make_node("MatMul", [a, w], [b])
            for a, w, b in zip(values, names, values[1:], strict=False)
        ],
        dict.fromkeys(names, weight(size, size)),
        inputs={"x": (TensorProto.FLOAT, ["batch", size])},
        outputs={values[-1]: ["batch", size]},
    )
    onnx.save(model, tmp_path / "big.onnx", save_as_external_data=True, location="w.bin")
    arguments = [str(tmp_path / "cache"), f"file:{tmp_path / 'big.onnx'}", precision]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"\d+", done.stdout.strip())
    assert int(done.stdout) < 0.6 * 4 * count * size * size, variants.__name__
