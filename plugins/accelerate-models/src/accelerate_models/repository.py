# SPDX-License-Identifier: Apache-2.0
"""What a repository on a hub is asked for: its reference, its list of files, which are needed.

Decisions only: hub.py does what they say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import attrs

from accelerate_core.errors import ModelError

CONFIG = "config.json"
ACCEPTED = ("hf:ORGANISATION/NAME", "hf:ORGANISATION/NAME@REVISION", "hf:ORGANISATION/NAME#PART")

_ONNX_PART = "onnx"
_REFERENCE = re.compile(
    r"hf:(?P<repository>[^@#]*)(?:@(?P<revision>[^#]*))?(?:#(?P<part>[a-z][a-z0-9_]*))?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"(?!.*(?:\.\.|--|\.git$))[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?", re.ASCII)
#: What git allows in the name of a branch or tag, less what no one uses.
_REVISION = re.compile(r"(?!.*(?:\.\.|//))[A-Za-z0-9_](?:[\w./+-]{0,98}[\w+-])?", re.ASCII)
_DRIVE = re.compile(r"(?:^|/)[A-Za-z]:")
_SHARDED = "model.safetensors.index.json"
_WEIGHTS = ("model.safetensors", _SHARDED)
#: What processors read beside config.json; test_hub.py holds this against their source.
_SMALL = (
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "modules.json",
    "preprocessor_config.json",
    "processor_config.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)
#: Only tokenizers of CTC are read from these, and they have no tokenizer.json.
_WITHOUT_TOKENIZER = ("added_tokens.json", "vocab.json")
#: sentence-transformers numbers its modules: 1_Pooling/config.json.
_MODULE = re.compile(r"\d+_\w+/config\.json", re.ASCII)
_EXPORT_FOLDERS = ("onnx/", "")
#: By precision, the best first. What is found in fp32 is converted.
_EXPORTS = {
    "fp32": ("model.onnx",),
    "fp16": ("model_fp16.onnx", "model.onnx"),
    "int8": ("model_quantized.onnx", "model_int8.onnx", "model.onnx"),
    "int4": ("model_q4.onnx", "model.onnx"),
    "int3": ("model.onnx",),
    "int2": ("model.onnx",),
}


@attrs.frozen
class HubReference:
    """Name a repository, what of it, and in which state."""

    repository: str
    revision: str
    part: str

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which never changes."""
        return _COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return f"hf:{self.repository}@{self.revision}" + (f"#{self.part}" if self.part else "")


@attrs.frozen
class Listing:
    """Say which files a commit has, and how many bytes the hub says they have."""

    commit: str
    sizes: Mapping[str, int]


@attrs.frozen
class Choice:
    """Say which files are needed, and what is then read: a folder, or one ONNX file in it."""

    files: tuple[str, ...]
    graph: str = ""  #: "" is the folder


