# SPDX-License-Identifier: Apache-2.0
"""How a directory wants its text embedded: its tokenizer and sentence-transformers' files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate_core.errors import ModelError

from ..facts import Facts
from ..files import SourceFiles, check_inside
from .prepared import Prepared
from .tokenizing import TOKENIZER_HINT, longest_text, optional_json, padding_token, read_tokenizer

POOLINGS = ("mean", "cls", "max")
_MODULES = ("Transformer", "Pooling", "Normalize")
_LEGACY_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def prepare(
    directory: Path, files: SourceFiles, facts: Facts, details: Mapping[str, Any]
) -> Prepared:
    """Return the processor of a directory; ModelError for files that are missing or wrong."""
    tokenizer, text = read_tokenizer(directory, files)
    config = optional_json(files, directory / "config.json")
    sentence = optional_json(files, directory / "sentence_bert_config.json")
    pooling, normalize, source = _pooling(directory, files)

    positions = details.get("max_positions") or config_positions(config)
    length = longest_text(
        tokenizer,
        (positions, sentence.get("max_seq_length")),
        directory,
        'Add {"max_seq_length": 512} as sentence_bert_config.json.',
    )
    extra = optional_json(files, directory / "tokenizer_config.json")
    padding = padding_token(tokenizer, config, extra)
    if padding is None:
        raise ModelError(
            "no padding token is known to the tokenizer",
            where=str(directory / "tokenizer.json"),
            hint=TOKENIZER_HINT,
        )
    return Prepared(
        task="text_embedding",
        kind="text_embedding",
        family=config.get("model_type"),
        settings={
            "inputs": [tensor.name for tensor in facts.inputs],
            "output": _token_output(facts),
            "max_length": length,
            "pad_token": padding[0],
            "pad_id": padding[1],
            "lowercase": sentence.get("do_lower_case") is True,
            "pooling": pooling,
            "normalize": normalize,
        },
        contents={"tokenizer.json": text},
        notes={"pooling": pooling, "normalize": normalize, "pooling_source": source},
    )


def prepare_beside(directory: Path, files: SourceFiles, facts: Facts) -> Prepared | None:
    """Return the processor for an ONNX file, or None where the files beside it make none."""
    has_files = [files.has(directory / name) for name in ("tokenizer.json", "config.json")]
    names = {tensor.name for tensor in facts.inputs}
    is_encoder = {"input_ids"} <= names <= {"input_ids", "attention_mask", "token_type_ids"}
    if not all(has_files) or not is_encoder or _token_output(facts) is None:
        return None
    return prepare(directory, files, facts, {})


def config_positions(config: Mapping[str, Any]) -> int | None:
    """Return the tokens a config.json allows, for a graph that does not say."""
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and "roberta" in str(config.get("model_type")):
        return positions - int(config.get("pad_token_id", 1)) - 1
    return positions if isinstance(positions, int) else None


def _token_output(facts: Facts) -> str | None:
    """Return the output that has one vector per token."""
    rank3 = [t.name for t in facts.outputs if len(t.shape) == 3 and t.dtype.startswith("float")]
    for name in ("last_hidden_state", "token_embeddings"):
        if name in rank3:
            return name
    return rank3[0] if rank3 else None


def _pooling(directory: Path, files: SourceFiles) -> tuple[str, bool, str]:
    """Return how to pool, whether to normalise, and which file says so."""
    if not files.has(directory / "modules.json"):
        return "mean", False, "default: there is no modules.json"
    place = directory / "modules.json"
    modules = files.json(place)
    kinds: dict[str, Any] = {}
    for module in modules if isinstance(modules, list) else [None]:
        kind = str(module.get("type")).rpartition(".")[2] if isinstance(module, dict) else "?"
        if kind not in _MODULES:
            raise ModelError(
                f"this pipeline has the step {kind!r}",
                where=str(place),
                accepted=_MODULES,
                hint="Without that step the embeddings would be wrong.",
            )
        kinds[kind] = module
    if "Pooling" not in kinds:
        return "mean", "Normalize" in kinds, "default: modules.json has no pooling"
    folder = check_inside(str(kinds["Pooling"].get("path")), place)
    config_path = directory / folder / "config.json"
    pooling = _pooling_mode(files.json_object(config_path), config_path)
    return pooling, "Normalize" in kinds, f"{folder}/config.json"


def _pooling_mode(config: Mapping[str, Any], path: Path) -> str:
    modes: Sequence[Any]
    if "pooling_mode" in config:
        mode = config["pooling_mode"]
        modes = mode if isinstance(mode, list) else [mode]
    else:
        modes = [word for key, word in _LEGACY_POOLINGS.items() if config.get(key) is True]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ModelError(f"pooling is {list(modes)}", where=str(path), accepted=POOLINGS)
    return str(modes[0])
