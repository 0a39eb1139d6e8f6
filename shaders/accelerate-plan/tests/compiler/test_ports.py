# SPDX-License-Identifier: Apache-2.0
"""Outputs that no node computes, or that several names ask for; shapes that values decide."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from accelerate_plan.fusions import fuse
from accelerate_plan.graph import Graph
from accelerate_plan.importing import to_graph
from accelerate_plan.lowering import Lowering
from accelerate_plan.testing.numpy_executor import run_program
from onnx import numpy_helper

from accelerate_core.errors import Unsupported

X = np.arange(10, dtype=np.float32).reshape(2, 5) - 4.5


def _graph(body: str) -> Graph:
    """Return the graph of ONNX text: its inputs, outputs, constants and nodes."""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 17]> ports {body}')
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    return to_graph(model, "ports", {"x": X.shape}, constants, "a test")


@pytest.mark.parametrize(
    "body, wanted",
    [
        ("(float[2,5] x) => (float[2,5] y) { y = Identity(x) }", {"y": X}),
        (
            "(float[2,5] x) => (float[2] c, float[2,5] y) <float[2] c = {1.0, 2.0}> { y = Neg(x) }",
            {"c": np.array([1, 2], np.float32), "y": -X},
        ),
        (
            "(float[2,5] x) => (float[2,5] y, float[2,5] z) { y = Neg(x) z = Identity(y) }",
            {"y": -X, "z": -X},
        ),
        ("(float[2,5] x) => (float[2,5] y) { y = Mul(x, x) }", {"y": X * X}),
        (
            "(float[2,5] x) => (float[2,10] y) { y = Concat <axis = 1> (x, x) }",
            {"y": np.concatenate([X, X], 1)},
        ),
    ],
    ids=["an input", "a constant", "the same twice", "of one operand twice", "of one part twice"],
)
def test_outputs(body: str, wanted: dict[str, np.ndarray]) -> None:
    graph = _graph(body)
    fuse(graph)
    found = run_program(Lowering(graph).run(), {"x": X})
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value)


def test_shapes_that_values_decide_are_left_to_another_engine() -> None:
    reshape = "(float[2,5] x, int64[2] s) => (float[n,m] y) { y = Reshape(x, s) }"
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 17]> ports {reshape}')
    graph = to_graph(model, "ports", {"x": X.shape, "s": (2,)}, {}, "a test")
    with pytest.raises(Unsupported, match="the shape of y is not known before the model runs"):
        Lowering(graph).run()
