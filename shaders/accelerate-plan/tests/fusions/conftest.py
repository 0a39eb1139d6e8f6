# SPDX-License-Identifier: Apache-2.0
"""Graphs in ONNX's text form, fused, lowered and run by the references, beside ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
import numpy as np
import onnx
import onnxruntime as ort  # type: ignore[import-untyped]
from accelerate_plan.fusions import fuse
from accelerate_plan.graph import Graph, Node
from accelerate_plan.importing import to_graph
from accelerate_plan.lowering import Lowering
from accelerate_plan.program import Program
from accelerate_plan.testing.numpy_executor import run_program
from onnx import numpy_helper

if TYPE_CHECKING:
    from accelerate_core.types import Array

_HEAD = '<ir_version: 9, opset_import: ["" : 20, "com.microsoft" : 1]> test '


@attrs.frozen
class Fused:
    """A graph after fusions, and the program it became."""

    graph: Graph
    program: Program

    @property
    def operators(self) -> Counter[str]:
        """How many nodes of each operator are left; views cost nothing and do not count."""
        return Counter(
            node.op
            for node in self.graph.nodes
            if node.op not in ("Reshape", "Unsqueeze", "Squeeze", "Identity")
        )

    def only(self, operator: str) -> Node:
        """Return the one node of an operator."""
        (node,) = (one for one in self.graph.nodes if one.op == operator)
        return node


def random(*shape: int, seed: int = 0) -> Array:
    """Return normal numbers."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def check(
    text: str,
    inputs: Mapping[str, Array],
    constants: Mapping[str, Array] | None = None,
    *,
    tolerance: float = 2e-6,
) -> Fused:
    """Compare a graph's outputs with ONNX Runtime's, and return what it became."""
    model = onnx.parser.parse_model(_HEAD + text)
    for name, value in (constants or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # constants that a form does not use
    wanted = ort.InferenceSession(model.SerializeToString(), options).run(None, dict(inputs))

    known = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    shapes = {name: value.shape for name, value in inputs.items()}
    graph = to_graph(model, "test", shapes, known, "a test")
    fuse(graph)
    program = Lowering(graph).run()
    found = run_program(program, inputs)
    for port, expected in zip(program.outputs, wanted, strict=True):
        actual = found[port.name]
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, atol=tolerance, rtol=tolerance)
    return Fused(graph, program)
