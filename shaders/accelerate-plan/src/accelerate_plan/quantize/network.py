# SPDX-License-Identifier: Apache-2.0
"""A model whose matrices can be exchanged at every run, on native ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from accelerate_models.variants import Weights
from accelerate_models.variants_bits import matrices

from accelerate_core.errors import ModelError

if TYPE_CHECKING:
    from accelerate_core.assets import AssetStore
    from accelerate_core.types import Array, ModelSpec

_FILE = "accelerate-exchangeable.onnx"
_SLOT = "{}#exchanged"  # what takes a matrix' place: tied embeddings stay what they are


@attrs.frozen
class Layer:
    """Name a matrix that may be quantized, and what it is multiplied by."""

    name: str
    inputs: tuple[str, ...]  #: tensors of the graph
    rows: int
    columns: int

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.rows * self.columns


class Network:
    """Run a model with some of its matrices replaced, and see what goes into each."""

    def __init__(self, session: Any, layers: Sequence[Layer], weights: Mapping[str, Array]) -> None:
        self._session = session
        self._outputs = [one.name for one in session.get_outputs()]
        self.layers = tuple(layers)
        self.weights = weights

    def run(
        self,
        inputs: Mapping[str, Array],
        replaced: Mapping[str, Array],
        wanted: Sequence[str],
    ) -> dict[str, Array]:
        """Return tensors: outputs of the model, or inputs of layers."""
        matrices = {**self.weights, **replaced}
        feeds = {**inputs, **{_SLOT.format(name): one for name, one in matrices.items()}}
        return dict(zip(wanted, self._session.run(list(wanted), feeds), strict=True))


@contextmanager
def open_network(spec: ModelSpec, assets: AssetStore, scratch: Path) -> Iterator[Network]:
    """Yield an fp32 ONNX model as a network; ModelError when it has nothing to quantize."""
    import onnx
    import onnxruntime as ort  # type: ignore[import-untyped]

    where = f"model {spec.name} ({spec.source})"
    with assets.laid_out(spec.assets, scratch, where=where) as folder:
        path = folder / spec.assets[0].name
        model = onnx.load(str(path), load_external_data=False)
        names = matrices(model.graph)
        if not names:
            raise ModelError("it has no products with constant matrices to quantize", where=where)
        places = {one.name: folder / one.name for one in spec.assets[1:]}
        reader = Weights(places)
        tensors = {one.name: one for one in model.graph.initializer if one.name in names}
        weights = {name: np.ascontiguousarray(reader.read(tensors[name])) for name in names}
        layers = _exchangeable(model, names, weights)
        onnx.save(model, str(folder / _FILE))
        options = ort.SessionOptions()
        options.log_severity_level = 4
        # Thousands of short runs: threads that spin between them would take the cores for nothing.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = ort.InferenceSession(
            str(folder / _FILE), options, providers=["CPUExecutionProvider"]
        )
        yield Network(session, layers, weights)


def _exchangeable(model: Any, names: Sequence[str], weights: Mapping[str, Array]) -> list[Layer]:
    """Make matrices inputs of the graph, and what they are multiplied by outputs of it."""
    from onnx import TensorProto, helper

    graph = model.graph
    known = {one.name for one in (*graph.input, *graph.output)}
    layers = []
    for name in names:
        shape, slot = weights[name].shape, _SLOT.format(name)
        graph.input.append(helper.make_tensor_value_info(slot, TensorProto.FLOAT, shape))
        users = [one for one in graph.node if one.op_type == "MatMul" and one.input[1] == name]
        for node in users:
            node.input[1] = slot
        inputs = tuple(dict.fromkeys(one.input[0] for one in users))
        layers.append(Layer(name, inputs, *shape))
        for tensor in inputs:
            if tensor not in known:
                known.add(tensor)
                graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    used = {name for node in graph.node for name in node.input}
    kept = [one for one in graph.initializer if one.name not in names or one.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return layers
