# SPDX-License-Identifier: Apache-2.0
"""Small random checkpoints of models for sound, with all files that a directory has."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

LETTERS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUM'")


def wav2vec2(directory: Path, **changes: Any) -> Any:
    """Write a speech recogniser: convolutions that normalise by group, norms after residuals."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    sizes = {
        "vocab_size": len(LETTERS),
        "hidden_size": 18,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 29,
        "conv_dim": [7, 9, 11],
        "conv_kernel": [10, 3, 2],
        "conv_stride": [5, 2, 2],
        "num_feat_extract_layers": 3,
        "num_conv_pos_embeddings": 6,
        "num_conv_pos_embedding_groups": 3,
        "pad_token_id": 0,
    }
    model = _random(Wav2Vec2ForCTC, Wav2Vec2Config(**{**sizes, **changes}))
    model.save_pretrained(directory)
    by_layer = model.config.feat_extract_norm == "layer"
    Wav2Vec2FeatureExtractor(return_attention_mask=by_layer).save_pretrained(directory)
    vocabulary = {letter: index for index, letter in enumerate(LETTERS)}
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    return model


def whisper(directory: Path, **changes: Any) -> Any:
    """Write a recogniser of two languages, for windows of one second."""
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    words = ("<pad>", "<start>", "<|en|>", "<|de|>", "<|transcribe|>", "<|translate|>", "<|none|>")
    words += tuple("Ġ,.!?" + "abcdefghijklmnopqrstuvwxyz")
    special = {
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "decoder_start_token_id": 1,
        "suppress_tokens": [7, 8],
        "begin_suppress_tokens": [0, 9],
    }
    sizes = {
        "vocab_size": len(words),
        "num_mel_bins": 11,
        "d_model": 42,
        "encoder_layers": 2,
        "encoder_attention_heads": 3,
        "encoder_ffn_dim": 25,
        "decoder_layers": 3,
        "decoder_attention_heads": 7,
        "decoder_ffn_dim": 31,
        "max_source_positions": 50,
        "max_target_positions": 34,
    }
    model = _random(
        WhisperForConditionalGeneration, WhisperConfig(**{**sizes, **special, **changes})
    )
    spoken = {
        **special,
        "lang_to_id": {"<|en|>": 2, "<|de|>": 3},
        "task_to_id": {"transcribe": 4, "translate": 5},
        "no_timestamps_token_id": 6,
        "is_multilingual": True,
        "max_length": 34,
        # Or transformers does not read back what is special to Whisper.
        "_from_model_config": False,
    }
    for key, value in spoken.items():
        setattr(model.generation_config, key, value)
    model.save_pretrained(directory)
    WhisperFeatureExtractor(feature_size=11, chunk_length=1).save_pretrained(directory)
    _write_tokenizer(directory, words, special=7)
    return model


def clap(directory: Path, **changes: Any) -> Any:
    """Write a model that embeds sounds of a second and texts; maps of 12 x 12 and 6 x 6."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    audio = {
        "num_mel_bins": 12,
        "spec_size": 36,
        "patch_size": 5,
        "patch_stride": [3, 3],
        "patch_embeds_hidden_size": 10,
        "hidden_size": 20,
        "depths": [2, 2],
        "num_attention_heads": [2, 5],
        "window_size": 6,
        "mlp_ratio": 1.5,
    }
    text = {
        "vocab_size": 53,
        "hidden_size": 12,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 13,
    }
    config = ClapConfig(audio_config={**audio, **changes}, text_config=text, projection_dim=15)
    model = _random(ClapModel, config)
    norm = model.audio_model.audio_encoder.batch_norm
    norm.running_mean.normal_(-30.0, 5.0)
    norm.running_var.uniform_(50.0, 200.0)
    model.save_pretrained(directory)
    ClapFeatureExtractor(
        feature_size=12,
        sampling_rate=8_000,
        hop_length=80,
        max_length_s=1,
        fft_window_size=256,
        frequency_min=50,
        frequency_max=3_900,
        truncation="rand_trunc",
    ).save_pretrained(directory)
    return model


def _write_tokenizer(directory: Path, words: tuple[str, ...], special: int) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(words[:special]))
    tokenizer.save(str(directory / "tokenizer.json"))


def _random(kind: Any, config: Any) -> Any:
    import torch

    torch.manual_seed(7)
    config._attn_implementation = "eager"
    model = kind(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Positive where it multiplies: norms, and the lengths of weight norm.
            is_scale = "norm.weight" in name or "original0" in name
            parameter.normal_(1.0 if is_scale else 0.0, 0.3)
    return model


#: Model type (and what is special) -> writes a directory and returns the torch model.
CHECKPOINTS: dict[str, Callable[[Path], Any]] = {
    "wav2vec2": wav2vec2,
    "wav2vec2-layer": partial(
        wav2vec2,
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=5,
    ),
    "whisper": whisper,
    "clap": clap,
}
