# SPDX-License-Identifier: Apache-2.0
"""The small random checkpoint of every family, inputs for it, and what transformers makes of them.

The checkpoints are those of the tests of accelerate-models: `tests/checkpoints/*.py`, each with a
dict `CHECKPOINTS` of functions that write a directory and return the torch model.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from accelerate_core.host import Host
from accelerate_core.types import ModelSpec

if TYPE_CHECKING:
    from accelerate_core.types import Array

Write: TypeAlias = Callable[[Path], Any]

FOLDER = Path(__file__).parents[1] / "plugins/accelerate-models/tests/checkpoints"
GROUP = "accelerate_models.builders"
_LENGTH = 8
#: Every vocabulary of the checkpoints is larger, and smaller ids may be special.
_IDS = (12, 30)


def builders() -> list[str]:
    """Return the model types this repository builds."""
    points = metadata.entry_points(group=GROUP)
    return sorted(p.name for p in points if p.value.startswith("accelerate_models."))


def checkpoints() -> dict[str, Write]:
    """Return what writes a checkpoint, by name; a name is a model type, or one with a suffix."""
    found: dict[str, Write] = {}
    for path in sorted(FOLDER.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"checkpoints_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= module.CHECKPOINTS
    return found


def parts(host: Host, directory: Path) -> Iterator[tuple[str, ModelSpec]]:
    """Yield the reference and the model of every part of a directory."""
    first = host.resolve_model(f"dir:{directory}")
    for part in first.metadata["parts"]:
        reference = f"dir:{directory}#{part}"
        yield reference, host.resolve_model(reference)


def inputs_of(host: Host, reference: str, spec: ModelSpec) -> Mapping[str, Array]:
    """Return inputs for a part: its processor's sample, or made up where it has none.

    A part that continues from a cache gets a filled one and a single token.
    """
    has_past = any("past_sequence" in tensor.shape for tensor in spec.inputs)
    if spec.processor is None or has_past:
        return _made_up(spec)
    processor = host.source(reference).processor(spec.processor)
    return processor.encode(processor.sample(1, _LENGTH))


def _made_up(spec: ModelSpec) -> dict[str, Array]:
    has_past = any("past_sequence" in tensor.shape for tensor in spec.inputs)
    sizes = {"batch": 1, "text_batch": 1}
    if has_past:
        sizes |= {"sequence": 1, "past_sequence": _LENGTH - 1, "total_sequence": _LENGTH}
    rng = np.random.default_rng(3)
    values: dict[str, Array] = {}
    for tensor in spec.inputs:
        shape = [s if isinstance(s, int) else sizes.get(s, _LENGTH) for s in tensor.shape]
        if tensor.dtype == "float32":
            values[tensor.name] = rng.standard_normal(shape).astype(np.float32)
        elif "mask" in tensor.name:
            values[tensor.name] = np.ones(shape, np.int64)
        elif tensor.name == "position_ids":
            values[tensor.name] = np.full(shape, _LENGTH - 1)
        else:
            values[tensor.name] = rng.integers(*_IDS, shape)
    return values


def expected(model: Any, spec: ModelSpec, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the outputs of `spec` as transformers computes them with the torch model."""
    import torch

    given = {name: torch.from_numpy(np.asarray(value)) for name, value in inputs.items()}
    with torch.no_grad():
        found = _SPECIAL.get((spec.family, spec.metadata["part"]), _called)(model, given)
    return {
        tensor.name: found[tensor.name].float().numpy()
        for tensor in spec.outputs
        if found.get(tensor.name) is not None
    }


def _called(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    answer = model(**given)
    found = {name: getattr(answer, name, None) for name in answer}
    if (cache := found.get("past_key_values")) is not None and hasattr(cache, "layers"):
        for index, layer in enumerate(cache.layers):
            found |= {f"present.{index}.key": layer.keys, f"present.{index}.value": layer.values}
    return found


def _continued(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    from transformers import DynamicCache

    past = {name: given.pop(name) for name in list(given) if name.startswith("past_key_values")}
    cache = DynamicCache()  # without a configuration it forgets nothing, as the graphs do
    for index in range(len(past) // 2):
        key, value = (past[f"past_key_values.{index}.{kind}"] for kind in ("key", "value"))
        cache.update(key, value, index)
    return _called(model, {**given, "past_key_values": cache})


def _encoded(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    return _called(model.get_encoder(), given)


def _decoded(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    from transformers.modeling_outputs import BaseModelOutput

    names = {"input_ids": "decoder_input_ids", "encoder_attention_mask": "attention_mask"}
    states = BaseModelOutput(last_hidden_state=given.pop("encoder_hidden_states"))
    renamed = {names[name]: value for name, value in given.items()}
    return _called(model, {**renamed, "encoder_outputs": states})


def _clip_text(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    found = _called(model.text_model, given)
    return {**found, "text_embeds": model.text_projection(found["pooler_output"])}


def _clip_vision(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    found = _called(model.vision_model, given)
    return {**found, "image_embeds": model.visual_projection(found["pooler_output"])}


def _clap_audio(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    found = _called(model.audio_model, given)
    return {**found, "audio_embeds": model.audio_projection(found["pooler_output"])}


def _blip_contrastive(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    found = _called(model, {**given, "use_itm_head": False})
    return {"similarity": found["itm_score"]}


_SPECIAL: dict[tuple[str | None, str], Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    **{
        (family, part): _continued
        for family in ("llama", "mistral", "qwen2")
        for part in ("prefill", "decode")
    },
    **{(family, "encoder"): _encoded for family in ("t5", "bart", "whisper")},
    **{(family, "decoder"): _decoded for family in ("t5", "bart", "whisper")},
    ("clip", "text"): _clip_text,
    ("clip", "vision"): _clip_vision,
    ("clap", "audio"): _clap_audio,
    ("blip", "contrastive"): _blip_contrastive,
}
