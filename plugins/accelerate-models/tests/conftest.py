# SPDX-License-Identifier: Apache-2.0
"""Small random checkpoints with unfriendly sizes, and native ONNX Runtime to run what is built."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import accelerate_models
import numpy as np
import pytest

from accelerate_core.host import Host
from accelerate_core.protocols import Context, ModelSource
from accelerate_core.types import ModelSpec

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "a", "mat", ".")
SIZES: dict[str, dict[str, Any]] = {
    "bert": {
        "vocab_size": 53,
        "hidden_size": 21,
        "num_attention_heads": 3,
        "num_hidden_layers": 3,
        "intermediate_size": 37,
        "max_position_embeddings": 41,
    },
    "distilbert": {
        "vocab_size": 53,
        "dim": 21,
        "n_heads": 3,
        "n_layers": 3,
        "hidden_dim": 37,
        "max_position_embeddings": 41,
    },
}
SIZES["roberta"] = {**SIZES["bert"], "type_vocab_size": 1, "pad_token_id": 1}
SIZES["xlm-roberta"] = SIZES["roberta"]


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    return Host(cache_dir=tmp_path / "cache", state_dir=tmp_path / "state").context


@pytest.fixture
def left_over(ctx: Context) -> Callable[[], list[str]]:
    """List every file in the cache."""
    return lambda: sorted(str(p) for p in ctx.cache_dir.rglob("*") if p.is_file())


@pytest.fixture
def resolve(ctx: Context) -> Callable[..., ModelSpec]:
    plugins = (
        accelerate_models.FileSource(),
        accelerate_models.DirectorySource(),
        accelerate_models.PackageSource(),
    )
    sources: dict[str, ModelSource] = {
        scheme: plugin.model_create(None, ctx)
        for plugin in plugins
        for scheme in plugin.model_schemes()
    }

    def call(reference: str, *, precision: str = "fp32") -> ModelSpec:
        source = sources[reference.partition(":")[0]]
        return source.resolve(reference, name="model", precision=precision)

    return call


@pytest.fixture
def run(ctx: Context, tmp_path: Path) -> Callable[..., dict[str, np.ndarray]]:
    """Run a spec on native ONNX Runtime, its assets under the names the graph asks for."""
    import onnxruntime

    def call(spec: ModelSpec, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        folder = tmp_path / "run" / spec.sha256
        for asset in spec.assets:
            place = folder / asset.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ctx.assets.path(asset.sha256), place)
        session = onnxruntime.InferenceSession(
            folder / spec.assets[0].name, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return call


@pytest.fixture(scope="session")
def make_checkpoint() -> Callable[..., Any]:
    """Write a random checkpoint and return its torch model."""
    import torch
    import transformers

    def call(
        directory: Path, model_type: str, *, dtype: torch.dtype = torch.float32, **changes: Any
    ) -> Any:
        torch.manual_seed(7)
        config = transformers.AutoConfig.for_model(model_type, **{**SIZES[model_type], **changes})
        model = transformers.AutoModel.from_config(config, attn_implementation="eager").eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.normal_(1.0 if "orm.weight" in name else 0.0, 0.3)
        model = model.to(dtype)
        model.save_pretrained(directory)
        write_tokenizer(directory)
        return model

    return call


@pytest.fixture
def checkpoint(tmp_path: Path, make_checkpoint: Callable[..., Any]) -> Path:
    """A small BERT, complete and sound: tests of bad input break one thing in it."""
    directory = tmp_path / "checkpoint"
    make_checkpoint(directory, "bert")
    return directory


def write_tokenizer(directory: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]"}))
