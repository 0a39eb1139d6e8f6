# SPDX-License-Identifier: Apache-2.0
"""From a Hugging Face directory to a model: config.json + safetensors + tokenizer, no torch."""

from __future__ import annotations

from pathlib import Path

from accelerate_core.errors import ModelError
from accelerate_core.types import ModelSpec

from .cache import AssetBatch
from .checkpoint import open_checkpoint
from .config import ModelConfig
from .facts import facts_of, identity_of
from .families import family_of
from .files import SourceFiles
from .graph import DATA_NAME, GRAPH_NAME, GraphBuilder
from .processors import prepare_processor

_PRECISIONS = ("fp32", "fp16")


def from_directory(
    directory: Path, files: SourceFiles, batch: AssetBatch, precision: str
) -> ModelSpec:
    """Build the graph, stream the weights, and return the spec.

    ModelError for anything in the directory that does not fit; weights are written last.
    """
    if precision not in _PRECISIONS:
        raise ModelError(
            f"this source does not build {precision}", where=str(directory), accepted=_PRECISIONS
        )
    hint = "A Hugging Face directory has config.json; for an ONNX file use file:PATH."
    config_path = directory / "config.json"
    config = ModelConfig(config_path, files.json_object(config_path, hint))
    family = family_of(config)
    checkpoint = open_checkpoint(directory, files, family.prefix)
    builder = GraphBuilder(checkpoint, precision)
    details = family.build(builder, config)

    graph = builder.model()
    facts = facts_of(graph)
    prepared = prepare_processor(
        family.task, directory, files, facts, max_positions=details["max_positions"]
    )

    graph_asset = batch.put_bytes(graph.SerializeToString(deterministic=True), GRAPH_NAME)
    with batch.writer(DATA_NAME) as writer:
        builder.write_weights(writer)
    assets = (graph_asset, writer.asset)
    return ModelSpec(
        name=directory.name,
        source=str(directory),
        sha256=identity_of(assets),
        assets=assets,
        inputs=facts.inputs,
        outputs=facts.outputs,
        task=family.task,
        family=family.model_type,
        precision=precision,
        parameters=facts.parameters,
        operators=facts.operators,
        processor=prepared.store(batch),
        metadata={
            **details,
            **facts.metadata,
            **prepared.notes,
            "unused_tensors": list(checkpoint.unused),
        },
    )
