# SPDX-License-Identifier: Apache-2.0
"""What a run costs, against numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from accelerate_models.costs import Costs, costs_of
from accelerate_models.shapes import shapes_of
from onnx import TensorProto, helper, numpy_helper

from accelerate_core.protocols import Context
from accelerate_core.types import ModelSpec

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def graph(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[Any]],
    outputs: list[str],
    weights: dict[str, Any] | None = None,
    kind: int = FLOAT,
) -> onnx.ModelProto:
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
    )


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)


def costs(spec: ModelSpec, ctx: Context, **shapes: tuple[int, ...]) -> Costs:
    path = ctx.assets.path(spec.assets[0].sha256)
    return costs_of(onnx.load(path, load_external_data=False), shapes)


def test_a_layer_of_bert(tmp_path: Path, make_checkpoint: Any, resolve: Any, ctx: Context) -> None:
    make_checkpoint(tmp_path / "m", "bert")
    spec = resolve(f"dir:{tmp_path / 'm'}")
    batch, sequence, hidden, heads, wide = 2, 7, 21, 3, 37
    found = costs(spec, ctx, **{tensor.name: (batch, sequence) for tensor in spec.inputs})
    tokens, scores = batch * sequence, batch * heads * sequence * sequence
    projections = 4 * 2 * tokens * hidden * hidden
    attention = 2 * (2 * batch * sequence * sequence * hidden)
    perceptron = 2 * (2 * tokens * hidden * wide)
    assert found.operators["MatMul"] == 3 * (projections + attention + perceptron)
    # Five biases, two shortcuts and two norms, and one bias that is wide.
    others = (5 + 2 + 2) * tokens * hidden + tokens * wide
    # Scale, mask and softmax; query, value and result transposed once, keys twice; GELU.
    others += 3 * scores + 5 * tokens * hidden + 5 * tokens * wide
    layers = [block for block in found.blocks if block.name.startswith("encoder.layer.")]
    assert [block.flops for block in layers] == [projections + attention + perceptron + others] * 3
    assert 0 <= found.weights_bytes - 4 * spec.parameters < 256  # bounds and factors
    assert not found.uncounted


def test_a_convolution_in_groups() -> None:
    model = graph(
        [node("Conv", "x w b", "y", group=2, strides=[2, 2], pads=[1, 1, 1, 1])],
        {"x": ["n", 4, "h", "w"]},
        ["y"],
        {"w": zeros(6, 2, 3, 3), "b": zeros(6)},
    )
    found = costs_of(model, {"x": (3, 4, 9, 7)})
    outputs = 3 * 6 * 5 * 4
    assert found.flops == 2 * outputs * 2 * 3 * 3
    assert found.moved_bytes == 4 * (3 * 4 * 9 * 7 + 6 * 2 * 3 * 3 + 6 + outputs)
    assert found.activations_bytes == 4 * (3 * 4 * 9 * 7 + outputs)


@pytest.mark.parametrize(
    ("kind", "attributes", "shapes", "flops"),
    [
        ("Gemm", {}, {"x": (3, 5), "w": (5, 7)}, 2 * 3 * 5 * 7),
        ("Gemm", {"transA": 1, "transB": 1}, {"x": (5, 3), "w": (7, 5)}, 2 * 3 * 5 * 7),
        ("MatMul", {}, {"x": (2, 1, 3, 5), "w": (4, 5, 7)}, 2 * 2 * 4 * 3 * 5 * 7),
        ("MatMul", {}, {"x": (5,), "w": (5,)}, 2 * 5),
        ("ConvTranspose", {}, {"x": (1, 4, 6, 6), "w": (4, 3, 2, 2)}, 2 * 4 * 36 * 3 * 4),
        ("Add", {}, {"x": (2, 1, 3), "w": (5, 1)}, 2 * 5 * 3),
    ],
)
def test_operators(kind: str, attributes: Any, shapes: dict[str, Any], flops: int) -> None:
    model = graph(
        [node(kind, "x w", "y", **attributes)],
        {"x": [None] * len(shapes["x"])},
        ["y"],
        {"w": zeros(*shapes["w"])},
    )
    assert costs_of(model, {"x": shapes["x"]}).flops == flops


def test_eight_bits_compute_as_much_and_weigh_less(
    tmp_path: Path, make_checkpoint: Any, resolve: Any, ctx: Context
) -> None:
    make_checkpoint(tmp_path / "m", "bert", hidden_size=96, intermediate_size=128)
    full, small = (resolve(f"dir:{tmp_path / 'm'}", precision=p) for p in ("fp32", "int8"))
    shapes = {tensor.name: (1, 5) for tensor in full.inputs}
    before, after = (costs(spec, ctx, **shapes) for spec in (full, small))
    assert after.flops == before.flops and not after.uncounted
    assert "com.microsoft.MatMulNBits" in after.operators
    assert after.weights_bytes < 0.5 * before.weights_bytes
    assert after.moved_bytes < before.moved_bytes


def test_memory_is_that_of_what_is_alive_at_once() -> None:
    """`a` dies when `b` is made; the view of `b` keeps it until `c`; input and output stay."""
    model = graph(
        [
            node("Concat", "x x x", "a", axis=0),
            node("Relu", "a", "b"),
            node("Reshape", "b shape", "view"),
            node("ReduceSum", "view", "c", keepdims=0),
        ],
        {"x": [10]},
        ["c"],
        {"shape": np.array([5, 6])},
    )
    found = costs_of(model, {"x": (10,)})
    assert found.activations_bytes == 4 * (10 + 30 + 30)
    assert found.flops == 30 + 30 + 1
    longer = graph(
        [*model.graph.node, node("Add", "view c", "d")],
        {"x": [10]},
        ["d"],
        {"shape": np.array([5, 6])},
    )
    assert costs_of(longer, {"x": (10,)}).activations_bytes == 4 * (10 + 30 + 1 + 30)


def test_a_view_takes_no_memory_of_its_own() -> None:
    model = graph(
        [
            node("Concat", "x x x", "a", axis=0),
            node("Reshape", "a shape", "view"),
            node("Relu", "view", "b"),
            node("ReduceSum", "a", "c", keepdims=0),
            node("ReduceSum", "b", "d", keepdims=0),
        ],
        {"x": [10]},
        ["c", "d"],
        {"shape": np.array([5, 6])},
    )
    assert costs_of(model, {"x": (10,)}).activations_bytes == 4 * (10 + 30 + 30 + 1)


def test_what_is_computed_of_shapes_is_followed() -> None:
    """As exporters write it: the sizes of a reshape are gathered from the input's shape."""
    model = graph(
        [
            node("Shape", "x", "shape"),
            node("Gather", "shape zero", "n", axis=0),
            node("Gather", "shape one", "m", axis=0),
            node("Mul", "n m", "both"),
            node("Unsqueeze", "both axis", "target"),
            node("Reshape", "x target", "flat"),
            node("Relu", "flat", "y"),
        ],
        {"x": ["n", "m"]},
        ["y"],
        {"zero": np.array(0), "one": np.array(1), "axis": np.array([0])},
    )
    assert shapes_of(model, {"x": (3, 5)})["y"].shape == (15,)
    assert not costs_of(model, {"x": (3, 5)}).uncounted


