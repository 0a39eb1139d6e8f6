# SPDX-License-Identifier: Apache-2.0
"""A small real model: a BERT with random weights, built as any user's directory would be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from accelerate_core.host import Host
from accelerate_core.types import ModelSpec

if TYPE_CHECKING:
    from accelerate_core.types import Array

SEQUENCE = 32
DIMENSIONS: Mapping[str, int] = {"batch": 1, "sequence": SEQUENCE}

_CONFIG = {
    "model_type": "bert",
    "vocab_size": 1000,
    "hidden_size": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 512,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
}


def small_bert(host: Host, folder: Path) -> ModelSpec:
    """Write a checkpoint into a folder and return the model made of it."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models

    random = np.random.default_rng(0)
    weights = {
        name: random.normal(1.0 if name.endswith("orm.weight") else 0.0, 0.05, shape).astype("f4")
        for name, shape in _shapes()
    }
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(_CONFIG))
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
    Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]")).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]"}))
    return host.resolve_model(f"dir:{folder}", name="small-bert")


def inputs() -> dict[str, Array]:
    """Return one sequence of tokens, nothing masked."""
    ids = np.random.default_rng(1).integers(4, 1000, (1, SEQUENCE), np.int64)
    ones = np.ones_like(ids)
    return {"input_ids": ids, "attention_mask": ones, "token_type_ids": ones * 0}


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, wide = 128, 512
    for name, rows in (("word", 1000), ("position", 64), ("token_type", 2)):
        yield f"embeddings.{name}_embeddings.weight", (rows, hidden)
    yield from _norm("embeddings.LayerNorm", hidden)
    for index in range(2):
        layer = f"encoder.layer.{index}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            yield from _linear(f"{layer}.attention.{part}", hidden, hidden)
        yield from _norm(f"{layer}.attention.output.LayerNorm", hidden)
        yield from _linear(f"{layer}.intermediate.dense", wide, hidden)
        yield from _linear(f"{layer}.output.dense", hidden, wide)
        yield from _norm(f"{layer}.output.LayerNorm", hidden)


def _linear(name: str, rows: int, columns: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (rows, columns)
    yield f"{name}.bias", (rows,)


def _norm(name: str, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (size,)
    yield f"{name}.bias", (size,)
