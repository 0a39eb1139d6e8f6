# SPDX-License-Identifier: Apache-2.0
"""From a Hugging Face directory to a model: config.json + safetensors + tokenizer, no torch."""

from __future__ import annotations

import functools
from importlib import metadata

from accelerate_core.errors import ModelError, did_you_mean
from accelerate_core.protocols import Plugins
from accelerate_core.types import ModelSpec

from .cache import MAKER_KEY, AssetBatch
from .checkpoint import open_checkpoint
from .config import ModelConfig
from .facts import facts_of, identity_of
from .files import SourceFiles
from .graph import DATA_NAME, GRAPH_NAME, GraphBuilder
from .hookspecs import BUILDERS
from .hookspecs.builder import Builder, Part
from .processors import prepare_processor
from .wanted import Wanted


def from_directory(
    wanted: Wanted, files: SourceFiles, batch: AssetBatch, plugins: Plugins
) -> ModelSpec:
    """Build the graph, stream the weights, and return the spec.

    ModelError for anything in the directory that does not fit; weights are written last.
    """
    directory = wanted.path
    hint = "A Hugging Face directory has config.json; for an ONNX file use file:PATH."
    config_path = directory / "config.json"
    config = ModelConfig(config_path, files.json_object(config_path, hint))
    builder = builder_of(config, plugins)
    part_name = wanted.part or next(iter(builder.parts))
    part = part_of(builder, part_name, str(directory))
    checkpoint = open_checkpoint(directory, files, builder.prefix)
    g = GraphBuilder(checkpoint, wanted.precision)
    details = part.build(g, config)

    graph = g.model()
    facts = facts_of(graph)
    prepared = (
        prepare_processor(part.processor, directory, files, facts, details)
        if part.processor
        else None
    )

    graph_asset = batch.put_bytes(graph.SerializeToString(deterministic=True), GRAPH_NAME)
    with batch.writer(DATA_NAME) as writer:
        g.write_weights(writer)
    assets = (graph_asset, writer.asset)
    return ModelSpec(
        name=directory.name,
        source=str(directory),
        sha256=identity_of(assets),
        assets=assets,
        inputs=facts.inputs,
        outputs=facts.outputs,
        task=part.task,
        family=builder.model_type,
        precision=wanted.precision,
        parameters=facts.parameters,
        operators=facts.operators,
        processor=prepared.store(batch) if prepared else None,
        metadata={
            **details,
            **facts.metadata,
            **(prepared.notes if prepared else {}),
            MAKER_KEY: _maker(builder.model_type),
            "part": part_name,
            "parts": list(builder.parts),
            "unused_tensors": list(checkpoint.unused),
        },
    )


def builder_of(config: ModelConfig, plugins: Plugins) -> Builder:
    """Return the builder of a config.json's model_type; ModelError names the installed ones."""
    plugins.add_family(BUILDERS)
    model_type = config.values.get("model_type")
    names = plugins.names(BUILDERS.name)
    if not isinstance(model_type, str) or model_type not in names:
        raise ModelError(
            f"no builder for model_type {model_type!r}" if model_type else "it has no model_type",
            where=str(config.path),
            accepted=sorted(names),
            hint="Any model runs from its ONNX export: use file:PATH/model.onnx. "
            "A distribution can add a builder: see docs/plugins.md.",
        )
    builder: Builder = plugins.create(BUILDERS.name, model_type, where=str(config.path))
    return builder


@functools.cache  # what is imported stays of the version it was
def _maker(model_type: str) -> list[str] | None:
    """Return name and version of the distribution that offers a builder."""
    for entry in metadata.entry_points(group=BUILDERS.group, name=model_type):
        if entry.dist is not None:
            return [entry.dist.name, entry.dist.version]
    return None


def part_of(builder: Builder, name: str, where: str) -> Part:
    """Return a builder's part by its name; ModelError names the parts there are."""
    if name not in builder.parts:
        raise ModelError(
            f"a {builder.model_type} model has no part {name!r}",
            where=where,
            accepted=tuple(builder.parts),
            hint=did_you_mean(name, builder.parts),
        )
    return builder.parts[name]
