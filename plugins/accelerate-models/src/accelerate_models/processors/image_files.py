# SPDX-License-Identifier: Apache-2.0
"""How a directory wants its images prepared: preprocessor_config.json."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from accelerate_core.assets import AssetStore
from accelerate_core.errors import ModelError
from accelerate_core.types import ProcessorSpec

from ..config import ModelConfig
from ..facts import Facts
from ..files import SourceFiles

_HINT = "Write it with transformers: AutoImageProcessor.from_pretrained(DIR).save_pretrained(DIR)"
_HALF = [0.5, 0.5, 0.5]
_CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
}
#: What the classes of transformers take for what a file leaves out.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "ViTImageProcessor": {
        "image_mean": _HALF,
        "image_std": _HALF,
        "resample": 2,
        "size": {"height": 224, "width": 224},
    },
    "CLIPImageProcessor": {
        **_CLIP,
        "size": {"shortest_edge": 224},
        "do_center_crop": True,
        "crop_size": 224,
    },
    "BlipImageProcessor": {**_CLIP, "size": {"height": 384, "width": 384}},
    "DetrImageProcessor": {
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 2,
        "size": {"shortest_edge": 800, "longest_edge": 1333},
    },
}
_SIZES = (
    {"height", "width"},
    {"shortest_edge"},
    {"shortest_edge", "longest_edge"},
    {"max_height", "max_width"},
)
#: Pillow's filters.
_FILTERS = range(6)


def image_settings(directory: Path, files: SourceFiles, facts: Facts, kind: str) -> dict[str, Any]:
    """Return the settings of `pixels.pixel_values`; `kind` is the class a file leaves unsaid.

    ModelError when the file is missing or wrong, when it asks for what no graph here takes, or
    when the images it makes are not of the size the graph takes.
    """
    combined = directory / "processor_config.json"
    path = directory / "preprocessor_config.json"
    if files.has(combined) and not files.has(path):
        config = ModelConfig(combined, files.json_object(combined)).section("image_processor")
    else:
        config = ModelConfig(path, files.json_object(path, _HINT))
    kind = _class_of(config, kind)
    config = attrs.evolve(config, values={**_DEFAULTS[kind], **config.values})
    config.refuse("pad_size")
    has_scale, has_norm = (config.flag(f"do_{key}", True) for key in ("rescale", "normalize"))
    has_crop = config.flag("do_center_crop", False)
    settings = {
        "size": _size(config, kind) if config.flag("do_resize", True) else None,
        "resample": _filter(config),
        "crop": _crop(config) if has_crop else None,
        "scale": config.positive("rescale_factor", 1 / 255) if has_scale else None,
        "mean": _channels(config, "image_mean") if has_norm else None,
        "std": _channels(config, "image_std") if has_norm else None,
    }
    _check_fits(config, settings, facts)
    return settings


def labels_of(directory: Path, files: SourceFiles, count: int) -> dict[str, bytes]:
    """Return labels.json, `id2label` of config.json as a list; ModelError unless it has `count`."""
    config = ModelConfig(path := directory / "config.json", files.json_object(path))
    found = config.values.get("id2label") or {str(i): f"LABEL_{i}" for i in range(count)}
    named = {str(index): str(label) for index, label in found.items()}
    if named.keys() != {str(index) for index in range(count)}:
        raise config.fault("id2label", f"labels for 0 to {count - 1}")
    labels = [named[str(index)] for index in range(count)]
    return {"labels.json": json.dumps(labels, ensure_ascii=False).encode()}


def read_labels(spec: ProcessorSpec, assets: AssetStore) -> list[str]:
    """Return the labels that `labels_of` wrote."""
    labels: list[str] = json.loads(assets.path(spec.assets[0].sha256).read_bytes())
    return labels


def _class_of(config: ModelConfig, default: str) -> str:
    """Return the class of transformers a file is for, by today's name."""
    key = "image_processor_type"
    if key not in config.values and "feature_extractor_type" in config.values:
        key = "feature_extractor_type"
    name = str(config.values.get(key, default))
    name = re.sub(r"(Fast|Pil)$", "", name).replace("FeatureExtractor", "ImageProcessor")
    if name not in _DEFAULTS:
        raise config.fault(key, *_DEFAULTS)
    return name


def _size(config: ModelConfig, kind: str) -> dict[str, int]:
    """Return how large images become; older files have one number."""
    value = config.values["size"]
    if isinstance(value, int):
        square = {"height": value, "width": value}
        older = {
            "CLIPImageProcessor": {"shortest_edge": value},
            "DetrImageProcessor": {
                "shortest_edge": value,
                "longest_edge": config.values.get("max_size", 1333),
            },
        }
        value = older.get(kind, square)
    if not isinstance(value, dict):
        raise config.fault("size", "an object", "a whole number")
    known = {key: size for key, size in value.items() if size is not None}
    if known.keys() not in _SIZES or not all(type(n) is int and n > 0 for n in known.values()):
        raise config.fault("size", *(" and ".join(sorted(keys)) for keys in _SIZES))
    return known


def _crop(config: ModelConfig) -> list[int]:
    value = config.values.get("crop_size")
    value = {"height": value, "width": value} if isinstance(value, int) else value
    if not isinstance(value, dict):
        raise config.fault("crop_size", "height and width")
    sizes = [value.get("height"), value.get("width")]
    if not all(type(n) is int and n > 0 for n in sizes):
        raise config.fault("crop_size", "height and width")
    return sizes  # type: ignore[return-value]


def _filter(config: ModelConfig) -> int:
    value = config.values["resample"]
    if type(value) is not int or value not in _FILTERS:
        raise config.fault("resample", *map(str, _FILTERS))
    return value


def _channels(config: ModelConfig, key: str) -> list[float]:
    value = config.values[key]
    numbers = value if isinstance(value, list) else [value] * 3
    is_sound = all(
        isinstance(n, (int, float)) and not isinstance(n, bool) and math.isfinite(n)
        for n in numbers
    )
    if len(numbers) != 3 or not is_sound or (key == "image_std" and 0 in numbers):
        raise config.fault(key, "three numbers")
    return [float(n) for n in numbers]


def _check_fits(config: ModelConfig, settings: Mapping[str, Any], facts: Facts) -> None:
    (tensor,) = (one for one in facts.inputs if one.name == "pixel_values")
    channels, *taken = tensor.shape[1:]
    made: list[int] | None = settings["crop"]
    if made is None and settings["size"] and "height" in settings["size"]:
        made = [settings["size"]["height"], settings["size"]["width"]]
    if channels != 3:
        raise ModelError(f"the graph takes {channels} channels", where=str(config.path))
    if all(isinstance(size, int) for size in taken) and made != taken:
        raise ModelError(
            f"it makes images of {made or 'any size'}, the graph takes {list(taken)}",
            where=str(config.path),
            hint="config.json and preprocessor_config.json do not belong together.",
        )
