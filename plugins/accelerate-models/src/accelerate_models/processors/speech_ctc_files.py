# SPDX-License-Identifier: Apache-2.0
"""How a wav2vec2 directory wants its sound prepared and its letters joined."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate_core.errors import ModelError

from ..config import ModelConfig
from ..facts import Facts
from ..files import SourceFiles
from .extractor import extractor_config, rate_of
from .prepared import Prepared
from .tokenizing import TOKENIZER_HINT, optional_json, token_text

_TOKENIZER = "Wav2Vec2CTCTokenizer"


def prepare(
    directory: Path, files: SourceFiles, facts: Facts, details: Mapping[str, Any]
) -> Prepared:
    """Return the processor of a directory; ModelError for files that are missing or wrong.

    A model without a head for letters needs no vocabulary: its answer is its hidden states.
    """
    extractor = extractor_config(directory, files, "Wav2Vec2FeatureExtractor")
    padding_value = extractor.values.get("padding_value", 0.0)
    if isinstance(padding_value, bool) or not isinstance(padding_value, (int, float)):
        raise extractor.fault("padding_value", "a number")
    settings = {
        "inputs": [tensor.name for tensor in facts.inputs],
        "output": facts.outputs[0].name,
        "rate": rate_of(extractor, 16_000),
        "normalize": extractor.flag("do_normalize", True),
        "mask": extractor.flag("return_attention_mask", False),
        "padding_value": float(padding_value),
        "receptive_samples": details["receptive_samples"],
        "stride_samples": details["stride_samples"],
    }
    if settings["output"] != "logits":
        return Prepared(task="audio", kind="speech_ctc", settings=settings, contents={})
    settings |= _tokenizer(directory, files)
    letters = json.dumps(_letters(directory, files), ensure_ascii=False)
    return Prepared(
        task="audio",
        kind="speech_ctc",
        settings=settings,
        contents={"letters.json": letters.encode()},
    )


def _tokenizer(directory: Path, files: SourceFiles) -> dict[str, Any]:
    config = _config(directory, files)
    config.choice("tokenizer_class", (_TOKENIZER,), _TOKENIZER)
    return {
        "blank": _word(config, "pad_token", "<pad>"),
        "unknown": _word(config, "unk_token", "<unk>"),
        "delimiter": _word(config, "word_delimiter_token", "|"),
        "space": _word(config, "replace_word_delimiter_char", " "),
        "lowercase": config.flag("do_lower_case", False),
        "tidy": config.flag("clean_up_tokenization_spaces", False),
    }


def _word(config: ModelConfig, key: str, default: str) -> str:
    value = token_text(config.values.get(key, default))
    if value is None:
        raise config.fault(key, "text")
    return value


def _letters(directory: Path, files: SourceFiles) -> dict[int, str]:
    """Return id -> token; what was added later stands where the vocabulary leaves room."""
    path, added_path = directory / "vocab.json", directory / "added_tokens.json"
    vocabulary = files.json_object(path, TOKENIZER_HINT)
    added = optional_json(files, added_path)
    _check(vocabulary, path)
    _check(added, added_path)
    config = _config(directory, files)
    entries = config.values.get("added_tokens_decoder", {})
    texts = list(map(token_text, entries.values())) if isinstance(entries, dict) else [None]
    if None in texts or not all(index.isdecimal() for index in entries):
        raise config.fault("added_tokens_decoder", "an object of tokens by id")
    letters = {int(index): str(text) for index, text in zip(entries, texts, strict=True)}
    for more in (added, vocabulary):
        letters |= {index: token for token, index in more.items()}
    return letters


def _config(directory: Path, files: SourceFiles) -> ModelConfig:
    path = directory / "tokenizer_config.json"
    return ModelConfig(path, optional_json(files, path))


def _check(vocabulary: Mapping[str, Any], path: Path) -> None:
    for token, index in vocabulary.items():
        if isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise ModelError(
                f"the token {token!r} has the id {index!r}",
                where=str(path),
                accepted=("whole numbers",),
                hint="A vocabulary of several languages must be reduced to one: "
                "tokenizer.set_target_lang(LANGUAGE), then save_pretrained(DIR).",
            )
