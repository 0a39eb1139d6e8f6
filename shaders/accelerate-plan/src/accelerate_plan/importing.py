# SPDX-License-Identifier: Apache-2.0
"""From ONNX files to a `Graph` with every shape fixed and everything constant folded.

ONNX Runtime's offline optimiser does the folding, at its basic level: it changes nothing for the
sake of a CPU. Its fusion of MatMul and Add to Gemm is left out, for it reshapes around every one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import onnx
import onnxruntime as ort  # type: ignore[import-untyped]
from accelerate_models.shapes import shapes_of
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper

from accelerate_core.errors import ModelError, Unsupported

from .fusions.quantized import hide_three_bits
from .graph import Graph, Node, Shape, Value
from .halves import has_halves, names_of_halves, widen

if TYPE_CHECKING:
    from accelerate_core.assets import AssetStore
    from accelerate_core.types import Array, ModelSpec

_CHANGED, _OPTIMIZED = "accelerate-changed.onnx", "accelerate-optimized.onnx"
_EXPORT_AGAIN = "Check the file with onnx.checker.check_model, or export it again."
_FATAL = 4  # log severity: what matters comes as an exception
_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:)?", re.S)
_DTYPES = ("float32", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
_INT32 = np.iinfo(np.int32)


def import_onnx(
    spec: ModelSpec, dimensions: Mapping[str, int], assets: AssetStore, scratch: Path
) -> Graph:
    """Return an ONNX model's graph; `dimensions` gives sizes to its free dimensions.

    Large weights stay in the file they lie in, as maps of it. ModelError for a free dimension
    without a size and for what ONNX Runtime cannot load, Unsupported for a dtype that no kernel
    takes.
    """
    where = f"model {spec.name} ({spec.source})"
    shapes = input_shapes(spec, dimensions)
    files = {asset.name: assets.path(asset.sha256) for asset in spec.assets}

    def read(tensor: onnx.TensorProto) -> Array:
        return _constant(tensor, files)

    halves: dict[str, Array] = {}
    with assets.laid_out(spec.assets, scratch, where=where) as folder:
        path = folder / spec.assets[0].name
        model = _load(path, where)
        rounded = names_of_halves(model)
        is_changed = hide_three_bits(model)
        if has_halves(model):
            halves = widen(model, read)
            is_changed = True
        if is_changed:
            path = path.with_name(_CHANGED)
            path.write_bytes(model.SerializeToString())
        _optimize(path, folder / _OPTIMIZED, dimensions, where)
        model = _load(folder / _OPTIMIZED, where)
    constants = {one.name: read(one) for one in model.graph.initializer} | halves
    # Who recognises functions by what they compute has to know which numbers were rounded.
    for name in rounded.intersection(constants):
        constants[name] = constants[name].astype(np.float16, copy=False)
    graph = to_graph(model, spec.name, shapes, constants, where)
    for one in (*spec.inputs, *spec.outputs):
        if known := graph.values.get(one.name):  # float16 ones were made float32
            graph.values[one.name] = attrs.evolve(known, dtype=one.dtype)
    return graph


def free_dimensions(spec: ModelSpec) -> list[str]:
    """Return the names of the free dimensions of a model's inputs, sorted."""
    return sorted({size for one in spec.inputs for size in one.shape if isinstance(size, str)})


def input_shapes(spec: ModelSpec, dimensions: Mapping[str, int]) -> dict[str, Shape]:
    """Return the shape of each input; ModelError for a free dimension without a size."""
    free = free_dimensions(spec)
    if missing := [name for name in free if name not in dimensions]:
        raise ModelError(
            f"a plan needs fixed shapes, and no size is given for {', '.join(missing)}",
            where=f"model {spec.name}",
            accepted=free,
            hint="Give each free dimension a size in LoadOptions.dimensions.",
        )
    return {
        one.name: tuple(size if isinstance(size, int) else dimensions[size] for size in one.shape)
        for one in spec.inputs
    }


def to_graph(
    model: onnx.ModelProto,
    name: str,
    shapes: Mapping[str, Shape],
    constants: Mapping[str, Array],
    where: str,
) -> Graph:
    """Return the graph of a model whose inputs have `shapes`; `constants` are its initializers."""
    inputs = tuple(one.name for one in model.graph.input if one.name not in constants)
    given = {one.name for one in model.graph.input}
    known = shapes_of(
        model,
        {one: shapes[one] for one in inputs}
        | {one: value.shape for one, value in constants.items() if one in given},
    )
    values = {
        tensor: Value(one.shape, _dtype(one.kind, tensor, where)) for tensor, one in known.items()
    }
    return Graph(
        name=name,
        nodes=[_node(one) for one in model.graph.node],
        values=values,
        constants={tensor: _fitting(value) for tensor, value in constants.items()},
        inputs=inputs,
        outputs=tuple(one.name for one in model.graph.output),
    )


def _load(path: Path, where: str) -> onnx.ModelProto:
    try:
        return onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise ModelError(
            "this is not an ONNX file, or it is truncated", where=where, hint=_EXPORT_AGAIN
        ) from error


def _optimize(graph: Path, made: Path, dimensions: Mapping[str, int], where: str) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(made)
    # Weights packed for a CPU would be a second copy that nobody uses.
    options.add_session_config_entry("session.disable_prepacking", "1")
    for name, size in dimensions.items():
        options.add_free_dimension_override_by_name(name, size)
    try:
        ort.InferenceSession(
            str(graph),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["MatMulAddFusion"],
        )
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ModelError(
            f"ONNX Runtime {ort.__version__} cannot load it: {_PREFIX.sub('', str(error)).strip()}",
            where=where,
            hint=_EXPORT_AGAIN,
        ) from error


def _constant(tensor: onnx.TensorProto, files: Mapping[str, Path]) -> Array:
    if tensor.data_location != TensorProto.EXTERNAL:
        return numpy_helper.to_array(tensor)
    entries = {one.key: one.value for one in tensor.external_data}
    dtype, shape = helper.tensor_dtype_to_np_dtype(tensor.data_type), tuple(tensor.dims)
    if not math.prod(shape):
        return np.zeros(shape, dtype)
    return np.memmap(
        files[entries["location"]],
        dtype,
        mode="r",
        offset=int(entries.get("offset", "0")),
        shape=shape,
    )


def _fitting(value: Array) -> Array:
    """Return integers as they fit in 32 bits: ONNX writes the largest one for "to the end"."""
    if value.dtype.kind not in "iu" or value.dtype.itemsize < 4 or not value.size:
        return value
    if _INT32.min <= value.min() and value.max() <= _INT32.max:
        return value
    return np.clip(value, _INT32.min, _INT32.max)


def _dtype(kind: int, tensor: str, where: str) -> str:
    name = str(helper.tensor_dtype_to_np_dtype(kind))
    if name not in _DTYPES:
        raise Unsupported(
            f"tensor {tensor!r} holds {name}, which no kernel takes",
            where=where,
            accepted=_DTYPES,
            hint="Take the engine ort, or auto, which does so by itself.",
        )
    return name


def _node(node: onnx.NodeProto) -> Node:
    domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
    return Node(
        op=domain + node.op_type,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes={one.name: _attribute(one) for one in node.attribute},
        label=node.name.removesuffix(f"/{node.op_type}"),
    )


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return value
