# SPDX-License-Identifier: Apache-2.0
"""One ONNX node through our lowerings and references, beside ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort  # type: ignore[import-untyped]
import pytest
from accelerate_plan.fusions import fuse
from accelerate_plan.importing import to_graph
from accelerate_plan.lowering import Lowering
from accelerate_plan.program import Program
from accelerate_plan.testing.numpy_executor import run_program
from onnx import helper, numpy_helper

from . import natively as natively_
from .natively import Ran

if TYPE_CHECKING:
    from accelerate_core.types import Array

OPSET = 20
_RAN: list[Ran] = []


@pytest.fixture(scope="module", autouse=True)
def natively(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run everything that a module's tests checked by the references on wgpu, too."""
    _RAN.clear()
    yield
    if _RAN:
        natively_.check(_RAN, tmp_path_factory.mktemp("natively"))


def model_of(
    op: str,
    inputs: Mapping[str, Array],
    constants: Mapping[str, Array],
    *,
    order: Sequence[str],
    outputs: int = 1,
    opset: int = OPSET,
    **attributes: Any,
) -> onnx.ModelProto:
    """Return a model of one node; `order` names its inputs, "" for one that is left out."""
    names = [f"y{i}" for i in range(outputs)]
    domain, _, kind = op.rpartition(".")
    graph = helper.make_graph(
        [helper.make_node(kind, list(order), names, name="node", domain=domain, **attributes)],
        "one",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in names],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    # ONNX Runtime tells the types of outputs, also of operators that onnx does not know.
    session = ort.InferenceSession(model.SerializeToString(), _options())
    for info, found in zip(model.graph.output, session.get_outputs(), strict=True):
        kind = _TYPES[found.type]
        info.CopyFrom(helper.make_tensor_value_info(found.name, kind, found.shape))
    return model


_TYPES = {
    "tensor(float)": onnx.TensorProto.FLOAT,
    "tensor(int64)": onnx.TensorProto.INT64,
    "tensor(int32)": onnx.TensorProto.INT32,
    "tensor(bool)": onnx.TensorProto.BOOL,
}


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def program_of(
    model: onnx.ModelProto, inputs: Mapping[str, Array], *, fused: bool = False
) -> Program:
    """Lower a model, its operators one by one or fused."""
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    shapes = {name: value.shape for name, value in inputs.items()}
    graph = to_graph(model, "one", shapes, constants, "a test")
    if fused:
        fuse(graph)
    return Lowering(graph).run()


def check(
    op: str,
    inputs: Mapping[str, Array],
    constants: Mapping[str, Array] | None = None,
    *,
    order: Sequence[str] | None = None,
    tolerance: float = 1e-6,
    fused: bool = False,
    **given: Any,
) -> Program:
    """Compare a node's outputs with ONNX Runtime's; return the program for more to be said."""
    known = constants or {}
    names = [*inputs, *known] if order is None else order
    model = model_of(op, inputs, known, order=names, **given)
    session = ort.InferenceSession(model.SerializeToString(), _options())
    wanted = session.run(None, dict(inputs))
    program = program_of(model, inputs, fused=fused)
    named = {port.name: value for port, value in zip(program.outputs, wanted, strict=True)}
    test = os.environ["PYTEST_CURRENT_TEST"]
    _RAN.append(Ran(program, dict(inputs), named, tolerance, test))
    found = run_program(program, inputs)
    for port, expected in zip(program.outputs, wanted, strict=True):
        actual = found[port.name]
        assert actual.shape == expected.shape and actual.dtype == expected.dtype
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(actual, expected, atol=tolerance, rtol=tolerance)
        else:
            np.testing.assert_array_equal(actual, expected)
    return program
