# SPDX-License-Identifier: Apache-2.0
"""From an ONNX file to a model: the graph is read, its external data is only streamed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from accelerate_core.errors import ModelError
from accelerate_core.types import ModelSpec

from .cache import AssetBatch
from .facts import all_nodes, all_tensors, facts_of, identity_of, size_bytes
from .files import SourceFiles, check_inside
from .graph import GRAPH_NAME
from .processors import prepare_processor_beside
from .wanted import CONVERTIBLE, Wanted

#: A protobuf message cannot be larger; weights beyond it lie in external data.
_GRAPH_LIMIT_BYTES = (1 << 31) - 1
_STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
#: ONNX Runtime's own operators: whether a backend has one of them is for the backend to say.
_RUNTIME_DOMAINS = ("com.microsoft", "com.ms.internal.nhwc", "ai.onnx.contrib")
_QUANTIZED_BITS = {
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT8: "int8",
    onnx.TensorProto.INT4: "int4",
    onnx.TensorProto.UINT4: "int4",
}
_DTYPES = frozenset(onnx.TensorProto.DataType.values()) - {onnx.TensorProto.UNDEFINED}
_EXPORT_HINT = "Export the model again, or download the file again: it may be truncated."


def from_onnx(wanted: Wanted, files: SourceFiles, batch: AssetBatch) -> ModelSpec:
    """Check the graph, copy it and its external data into the store, and return the spec.

    Its precision is fp32 where the one asked for can be made of that.
    """
    path, precision = wanted.path, wanted.precision
    if wanted.part:
        raise ModelError(
            f"an ONNX file is one graph: it has no part {wanted.part!r}",
            where=str(path),
            hint=f"Use file:{path}.",
        )
    files.require(path, _EXPORT_HINT)
    model = _read_graph(path)
    _check_structure(model, path)
    locations = _external_files(model, path)
    for location, needed_bytes in locations.items():
        data = files.require(path.parent / location, "Bring the external data beside the graph.")
        if data.stat().st_size < needed_bytes:
            raise ModelError(
                f"it has {data.stat().st_size} bytes; the graph needs {needed_bytes}",
                where=str(data),
                hint=_EXPORT_HINT,
            )
    facts = facts_of(model, str(path))
    found = _precision_of(model)
    variants = CONVERTIBLE if found == "fp32" else ()
    if precision not in (found, *variants):
        raise ModelError(
            f"this file is {found}, and {precision} was asked",
            where=str(path),
            accepted=(found, *variants),
            hint="Only files in fp32 are converted; others run in the precision they were made in.",
        )
    prepared = prepare_processor_beside(_home(path, files), files, facts)

    assets = (
        batch.put_file(path, GRAPH_NAME),
        *(batch.put_file(path.parent / location, location) for location in locations),
    )
    return ModelSpec(
        name=path.stem,
        source=str(path),
        sha256=identity_of(assets),
        assets=assets,
        inputs=facts.inputs,
        outputs=facts.outputs,
        task=prepared.task if prepared else None,
        family=prepared.family if prepared else None,
        precision=found,
        parameters=facts.parameters,
        operators=facts.operators,
        processor=prepared.store(batch) if prepared else None,
        metadata={**facts.metadata, **(prepared.notes if prepared else {})},
    )


def _home(path: Path, files: SourceFiles) -> Path:
    """Return where the other files of a model lie: repositories put graphs into a folder `onnx`."""
    folder = path.parent
    is_inside = folder.name == "onnx" and not files.has(folder / "config.json")
    return folder.parent if is_inside else folder


def _read_graph(path: Path) -> onnx.ModelProto:
    if path.stat().st_size > _GRAPH_LIMIT_BYTES:
        raise ModelError(
            "an ONNX graph over 2 GiB cannot be read",
            where=str(path),
            hint="Save it with external data: onnx.save(model, PATH, save_as_external_data=True)",
        )
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise ModelError(
            "this is not an ONNX file, or it is truncated", where=str(path), hint=_EXPORT_HINT
        ) from error
    # Protobuf reads many a file of other kinds as a message that says nothing.
    if not (model.ir_version and model.opset_import and model.graph.node):
        raise ModelError(
            "this is not an ONNX file, or it is truncated: it has no graph",
            where=str(path),
            hint=_EXPORT_HINT,
        )
    return model


def _check_structure(model: onnx.ModelProto, path: Path) -> None:
    _check_operators(model, path)
    graph = model.graph
    known = {value.name for value in graph.input} | {t.name for t in graph.initializer}
    known |= {tensor.values.name for tensor in graph.sparse_initializer} | {""}
    for node in graph.node:
        for name in node.input:
            if name not in known:
                raise ModelError(
                    f"node {node.name or node.op_type!r} reads {name!r}, which nothing makes",
                    where=str(path),
                    hint=_EXPORT_HINT,
                )
        known.update(node.output)
    for value in graph.output:
        if value.name not in known:
            raise ModelError(
                f"nothing makes output {value.name!r}", where=str(path), hint=_EXPORT_HINT
            )
    for tensor in all_tensors(model):
        _check_tensor(tensor, path)
    for value in (*graph.input, *graph.output):
        tensor_type = value.type.tensor_type
        if tensor_type.elem_type not in _DTYPES or not tensor_type.HasField("shape"):
            raise ModelError(
                f"{value.name!r} is not a tensor of a known type and rank",
                where=str(path),
                accepted=("tensor inputs and outputs",),
                hint="Where only shapes are missing: onnx.shape_inference.infer_shapes(model).",
            )


def _check_operators(model: onnx.ModelProto, path: Path) -> None:
    versions = {entry.domain or "": entry.version for entry in model.opset_import}
    functions = {(function.domain, function.name) for function in model.functions}
    if versions.get("", 0) > onnx.defs.onnx_opset_version():
        raise ModelError(
            f"opset {versions['']} is newer than any known one",
            where=str(path),
            accepted=(f"up to opset {onnx.defs.onnx_opset_version()}",),
        )
    for node in all_nodes(model):
        domain = "" if node.domain == "ai.onnx" else node.domain
        if domain in _RUNTIME_DOMAINS or (node.domain, node.op_type) in functions:
            continue
        if domain not in _STANDARD_DOMAINS or not onnx.defs.has(node.op_type, domain):
            raise ModelError(
                f"node {node.name!r} uses the unknown operator {node.domain or 'ai.onnx'}"
                f".{node.op_type}",
                where=str(path),
                accepted=("operators of ai.onnx, ai.onnx.ml and com.microsoft",),
                hint="Export the model without custom operators.",
            )


def _check_tensor(tensor: onnx.TensorProto, path: Path) -> None:
    """Compare the bytes a tensor has with those its dtype and shape need."""
    if tensor.data_type not in _DTYPES or any(size < 0 for size in tensor.dims):
        raise ModelError(
            f"tensor {tensor.name!r} has no known dtype or a negative dimension",
            where=str(path),
            hint=_EXPORT_HINT,
        )
    if tensor.data_location == onnx.TensorProto.EXTERNAL or not tensor.HasField("raw_data"):
        return
    needed = size_bytes(tensor)
    if len(tensor.raw_data) != needed:
        raise ModelError(
            f"tensor {tensor.name!r} has {len(tensor.raw_data)} bytes and needs {needed}",
            where=str(path),
            hint=_EXPORT_HINT,
        )


def _external_files(model: onnx.ModelProto, path: Path) -> Mapping[str, int]:
    """Return the files the graph refers to, and how many bytes it needs of each."""
    needed: dict[str, int] = {}
    for tensor in all_tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = check_inside(entries.get("location", ""), path)
        if location == GRAPH_NAME:
            raise ModelError(
                f"its external data is called {GRAPH_NAME!r}, as the graph itself will be",
                where=str(path),
                hint="Save it again with another location, for example model.onnx.data.",
            )
        try:
            offset = int(entries.get("offset", "0"))
            length = int(entries.get("length", str(size_bytes(tensor))))
        except ValueError:
            offset = length = -1
        if offset < 0 or length != size_bytes(tensor):
            raise ModelError(
                f"tensor {tensor.name!r} does not say where its {size_bytes(tensor)} bytes"
                f" lie in {location}",
                where=str(path),
                hint=_EXPORT_HINT,
            )
        needed[location] = max(needed.get(location, 0), offset + length)
    return needed


def _precision_of(model: onnx.ModelProto) -> str:
    """Return the precision most weights are stored in; fp32 where there are none.

    Where matrices are packed it is that of most of them: tables to look up in stay as they are.
    """
    sizes: dict[str, int] = {}
    for node in all_nodes(model):
        if node.op_type == "MatMulNBits":
            facts = {one.name: one.i for one in node.attribute}
            name = f"int{facts.get('bits', 4)}"
            sizes[name] = sizes.get(name, 0) + facts["K"] * facts["N"]
    if sizes:
        return max(sizes, key=lambda name: sizes[name])
    names = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.FLOAT16: "fp16", **_QUANTIZED_BITS}
    for tensor in model.graph.initializer:
        if found := names.get(tensor.data_type):
            sizes[found] = sizes.get(found, 0) + math.prod(tensor.dims)
    return max(sizes, key=lambda name: sizes[name]) if sizes else "fp32"
