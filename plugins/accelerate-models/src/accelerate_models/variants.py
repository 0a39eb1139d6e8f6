# SPDX-License-Identifier: Apache-2.0
"""Variants of a model that is here in fp32: fp16, and weights of 8, 4, 3 or 2 bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from accelerate_core.assets import AssetStore, AssetWriter
from accelerate_core.types import PRECISION_BITS, ModelSpec

from .cache import AssetBatch
from .facts import Facts, facts_of, identity_of, size_bytes
from .graph import DATA_NAME, GRAPH_NAME

if TYPE_CHECKING:
    from accelerate_core.types import Array

    #: Changes a graph, given where the model came from, and yields what lies beside it.
    Rewrite: TypeAlias = Callable[[onnx.ModelProto, "Weights", str], Iterator[tuple[str, Array]]]

_ALIGNMENT_BYTES = 64
#: Smaller tensors stay in the graph: shapes, axes and scalars are read when it is optimised.
_SMALL_BYTES = 4096


def is_large(tensor: TensorProto) -> bool:
    """Whether a tensor belongs beside the graph and not into it."""
    return size_bytes(tensor) > _SMALL_BYTES


class Weights:
    """Read initializers one at a time, inside the graph or in its external data."""

    def __init__(self, places: Mapping[str, Path]) -> None:
        self._places = places

    def read(self, tensor: TensorProto) -> Array:
        """Return a tensor's values; a view of the file where they lie outside."""
        if tensor.data_location != TensorProto.EXTERNAL:
            return numpy_helper.to_array(tensor)
        entries = {entry.key: entry.value for entry in tensor.external_data}
        dtype, shape = helper.tensor_dtype_to_np_dtype(tensor.data_type), tuple(tensor.dims)
        if 0 in shape:
            return np.empty(shape, dtype)
        offset = int(entries.get("offset", "0"))
        return np.memmap(self._places[entries["location"]], dtype, "r", offset, shape)


def make_variant(
    original: ModelSpec, precision: str, batch: AssetBatch, assets: AssetStore
) -> ModelSpec:
    """Return an fp32 model in another precision, one of `CONVERTIBLE`.

    ModelError where this graph cannot be converted.
    """
    rewrite: Rewrite
    if precision == "fp16":
        from .variants_fp16 import rewrite
    else:
        from . import variants_bits

        quantize = variants_bits.to_nearest(PRECISION_BITS[precision])
        rewrite = partial(variants_bits.rewrite, quantize=quantize)
    return store_variant(original, precision, rewrite, batch, assets)


def store_variant(
    original: ModelSpec, precision: str, rewrite: Rewrite, batch: AssetBatch, assets: AssetStore
) -> ModelSpec:
    """Return an fp32 model with its graph and weights rewritten, a weight at a time."""
    model = onnx.load(str(assets.path(original.assets[0].sha256)), load_external_data=False)
    _fix_initializers(model.graph)
    weights = Weights({asset.name: assets.path(asset.sha256) for asset in original.assets[1:]})
    with batch.writer(DATA_NAME) as writer:
        outside = list(_write(writer, rewrite(model, weights, original.source)))
    model.graph.initializer.extend(outside)
    graph = batch.put_bytes(model.SerializeToString(deterministic=True), GRAPH_NAME)
    stored = (graph, writer.asset) if outside else (graph,)
    facts = facts_of(model)
    return attrs.evolve(
        original,
        sha256=identity_of(stored),
        assets=stored,
        inputs=facts.inputs,
        outputs=facts.outputs,
        precision=precision,
        operators=facts.operators,
        metadata={
            **original.metadata,
            "opset": facts.metadata["opset"],
            "blocks": _blocks(original, facts),
            "made_from": original.sha256,
        },
    )


def _write(writer: AssetWriter, tensors: Iterator[tuple[str, Array]]) -> Iterator[TensorProto]:
    """Write tensors one after another, and yield what the graph says of each."""
    end = 0
    for name, values in tensors:
        offset = -(-end // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        writer.write(b"\0" * (offset - end))
        writer.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
        end = offset + values.nbytes
        entry = TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(values.dtype),
            dims=values.shape,
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in (("location", DATA_NAME), ("offset", offset), ("length", values.nbytes)):
            entry.external_data.add(key=key, value=str(value))
        yield entry


def _fix_initializers(graph: onnx.GraphProto) -> None:
    """Take initializers out of the inputs: old exporters list them as inputs with a default."""
    names = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in names]
    del graph.input[:]
    graph.input.extend(inputs)


def _blocks(original: ModelSpec, facts: Facts) -> Sequence[Mapping[str, Any]]:
    """Return the original's blocks with the bytes they now take: parameters stay what they are."""
    sizes = {block["name"]: block["size_bytes"] for block in facts.metadata["blocks"]}
    return [
        {**block, "size_bytes": sizes.get(block["name"], block["size_bytes"])}
        for block in original.metadata.get("blocks", ())
    ]
