# SPDX-License-Identifier: Apache-2.0
"""What a directory says of its feature extractor."""

from __future__ import annotations

from pathlib import Path

from ..config import ModelConfig
from ..files import SourceFiles
from .audio_file import LONGEST_S, RATES

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


def rate_of(config: ModelConfig, default: int) -> int:
    """Return the rate in Hz that a feature extractor wants."""
    rate = config.size("sampling_rate", default)
    if not RATES[0] <= rate <= RATES[1]:
        raise config.fault("sampling_rate", f"{RATES[0]} to {RATES[1]}")
    return rate


def check_window(config: ModelConfig, seconds: str, transform: str, samples: int, rate: int) -> int:
    """Return the samples of a Fourier transform, which fits into the model's window of sound.

    `seconds` and `transform` are the keys that say how long the two are.
    """
    if samples > LONGEST_S * rate:
        raise config.fault(seconds, f"at most {LONGEST_S}")
    size = config.size(transform)
    if size > samples:
        raise config.fault(transform, f"at most {samples}, the samples of {seconds}")
    return size
