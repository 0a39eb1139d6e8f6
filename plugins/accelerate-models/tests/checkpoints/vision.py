# SPDX-License-Identifier: Apache-2.0
"""Small random models for images, and for images with text, as complete directories."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: The end of a text has the largest id, as in CLIP.
WORDS = ("[PAD]", "[UNK]", "[START]", "a", "photo", "of", "the", "cat", "dog", "mat", ".", "[END]")
LABELS = ("cat", "dog", "mat", "bird", "fish")
_TOWER = {
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 31,
}


def vit(directory: Path, *, has_head: bool = True, **changes: Any) -> Any:
    """Write a ViT for images that are no squares and that patches do not fill."""
    import transformers

    sizes = {
        **_TOWER,
        "hidden_size": 21,
        "image_size": [22, 18],
        "patch_size": [5, 4],
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: index for index, label in enumerate(LABELS)},
    }
    kind = transformers.ViTForImageClassification if has_head else transformers.ViTModel
    model = _random(kind, transformers.ViTConfig(**{**sizes, **changes}))
    model.save_pretrained(directory)
    size = {"height": 22, "width": 18}
    transformers.ViTImageProcessorPil(size=size).save_pretrained(directory)
    return model


def clip(directory: Path, *, eos_token_id: int = len(WORDS) - 1) -> Any:
    """Write a CLIP whose towers differ in all sizes."""
    import transformers

    config = transformers.CLIPConfig(
        text_config={
            **_TOWER,
            "hidden_size": 21,
            "vocab_size": len(WORDS),
            "max_position_embeddings": 19,
            "eos_token_id": eos_token_id,
            "bos_token_id": 2,
            "pad_token_id": 0,
        },
        vision_config={
            **_TOWER,
            "num_hidden_layers": 3,
            "hidden_size": 15,
            "image_size": 14,
            "patch_size": 4,
        },
        projection_dim=11,
    )
    model = _random(transformers.CLIPModel, config)
    model.save_pretrained(directory)
    transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 14, "width": 14}
    ).save_pretrained(directory)
    _write_tokenizer(directory)
    return model


def blip(directory: Path) -> Any:
    """Write a BLIP for retrieval; its text encoder asks an image encoder of another size."""
    import transformers

    config = transformers.BlipConfig(
        text_config={
            **_TOWER,
            "hidden_size": 21,
            "encoder_hidden_size": 15,
            "vocab_size": len(WORDS),
            "max_position_embeddings": 19,
            "bos_token_id": 2,
            "sep_token_id": 11,
            "eos_token_id": 11,
            "pad_token_id": 0,
        },
        vision_config={**_TOWER, "hidden_size": 15, "image_size": 14, "patch_size": 4},
        image_text_hidden_size=11,
    )
    model = _random(transformers.BlipForImageTextRetrieval, config)
    model.save_pretrained(directory)
    size = {"height": 14, "width": 14}
    transformers.BlipImageProcessorPil(size=size).save_pretrained(directory)
    _write_tokenizer(directory)
    return model


def detr(directory: Path, **backbone: Any) -> Any:
    """Write a DETR on a ResNet of two stages."""
    import transformers

    sizes = {
        "embedding_size": 5,
        "hidden_sizes": [8, 12],
        "depths": [2, 1],
        "layer_type": "bottleneck",
        "out_features": ["stage2"],
    }
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        backbone=None,
        backbone_config=transformers.ResNetConfig(**{**sizes, **backbone}),
        d_model=20,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=5,
        decoder_attention_heads=2,
        encoder_ffn_dim=17,
        decoder_ffn_dim=19,
        num_queries=7,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    model = _random(transformers.DetrForObjectDetection, config)
    model.save_pretrained(directory)
    size = {"shortest_edge": 32, "longest_edge": 50}
    transformers.DetrImageProcessorPil(size=size).save_pretrained(directory)
    return model


def _random(kind: Any, config: Any) -> Any:
    import torch

    torch.manual_seed(7)
    config._attn_implementation = "eager"
    model = kind(config).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not value.is_floating_point():
                continue
            is_scale = "norm" in name and name.endswith("weight")
            value.normal_(1.0 if is_scale else 0.0, 0.3)
            if name.endswith("running_var"):
                value.abs_().add_(0.5)
    return model


def _write_tokenizer(directory: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    ids = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = (("[END]", ids["[END]"]), ("[START]", ids["[START]"]))
    tokenizer.post_processor = processors.BertProcessing(*ends)
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]"}))


#: Model type (and what is special) -> writes a directory and returns the torch model.
CHECKPOINTS: dict[str, Callable[[Path], Any]] = {
    "vit": vit,
    "vit-headless": functools.partial(vit, has_head=False, qkv_bias=False),
    "clip": clip,
    "clip-legacy": functools.partial(clip, eos_token_id=2),
    "detr": detr,
    "detr-basic": functools.partial(
        detr,
        layer_type="basic",
        hidden_sizes=[5, 6, 9],
        depths=[1, 2, 1],
        downsample_in_first_stage=True,
        hidden_act="gelu",
    ),
    "detr-early": functools.partial(detr, downsample_in_bottleneck=True),
    "blip": blip,
}
