# SPDX-License-Identifier: Apache-2.0
"""What a directory says of its feature extractor."""

from __future__ import annotations

from pathlib import Path

from ..config import ModelConfig
from ..files import SourceFiles

_HINT = "Write it with transformers: AutoFeatureExtractor.from_pretrained(DIR).save_pretrained(DIR)"


def extractor_config(directory: Path, files: SourceFiles, kind: str) -> ModelConfig:
    """Return the settings of a feature extractor of the class `kind`.

    They are all of preprocessor_config.json, or, as transformers 5 writes them, a section of
    processor_config.json. ModelError when there are none, or those of another class.
    """
    combined = directory / "processor_config.json"
    path = directory / "preprocessor_config.json"
    if files.has(combined) and not files.has(path):
        config = ModelConfig(combined, files.json_object(combined)).section("feature_extractor")
    else:
        config = ModelConfig(path, files.json_object(path, _HINT))
    config.choice("feature_extractor_type", (kind,), kind)
    config.choice("padding_side", ("right",), "right")
    return config
