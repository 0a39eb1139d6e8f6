# SPDX-License-Identifier: Apache-2.0
"""The model types this distribution builds: plugins of the group `accelerate_models.builders`.

A new one is a module with `BUILDERS`, a line here and one in pyproject.toml. Another distribution
adds its own in the same way; see examples/plugins.
"""

from __future__ import annotations

import importlib
from typing import Any

import attrs

from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Context

from ..hookspecs.builder import Builder


@attrs.frozen(eq=False)
class BuiltIn:
    """Offer one model type; its module, and onnx with it, is imported when it is used."""

    name: str
    module: str

    @hookimpl
    def builder_create(self, settings: Any, ctx: Context) -> Builder:
        """Return the builder of this model type."""
        module = importlib.import_module(f"{__name__}.{self.module}")
        found: Builder = next(one for one in module.BUILDERS if one.model_type == self.name)
        return found


BERT = BuiltIn("bert", "bert")
DISTILBERT = BuiltIn("distilbert", "distilbert")
ROBERTA = BuiltIn("roberta", "roberta")
XLM_ROBERTA = BuiltIn("xlm-roberta", "roberta")
LLAMA = BuiltIn("llama", "llama")
MISTRAL = BuiltIn("mistral", "llama")
QWEN2 = BuiltIn("qwen2", "llama")
CLAP = BuiltIn("clap", "clap")
WAV2VEC2 = BuiltIn("wav2vec2", "wav2vec2")
WHISPER = BuiltIn("whisper", "whisper")
T5 = BuiltIn("t5", "t5")
BART = BuiltIn("bart", "bart")
VIT = BuiltIn("vit", "vit")
CLIP = BuiltIn("clip", "clip")
DETR = BuiltIn("detr", "detr")
BLIP = BuiltIn("blip", "blip")
