# SPDX-License-Identifier: Apache-2.0
"""ONNX files become graphs of fixed shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from accelerate_plan.importing import import_onnx

from accelerate_core.errors import ModelError, Unsupported
from accelerate_core.host import Host
from accelerate_core.testing.models import truncated, unknown_operator
from accelerate_core.types import ModelSpec

from .conftest import random

Make = Callable[..., ModelSpec]


def test_shapes_are_fixed_and_what_is_computed_of_them_folded(
    host: Host, model: Make, tmp_path: Path
) -> None:
    spec = model(
        """(float[batch, rows, 4] x) => (float[batch, n, 2] y)
        { s = Shape <start = 0, end = 1> (x)  t = Concat <axis = 0> (s, rest)
          y = Reshape(x, t) }""",
        {"rest": np.array([-1, 2])},
    )
    graph = import_onnx(spec, {"batch": 3, "rows": 5}, host.context.assets, tmp_path)
    (node,) = graph.nodes
    assert node.op == "Reshape" and graph.constants[node.inputs[1]].tolist() == [3, -1, 2]
    assert graph.value("y").shape == (3, 10, 2) and graph.value("x").shape == (3, 5, 4)
    assert not list(tmp_path.glob("assets-*"))


def test_weights_stay_in_their_file(host: Host, model: Make, tmp_path: Path) -> None:
    spec = model("(float[2, 40] x) => (float[2, 50] y) { y = MatMul(x, w) }", {"w": random(40, 50)})
    graph = import_onnx(spec, {}, host.context.assets, tmp_path)
    weight = graph.constants["w"]
    assert isinstance(weight, np.memmap)
    assert Path(weight.filename) == host.context.assets.path(spec.assets[1].sha256)
    np.testing.assert_array_equal(weight, random(40, 50))


def test_the_largest_integers_become_those_of_32_bits(
    host: Host, model: Make, tmp_path: Path
) -> None:
    spec = model(
        "(float[9] x) => (float[4] y) { y = Slice(x, one, end, axes, two) }",
        {
            name: np.array([v])
            for name, v in (("one", 1), ("end", 2**63 - 1), ("axes", 0), ("two", 2))
        },
        inside_bytes=64,
    )
    graph = import_onnx(spec, {}, host.context.assets, tmp_path)
    (node,) = graph.nodes
    assert graph.constants[node.inputs[2]].tolist() == [2**31 - 1]
    assert graph.value("y").shape == (4,)


def test_a_free_dimension_without_a_size_is_named(host: Host, model: Make, tmp_path: Path) -> None:
    spec = model("(float[batch, rows] x) => (float[batch, rows] y) { y = Relu(x) }")
    with pytest.raises(ModelError, match="no size is given for rows") as caught:
        import_onnx(spec, {"batch": 1}, host.context.assets, tmp_path)
    assert caught.value.info.accepted == ("batch", "rows")


@pytest.mark.parametrize(
    ("make", "said"), [(truncated, "it is truncated"), (unknown_operator, "cannot load it")]
)
def test_a_file_that_cannot_be_read_is_named(
    make: Callable[..., ModelSpec], said: str, host: Host, tmp_path: Path
) -> None:
    spec = make(host.context.assets)
    with pytest.raises(ModelError, match=said) as caught:
        import_onnx(spec, {"batch": 1}, host.context.assets, tmp_path)
    assert str(tmp_path) not in str(caught.value)
    assert not list(tmp_path.glob("assets-*"))


def test_halves_are_computed_with_as_floats_and_kept_as_they_are(
    host: Host, model: Make, tmp_path: Path
) -> None:
    spec = model(
        """(float16[n, 40] x) => (float16[n, 50] y)
        { a = MatMul(x, w)  b = Mul(a, one)  y = Softmax(b) }""",
        {"w": random(40, 50).astype(np.float16), "one": np.array(1.5, np.float16)},
        precision="fp16",
        inside_bytes=64,
    )
    graph = import_onnx(spec, {"n": 3}, host.context.assets, tmp_path)
    # ONNX Runtime alone would write the softmax out, and put casts around all.
    assert [node.op for node in graph.nodes] == ["MatMul", "Mul", "Softmax"]
    assert isinstance(graph.constants["w"], np.memmap)
    assert {value.dtype for value in graph.constants.values()} == {np.dtype(np.float16)}
    assert (graph.value("x").dtype, graph.value("y").dtype) == ("float16", "float16")


def test_a_dtype_no_kernel_takes_is_named(host: Host, model: Make, tmp_path: Path) -> None:
    spec = model("(float[2] x) => (double[2] y) { a = Cast <to = 16> (x)  y = Cast <to = 11> (a) }")
    with pytest.raises(Unsupported, match="holds bfloat16, which no kernel takes"):
        import_onnx(spec, {}, host.context.assets, tmp_path)
