# SPDX-License-Identifier: Apache-2.0
"""How a directory wants its text continued: its tokenizer, start token and chat template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate_core.errors import ModelError

from ..facts import Facts
from ..files import SourceFiles, read_limited
from .prepared import Prepared
from .tokenizing import (
    SIDES,
    longest_text,
    optional_json,
    padding_token,
    read_tokenizer,
    token_text,
)

#: What transformers lets a chat template see.
_KINDS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_SPECIAL_TOKENS = tuple(f"{kind}_token" for kind in _KINDS)


def prepare(
    directory: Path, files: SourceFiles, facts: Facts, details: Mapping[str, Any]
) -> Prepared:
    """Return the processor of a decoder, or of an encoder and a decoder.

    ModelError for files that are missing or wrong.
    """
    tokenizer, text = read_tokenizer(directory, files)
    config = optional_json(files, directory / "config.json")
    extra_path = directory / "tokenizer_config.json"
    extra = optional_json(files, extra_path)
    # Older files keep special tokens apart.
    extra = {**optional_json(files, directory / "special_tokens_map.json"), **extra}
    inputs = {tensor.name: tensor for tensor in facts.inputs}
    has_encoder = "decoder_input_ids" in inputs

    length = longest_text(
        tokenizer,
        (details.get("max_positions"), extra.get("model_max_length")),
        directory,
        'Add "model_max_length" to tokenizer_config.json.',
    )
    pad_token, pad_id = _padding(tokenizer, config, extra)
    settings: dict[str, Any] = {
        "inputs": list(inputs),
        "output": facts.outputs[0].name,
        "max_length": length,
        "pad_token": pad_token,
        "pad_id": pad_id,
        "truncation_side": _side(extra, "truncation_side", extra_path),
    }
    if has_encoder:
        settings["padding_side"] = _side(extra, "padding_side", extra_path)
        settings["decoder_start_token_id"] = _start(directory, files, config)
    else:
        # Whatever the file says: the next token comes after the last column.
        settings["padding_side"] = "left"
        settings["past"] = {
            name: list(tensor.shape)
            for name, tensor in inputs.items()
            if name.startswith("past_key_values.")
        }
        settings["special_tokens"] = {
            name: token
            for name in _SPECIAL_TOKENS
            if (token := token_text(extra.get(name))) is not None
        }
        settings["chat_template"] = _chat_template(
            directory, files, extra, settings["special_tokens"]
        )
    return Prepared(
        task="text_generation",
        kind="text_to_text" if has_encoder else "text_generation",
        family=config.get("model_type"),
        settings=settings,
        contents={"tokenizer.json": text},
    )


def _padding(
    tokenizer: Any, config: Mapping[str, Any], extra: Mapping[str, Any]
) -> tuple[str, int]:
    """Return a token to pad with. Masked, it is never seen: any will do where none is named."""
    if found := padding_token(tokenizer, config, extra):
        return found
    token = token_text(extra.get("eos_token"))
    token_id = tokenizer.token_to_id(token) if token else None
    if token is None or token_id is None:
        return str(tokenizer.id_to_token(0)), 0
    return token, int(token_id)


def _side(extra: Mapping[str, Any], key: str, path: Path) -> str:
    side = extra.get(key, "right")
    if side not in SIDES:
        raise ModelError(f"{key} is {side!r}", where=str(path), accepted=SIDES)
    return str(side)


def _start(directory: Path, files: SourceFiles, config: Mapping[str, Any]) -> int:
    """Return the token an answer begins with: what transformers' generation starts from."""
    generation = optional_json(files, directory / "generation_config.json")
    for key in ("decoder_start_token_id", "bos_token_id"):
        for values in (generation, config):
            if isinstance(values.get(key), int) and not isinstance(values[key], bool):
                return int(values[key])
    raise ModelError(
        "its files do not say which token an answer begins with",
        where=str(directory / "config.json"),
        hint='Add "decoder_start_token_id", for T5 the id of its padding token.',
    )


def _chat_template(
    directory: Path, files: SourceFiles, extra: Mapping[str, Any], tokens: Mapping[str, str]
) -> str | None:
    """Return the template's text: a file of its own wins, as in transformers."""
    from .chat import TEMPLATE_LIMIT_BYTES, ChatTemplate

    path = directory / "chat_template.jinja"
    source: Any
    if files.has(path):
        try:
            source = read_limited(path, TEMPLATE_LIMIT_BYTES).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ModelError(f"this is not text: {error}", where=str(path)) from error
    else:
        path = directory / "tokenizer_config.json"
        source = extra.get("chat_template")
    if isinstance(source, list):
        named = {str(one.get("name")): one.get("template") for one in source if one}
        source = named.get("default")
    if source is None:
        return None
    if not isinstance(source, str) or len(source) > TEMPLATE_LIMIT_BYTES:
        raise ModelError(
            "its chat template is not a text of reasonable length",
            where=str(path),
            accepted=(f"up to {TEMPLATE_LIMIT_BYTES >> 10} KiB",),
        )
    ChatTemplate(source, tokens, str(path))
    return source
