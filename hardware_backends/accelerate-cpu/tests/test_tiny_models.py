# SPDX-License-Identifier: Apache-2.0
"""The tiny models of `accelerate_core.testing` are what this file makes.

`python hardware_backends/accelerate-cpu/tests/test_tiny_models.py` writes them again.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import accelerate_core

FOLDER = Path(accelerate_core.__file__).parent / "data"

#: Small whole numbers: exact in every precision, so any backend can be compared bit by bit.
MATMUL = np.array([[1, 2], [3, 4]], dtype=np.float32)
MLP = {
    "w1": (np.arange(8 * 16).reshape(8, 16) % 5 - 2).astype(np.float32) / 4,
    "b1": (np.arange(16) % 3 - 1).astype(np.float32) / 2,
    "w2": (np.arange(16 * 4).reshape(16, 4) % 7 - 3).astype(np.float32) / 4,
    "b2": np.arange(4).astype(np.float32),
}
RECURRENT = {
    "w": (np.arange(2 * 4).reshape(2, 4) % 5 - 1).astype(np.float32) / 4,
    "u": np.roll(np.eye(4, dtype=np.float32), 1, axis=1) / 2,
    "v": (np.arange(4 * 3).reshape(4, 3) % 4 - 1).astype(np.float32),
}
SLOW_STEPS = 64


def build() -> dict[str, bytes]:
    """Return every file by name."""
    matmul = _model(
        "tiny_matmul",
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [("x", ["batch", 2])],
        [("y", ["batch", 2])],
        {"w": MATMUL},
    )
    external = _model(
        "tiny_external",
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [("x", ["batch", 2])],
        [("y", ["batch", 2])],
        {"w": MATMUL},
    )
    _move_out(external.graph.initializer[0], "tiny_external.onnx.data")
    mlp = _model(
        "tiny_mlp",
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
            helper.make_node("Relu", ["h"], ["hidden"]),
            helper.make_node("Gemm", ["hidden", "w2", "b2"], ["out"]),
        ],
        [("x", ["batch", 8])],
        [("hidden", ["batch", 16]), ("out", ["batch", 4])],
        MLP,
    )
    names = ["x", *(f"h{step}" for step in range(1, SLOW_STEPS)), "y"]
    slow = _model(
        "slow_chain",
        [
            helper.make_node("MatMul", [before, "x"], [after])
            for before, after in itertools.pairwise(names)
        ],
        [("x", ["n", "n"])],
        [("y", ["n", "n"])],
        {},
    )
    recurrent = _model(
        "tiny_recurrent",
        [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("MatMul", ["h_in", "u"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["c"]),
            helper.make_node("Relu", ["c"], ["h_out"]),
            helper.make_node("MatMul", ["h_out", "v"], ["y"]),
        ],
        [("x", ["batch", 2]), ("h_in", ["batch", 4])],
        [("h_out", ["batch", 4]), ("y", ["batch", 3])],
        RECURRENT,
    )
    layers = _model(
        "layers",
        [*_layer("x", "1", ["m"]), *_layer("m", "2", ["y"])],
        [("x", ["batch", 2]), ("h1_in", ["batch", 4]), ("h2_in", ["batch", 4])],
        [("h1_out", ["batch", 4]), ("h2_out", ["batch", 4]), ("y", ["batch", 3])],
        {f"{name}{layer}": value for layer in "12" for name, value in RECURRENT.items()}
        | {"v1": (np.arange(4 * 2).reshape(4, 2) % 3 - 1).astype(np.float32) / 2},
    )
    # Extracting types the tensor at the cut: it was not declared.
    whole = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(layers))
    first = whole.extract_model(["x", "h1_in"], ["h1_out", "m"])
    second = whole.extract_model(["m", "h2_in"], ["h2_out", "y"])
    for name, part in (("cut_first", first), ("cut_second", second)):
        part.graph.name = name
        part.producer_name = "accelerate"
    unknown = _model(
        "unknown_operator",
        [helper.make_node("NoSuchOperator", ["x"], ["y"], domain="accelerate.test")],
        [("x", ["batch", 2])],
        [("y", ["batch", 2])],
        {},
    )
    models = (matmul, external, mlp, slow, recurrent, first, second, unknown)
    files = {f"{m.graph.name}.onnx": m.SerializeToString(deterministic=True) for m in models}
    return files | {"tiny_external.onnx.data": MATMUL.astype("<f4").tobytes()}


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    inputs: list[tuple[str, list[int | str]]],
    outputs: list[tuple[str, list[int | str]]],
    weights: dict[str, np.ndarray],
) -> onnx.ModelProto:
    def values(tensors: list[tuple[str, list[int | str]]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in tensors]

    graph = helper.make_graph(
        nodes,
        name,
        values(inputs),
        values(outputs),
        [numpy_helper.from_array(array, key) for key, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("accelerate.test", 1)]
    return helper.make_model(
        graph,
        producer_name="accelerate",
        ir_version=8,
        opset_imports=opsets if name == "unknown_operator" else opsets[:1],
    )


def _layer(source: str, layer: str, target: list[str]) -> list[onnx.NodeProto]:
    names = [f"{name}{layer}" for name in ("a", "b", "c")]
    state = f"h{layer}_out"
    return [
        helper.make_node("MatMul", [source, f"w{layer}"], names[:1]),
        helper.make_node("MatMul", [f"h{layer}_in", f"u{layer}"], names[1:2]),
        helper.make_node("Add", names[:2], names[2:]),
        helper.make_node("Relu", names[2:], [state]),
        helper.make_node("MatMul", [state, f"v{layer}"], target),
    ]


def _move_out(tensor: onnx.TensorProto, location: str) -> None:
    onnx.external_data_helper.set_external_data(tensor, location, offset=0, length=16)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL


@pytest.mark.parametrize("file", [*build()])
def test_shipped_file_is_what_this_makes(file: str) -> None:
    shipped, made = (FOLDER / file).read_bytes(), build()[file]
    if file.endswith(".onnx"):  # other versions of protobuf may order the bytes differently
        assert onnx.load_from_string(shipped) == onnx.load_from_string(made)
        onnx.checker.check_model(FOLDER / file)
    else:
        assert shipped == made


def test_no_other_file_is_shipped() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(build())


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, data in build().items():
        (FOLDER / file).write_bytes(data)