def test_what_depends_on_values_is_named_and_not_guessed() -> None:
    model = graph(
        [
            node("NonZero", "x", "where"),
            node("Cast", "where", "y", to=FLOAT),
            node("Relu", "x", "z"),
        ],
        {"x": [4]},
        ["y", "z"],
    )
    found = costs_of(model, {"x": (4,)})
    assert found.uncounted == ("Cast", "NonZero")
    assert found.flops == 4


def test_functions_of_a_model_are_looked_into() -> None:
    inner = helper.make_function(
        "own",
        "Twice",
        ["a"],
        ["c"],
        [node("Relu", "a", "b"), node("Relu", "b", "c")],
        [helper.make_opsetid("", 17)],
    )
    model = graph([helper.make_node("Twice", ["x"], ["y"], domain="own")], {"x": [5]}, ["y"])
    model.functions.append(inner)
    model.opset_import.append(helper.make_opsetid("own", 1))
    assert costs_of(model, {"x": (5,)}).operators == {"Relu": 10}


FAMILIES = ["distilbert", "roberta", "llama", "mistral", "qwen2", "t5", "bart"]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_operator_of_a_family_is_counted(
    name: str, tmp_path: Path, make_checkpoint: Any, resolve: Any, ctx: Context, run: Any
) -> None:
    """And the shapes are those that ONNX Runtime computes."""
    make_checkpoint(tmp_path / "m", name)
    spec = resolve(f"dir:{tmp_path / 'm'}")
    inputs = {tensor.name: np.zeros((2, 5), np.int64) for tensor in spec.inputs}
    found = costs(spec, ctx, **{name: value.shape for name, value in inputs.items()})
    assert not found.uncounted
    path = ctx.assets.path(spec.assets[0].sha256)
    known = shapes_of(
        onnx.load(path, load_external_data=False), {n: v.shape for n, v in inputs.items()}
    )
    outputs = run(spec, inputs)
    assert {n: known[n].shape for n in outputs} == {n: v.shape for n, v in outputs.items()}