def parse_reference(reference: str) -> HubReference:
    """Return what `hf:ORGANISATION/NAME@REVISION#PART` says; ModelError when it is malformed."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ModelError(f"{reference!r} names no repository on a hub", accepted=ACCEPTED)
    repository, revision = match["repository"], match["revision"]
    names = repository.split("/")
    if len(names) != 2 or len(repository) > 96 or not all(map(_NAME.fullmatch, names)):
        raise ModelError(
            f"{repository!r} is not the name of a repository",
            accepted=ACCEPTED,
            hint="Copy it from the model's page: letters, digits, '.', '-' and '_' around one '/'.",
        )
    if revision is not None and not _REVISION.fullmatch(revision):
        raise ModelError(
            f"{revision!r} is not the name of a branch or tag, nor a commit",
            where=f"hf:{repository}",
            accepted=ACCEPTED,
        )
    return HubReference(repository, revision or "main", match["part"] or "")


def check_listing(
    wanted: HubReference, commit: object, files: Iterable[tuple[object, object]]
) -> Listing:
    """Return what the hub says of a revision; ModelError for an answer that cannot be trusted.

    `files` are names and sizes. Refused are names that leave their folder; small files that are
    announced larger than those who read them accept; and repositories without weights that
    can be read safely.
    """
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise _distrusted(wanted, f"the hub names no commit, but {commit!r}")
    if wanted.is_pinned and commit != wanted.revision:
        raise _distrusted(wanted, f"the hub answers with another commit, {commit}")
    sizes: dict[str, int] = {}
    for name, size in files:
        if not isinstance(name, str) or not _stays_inside(name):
            raise _distrusted(wanted, f"it has a file {name!r}, outside its own folder")
        if not isinstance(size, int) or size < 0:
            raise _distrusted(wanted, f"the hub does not say how large {name!r} is")
        sizes[name] = size
    for name in (CONFIG, _SHARDED, *_small_files(sizes)):
        if sizes.get(name, 0) > (limit := _limit_bytes(name)):
            raise ModelError(
                f"{name} has {sizes[name]} bytes",
                where=str(wanted),
                accepted=(f"up to {limit} bytes",),
                hint="Such a file is damaged or hostile: do not use this model.",
            )
    if not any(name in _WEIGHTS or name.endswith(".onnx") for name in sizes):
        from .checkpoint import no_weights

        raise no_weights(sizes, str(wanted))
    return Listing(commit, sizes)


def choose(
    wanted: HubReference,
    precision: str,
    listing: Listing,
    config: Mapping[str, Any],
    model_types: Collection[str],
) -> Choice:
    """Return what to download: safetensors that can be built from, else the ONNX export.

    `model_types` are those that have a builder. ModelError when neither will do.
    """
    sizes = listing.sizes
    small = (*((CONFIG,) if CONFIG in sizes else ()), *_small_files(sizes))
    model_type = config.get("model_type")
    has_builder = isinstance(model_type, str) and model_type in model_types
    weights = next((name for name in _WEIGHTS if name in sizes), None)
    if wanted.part != _ONNX_PART and has_builder and weights:
        return Choice((*small, weights))
    names = [f"{folder}{n}" for n in _EXPORTS[precision] for folder in _EXPORT_FOLDERS]
    graph = next((name for name in names if name in sizes), None)
    if graph is None:
        raise _nothing_to_use(wanted, precision, listing, model_type, has_builder, model_types)
    if wanted.part not in ("", _ONNX_PART):
        raise ModelError(
            f"its ONNX export is one graph: it has no part {wanted.part!r}",
            where=str(wanted),
            accepted=(f"hf:{wanted.repository}#{_ONNX_PART}",),
        )
    # Exporters name external data after the graph: model.onnx_data, model.onnx_data_1, ...
    data = [name for name in sizes if name.startswith((f"{graph}_data", f"{graph}.data"))]
    return Choice((*small, graph, *sorted(data)), graph)


def shards(wanted: HubReference, listing: Listing, names: Sequence[str]) -> Sequence[str]:
    """Return the shards an index names; ModelError unless the repository has all of them."""
    missing = [name for name in names if name not in listing.sizes]
    if missing:
        raise ModelError(
            f"{_SHARDED} names {', '.join(missing)}, which the repository lacks",
            where=str(wanted),
            hint="Its upload is not finished, or not all of it. Try another revision.",
        )
    return names


def index_of(choice: Choice) -> str | None:
    """Return the index of shards that is to be downloaded, if weights are in shards."""
    return _SHARDED if _SHARDED in choice.files else None


def _small_files(sizes: Mapping[str, int]) -> Sequence[str]:
    unneeded = _WITHOUT_TOKENIZER if "tokenizer.json" in sizes else ()
    named = [name for name in _SMALL if name in sizes and name not in unneeded]
    return (*named, *sorted(name for name in sizes if _MODULE.fullmatch(name)))


def _limit_bytes(name: str) -> int:
    from .files import JSON_LIMIT_BYTES
    from .processors.chat import TEMPLATE_LIMIT_BYTES
    from .processors.tokenizing import TOKENIZER_LIMIT_BYTES

    if name == "tokenizer.json":
        return TOKENIZER_LIMIT_BYTES
    return TEMPLATE_LIMIT_BYTES if name.endswith(".jinja") else JSON_LIMIT_BYTES


def _stays_inside(name: str) -> bool:
    """Whether a file's name is relative and plain, on any system."""
    path = PurePosixPath(name)
    return (
        bool(path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
        and path.as_posix() == name
        and "\\" not in name
        and "\0" not in name
        and not _DRIVE.search(name)
    )


def _distrusted(wanted: HubReference, reason: str) -> ModelError:
    return ModelError(
        reason,
        where=str(wanted),
        hint="Do not use this model, and check HF_ENDPOINT: a hub never answers like this.",
    )


def _nothing_to_use(
    wanted: HubReference,
    precision: str,
    listing: Listing,
    model_type: object,
    has_builder: bool,
    model_types: Collection[str],
) -> ModelError:
    exports = [name for name in listing.sizes if name.endswith(".onnx")]
    folders = tuple(f"{folder}model.onnx" for folder in _EXPORT_FOLDERS)
    if exports:
        return ModelError(
            f"it has no ONNX export of the whole model in {precision}",
            where=str(wanted),
            accepted=folders,
            hint=f"It has {', '.join(exports[:8])}: download one and use file:PATH.",
        )
    if has_builder:
        return ModelError(
            "it has no ONNX export",
            where=str(wanted),
            accepted=folders,
            hint=f"Use hf:{wanted.repository}: it is built from its own weights.",
        )
    return ModelError(
        f"no builder for model_type {model_type!r}, and no ONNX export"
        if model_type
        else f"it has neither a {CONFIG} with a model_type nor an ONNX export",
        where=str(wanted),
        accepted=sorted(model_types),
        hint="Any model runs from its ONNX export: use file:PATH/model.onnx.",
    )
