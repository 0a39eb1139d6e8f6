# SPDX-License-Identifier: Apache-2.0
"""Models of real sizes with random weights: ViT-tiny, Whisper-tiny's encoder, a small LLaMA."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from accelerate_core.errors import BackendUnavailable
from accelerate_core.host import Host
from accelerate_core.types import ModelSpec

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: The checkpoints of the tests have weights of this deviation, which suits their sizes only.
_WRITTEN, _WANTED = 0.3, 0.03
_PAST = 127


@attrs.frozen
class Sized:
    """Name a checkpoint of the tests, its part, and what makes it as large as a real one."""

    family: str
    part: str
    changes: Mapping[str, Any]
    sizes: Mapping[str, int]  #: of free dimensions


MODELS: Mapping[str, Sized] = {
    "vit_tiny": Sized(
        "vit",
        "model",
        {
            "image_size": 224,
            "patch_size": 16,
            "hidden_size": 192,
            "num_hidden_layers": 12,
            "num_attention_heads": 3,
            "intermediate_size": 768,
        },
        {"batch": 1},
    ),
    "whisper_encoder": Sized(
        "whisper",
        "encoder",
        {
            "num_mel_bins": 80,
            "d_model": 384,
            "encoder_layers": 4,
            "encoder_attention_heads": 6,
            "encoder_ffn_dim": 1536,
            "decoder_attention_heads": 6,
            "max_source_positions": 1500,
        },
        {"batch": 1},
    ),
    "llama_step": Sized(
        "llama",
        "decode",
        {
            "vocab_size": 8192,
            "hidden_size": 768,
            "num_hidden_layers": 6,
            "num_attention_heads": 12,
            "num_key_value_heads": 4,
            "intermediate_size": 2048,
            "max_position_embeddings": 256,
        },
        {"batch": 1, "sequence": 1, "past_sequence": _PAST, "total_sequence": _PAST + 1},
    ),
}


def build(host: Host, name: str, folder: Path) -> ModelSpec:
    """Write a checkpoint and return the model; BackendUnavailable without torch."""
    from tools import families

    one = MODELS[name]
    try:
        import transformers

        write: Callable[..., Any] = families.checkpoints()[one.family]
        write(folder, **one.changes)
    except ImportError as error:
        raise BackendUnavailable(
            f"plan_{name} is not taken: {error}", hint="make test installs it"
        ) from error
    _tame(folder / "model.safetensors")
    if one.family == "vit":
        size = {"height": 224, "width": 224}
        transformers.ViTImageProcessorPil(size=size).save_pretrained(folder)
    elif one.family == "whisper":
        transformers.WhisperFeatureExtractor().save_pretrained(folder)
    return host.resolve_model(f"dir:{folder}#{one.part}", name=name)


def inputs(name: str, spec: ModelSpec) -> dict[str, Array]:
    """Return inputs for one item; a cache is filled."""
    random = np.random.default_rng(3)
    sizes = MODELS[name].sizes
    values: dict[str, Array] = {}
    for tensor in spec.inputs:
        shape = [one if isinstance(one, int) else sizes[one] for one in tensor.shape]
        if tensor.dtype == "float32":
            values[tensor.name] = random.standard_normal(shape).astype(np.float32)
        elif "mask" in tensor.name:
            values[tensor.name] = np.ones(shape, np.int64)
        elif tensor.name == "position_ids":
            values[tensor.name] = np.full(shape, _PAST)
        else:
            values[tensor.name] = random.integers(1, 8000, shape)
    return values


def _tame(path: Path) -> None:
    """Scale weights, so that signals neither grow nor saturate."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(path)
    scaled = {
        name: value * (_WANTED / _WRITTEN) if value.ndim > 1 else value
        for name, value in weights.items()
    }
    save_file(scaled, path, metadata={"format": "pt"})
