# SPDX-License-Identifier: Apache-2.0
"""How a CLAP directory wants its sound prepared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate_core.errors import ModelError

from ..facts import Facts
from ..files import SourceFiles
from .extractor import check_window, extractor_config, rate_of
from .prepared import Prepared

_PADDINGS = ("repeatpad", "repeat", "pad")


def prepare(
    directory: Path, files: SourceFiles, facts: Facts, details: Mapping[str, Any]
) -> Prepared:
    """Return the processor of a directory; ModelError for files that are missing or wrong."""
    config = extractor_config(directory, files, "ClapFeatureExtractor")
    config.choice("truncation", ("rand_trunc",), "fusion")
    rate, hop = rate_of(config, 48_000), config.size("hop_length", 480)
    samples = config.size("max_length_s", 10) * rate
    bands, frames = config.size("feature_size", 64), 1 + samples // hop
    if bands != details["feature_bands"] or frames > details["feature_frames"]:
        raise ModelError(
            f"it makes features [{frames}, {bands}]",
            where=str(config.path),
            accepted=(f"at most {details['feature_frames']} x {details['feature_bands']}",),
            hint="It does not belong to this config.json.",
        )
    low, high = config.integer("frequency_min", 0), config.size("frequency_max", 14_000)
    if low >= high or high > rate // 2:
        raise config.fault("frequency_max", f"{low + 1} to {rate // 2}")
    return Prepared(
        task="audio",
        kind="audio_embedding",
        settings={
            "rate": rate,
            "window": check_window(config, "max_length_s", "fft_window_size", samples, rate),
            "hop": hop,
            "bands": bands,
            "low_hz": low,
            "high_hz": high,
            "samples": samples,
            "frames": details["feature_frames"],
            "padding": config.choice("padding", _PADDINGS, "repeatpad"),
        },
        contents={},
    )
