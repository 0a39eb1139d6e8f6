# SPDX-License-Identifier: Apache-2.0
"""Images and texts to scores of each text for each image, or to embeddings of either."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accelerate_core.assets import AssetStore
from accelerate_core.errors import ModelError
from accelerate_core.protocols import Processor
from accelerate_core.types import ProcessorSpec

from ..facts import Facts
from ..files import SourceFiles
from .image_classification import normalised, output, refuse_options, softmax
from .image_files import image_settings
from .images import rgb_images, sample_images
from .pixels import pixel_values
from .prepared import Prepared
from .tokenizing import Tokenizing, check_texts, optional_json, padding_token, read_tokenizer

if TYPE_CHECKING:
    from accelerate_core.types import Array

_TASKS = {("image",): "vision", ("text",): "text_embedding", ("image", "text"): "multimodal"}
_COLUMNS = {"input_ids": "ids", "attention_mask": "attention_mask"}


def prepare(
    directory: Path, files: SourceFiles, facts: Facts, details: Mapping[str, Any]
) -> Prepared:
    """Return the processor of a directory; ModelError for files that are missing or wrong."""
    return prepare_for(directory, files, facts, details, "image_text", "CLIPImageProcessor")


def prepare_for(
    directory: Path,
    files: SourceFiles,
    facts: Facts,
    details: Mapping[str, Any],
    kind: str,
    image_kind: str,
) -> Prepared:
    """Read only what the graph's inputs need: a tower for images has no tokenizer."""
    names = {tensor.name for tensor in facts.inputs}
    settings: dict[str, Any] = {}
    contents: dict[str, bytes] = {}
    if "pixel_values" in names:
        settings["image"] = image_settings(directory, files, facts, image_kind)
    if "input_ids" in names:
        settings["text"], contents["tokenizer.json"] = _text_settings(directory, files, details)
    return Prepared(task=_TASKS[tuple(settings)], kind=kind, settings=settings, contents=contents)


class ImageText(Processor):
    """Prepare images and texts as the model's own files say. Thread-safe.

    The raw input of a model with both towers is a pair, `(images, texts)`, each one or a list; of
    one tower, what that tower takes.
    """

    def __init__(self, spec: ProcessorSpec, assets: AssetStore) -> None:
        self._image: Mapping[str, Any] | None = spec.settings.get("image")
        self._text = (
            Tokenizing(spec.settings["text"], spec.assets[0], assets)
            if "text" in spec.settings
            else None
        )

    def encode(
        self, raw: Any, *, sequence_length: int | None = None, **options: Any
    ) -> Mapping[str, Array]:
        """Return `pixel_values`, float32 [images, 3, height, width], and int64 [texts, sequence].

        Texts are padded to the longest of them, or to `sequence_length` tokens, and cut to what
        the model takes. ModelError for anything that is no pair of images and texts.
        """
        refuse_options(options)
        images, texts = self._pair(raw)
        encoded: dict[str, Array] = {}
        if self._image is not None:
            encoded["pixel_values"] = pixel_values(rgb_images(images), self._image)
        if self._text is not None:
            found = self._text.encode(check_texts(texts, "this model"), sequence_length)
            for name, column in _COLUMNS.items():
                encoded[name] = np.array([getattr(one, column) for one in found], np.int64)
        return encoded

    def decode(self, outputs: Mapping[str, Array], encoded: Mapping[str, Array]) -> Array:
        """Return for each image the probability of each text: float32 [images, texts].

        Of one tower: embeddings, normalised, float32 [batch, size]. ModelError when the outputs
        lack what is needed.
        """
        if self._text is None:
            return normalised(output(outputs, "image_embeds"))
        if self._image is None:
            return normalised(output(outputs, "text_embeds"))
        return softmax(output(outputs, "logits_per_image"))

    def sample(self, batch_size: int, sequence_length: int | None) -> Any:
        """Return images and as many texts, the same ones every time.

        Each text encodes to exactly `sequence_length` tokens, to 32 or as many as the model takes
        without one. ModelError when it takes no such length.
        """
        if self._text is None:
            return sample_images(batch_size)
        texts = self._text.sample(batch_size, sequence_length)
        return texts if self._image is None else (sample_images(batch_size), texts)

    def _pair(self, raw: Any) -> tuple[Any, Any]:
        if self._text is None:
            return raw, None
        if self._image is None:
            return None, raw
        if not isinstance(raw, tuple) or len(raw) != 2:
            raise ModelError(
                f"this model cannot take {type(raw).__name__}", accepted=("(images, texts)",)
            )
        return raw


def _text_settings(
    directory: Path, files: SourceFiles, details: Mapping[str, Any]
) -> tuple[dict[str, Any], bytes]:
    tokenizer, text = read_tokenizer(directory, files)
    extra = optional_json(files, directory / "tokenizer_config.json")
    config = optional_json(files, directory / "config.json").get("text_config", {})
    padding = padding_token(tokenizer, config, extra)
    if padding is None:
        raise ModelError(
            "no padding token is known to the tokenizer",
            where=str(directory),
            hint='Add {"pad_token": "..."} to tokenizer_config.json.',
        )
    longest = extra.get("model_max_length")
    limits = [details["max_positions"], *([longest] if type(longest) is int else [])]
    settings = {"max_length": min(limits), "pad_token": padding[0], "pad_id": padding[1]}
    return settings, text
