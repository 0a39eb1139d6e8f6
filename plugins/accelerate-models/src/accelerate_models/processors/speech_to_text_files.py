# SPDX-License-Identifier: Apache-2.0
"""How a Whisper directory wants its sound prepared, and which tokens its answer starts with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate_core.errors import ModelError

from ..config import ModelConfig
from ..facts import Facts
from ..files import SourceFiles
from .extractor import check_window, extractor_config, rate_of
from .prepared import Prepared
from .tokenizing import read_tokenizer


def prepare(
    directory: Path, files: SourceFiles, facts: Facts, details: Mapping[str, Any]
) -> Prepared:
    """Return the processor of a directory; ModelError for files that are missing or wrong."""
    extractor = extractor_config(directory, files, "WhisperFeatureExtractor")
    extractor.refuse("dither")
    extractor.refuse("padding_value")
    rate, hop = rate_of(extractor, 16_000), extractor.size("hop_length", 160)
    samples = extractor.size("chunk_length", 30) * rate
    bands = extractor.size("feature_size", 80)
    wanted = (details["feature_bands"], details["feature_frames"])
    if (bands, samples // hop) != wanted:
        raise ModelError(
            f"it makes features [{bands}, {samples // hop}]",
            where=str(extractor.path),
            accepted=(f"{list(wanted)}, as config.json says",),
            hint="The two files do not belong together.",
        )
    _, text = read_tokenizer(directory, files)
    return Prepared(
        task="audio",
        kind="speech_to_text",
        settings={
            "rate": rate,
            "window": check_window(extractor, "chunk_length", "n_fft", samples, rate),
            "hop": hop,
            "bands": bands,
            "samples": samples,
            "max_positions": details["max_positions"],
            **_tokens(directory, files, int(facts.outputs[0].shape[2])),
        },
        contents={"tokenizer.json": text},
    )


def _tokens(directory: Path, files: SourceFiles, vocabulary: int) -> dict[str, Any]:
    """Return the tokens that generation_config.json names, or else config.json."""
    path = directory / "generation_config.json"
    if not files.has(path):
        path = directory / "config.json"
    config = ModelConfig(path, files.json_object(path))

    def check(value: Any, key: str) -> int:
        if type(value) is not int or not 0 <= value < vocabulary:
            raise config.fault(key, f"tokens from 0 to {vocabulary - 1}")
        return value

    def several(key: str) -> list[int]:
        values = config.values.get(key) or []
        if not isinstance(values, list):
            raise config.fault(key, "a list of tokens")
        return [check(value, key) for value in values]

    def named(key: str) -> dict[str, int]:
        values = config.values.get(key) or {}
        if not isinstance(values, dict):
            raise config.fault(key, "an object of tokens")
        return {name.strip("<|>"): check(value, key) for name, value in values.items()}

    last = config.values.get("no_timestamps_token_id")
    return {
        "start": check(config.values.get("decoder_start_token_id"), "decoder_start_token_id"),
        "padding": check(config.values.get("pad_token_id"), "pad_token_id"),
        "forced": [check(one, "forced_decoder_ids") for one in _forced(config)],
        "languages": named("lang_to_id"),
        "tasks": named("task_to_id"),
        "last": None if last is None else check(last, "no_timestamps_token_id"),
        "suppressed": [*several("suppress_tokens"), *several("begin_suppress_tokens")],
    }


def _forced(config: ModelConfig) -> list[Any]:
    """Return the tokens that follow the first one, whatever is heard."""
    pairs = config.values.get("forced_decoder_ids") or []
    is_list = isinstance(pairs, list) and all(isinstance(p, list) and len(p) == 2 for p in pairs)
    if not is_list or [pair[0] for pair in pairs] != list(range(1, len(pairs) + 1)):
        raise config.fault("forced_decoder_ids", "[[1, token], [2, token], ...]")
    return [token for _, token in pairs if token is not None]
