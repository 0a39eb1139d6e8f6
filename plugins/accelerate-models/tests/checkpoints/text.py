# SPDX-License-Identifier: Apache-2.0
"""Small random text models with unfriendly sizes, written as complete directories."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "a", "mat", ".")
_BERT = {
    "vocab_size": 53,
    "hidden_size": 21,
    "num_attention_heads": 3,
    "num_hidden_layers": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 41,
}
_ROBERTA = {**_BERT, "type_vocab_size": 1, "pad_token_id": 1}
_LLAMA = {
    "vocab_size": 53,
    "hidden_size": 36,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "intermediate_size": 43,
    "max_position_embeddings": 61,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
#: Configurations by model type.
SIZES: dict[str, dict[str, Any]] = {
    "bert": _BERT,
    "distilbert": {
        "vocab_size": 53,
        "dim": 21,
        "n_heads": 3,
        "n_layers": 3,
        "hidden_dim": 37,
        "max_position_embeddings": 41,
    },
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "llama": _LLAMA,
    # Heads that are not the hidden size divided by their number, and a short window.
    "mistral": {**_LLAMA, "head_dim": 10, "sliding_window": 4},
    # A head tied to the embedding, and a window in the last layer only.
    "qwen2": {
        **_LLAMA,
        "tie_word_embeddings": True,
        "use_sliding_window": True,
        "sliding_window": 3,
        "max_window_layers": 2,
    },
    "t5": {
        "vocab_size": 53,
        "d_model": 21,
        "d_kv": 5,
        "d_ff": 37,
        "num_layers": 3,
        "num_decoder_layers": 2,
        "num_heads": 3,
        "relative_attention_num_buckets": 10,
        "relative_attention_max_distance": 23,
        "pad_token_id": 0,
        "eos_token_id": 3,
        "decoder_start_token_id": 0,
    },
    "bart": {
        "vocab_size": 53,
        "d_model": 21,
        "encoder_layers": 3,
        "encoder_attention_heads": 3,
        "encoder_ffn_dim": 37,
        "decoder_layers": 2,
        "decoder_attention_heads": 7,
        "decoder_ffn_dim": 31,
        "max_position_embeddings": 41,
        "scale_embedding": True,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "decoder_start_token_id": 3,
        "forced_eos_token_id": None,
    },
}
_HEADS = {
    "llama": "AutoModelForCausalLM",
    "mistral": "AutoModelForCausalLM",
    "qwen2": "AutoModelForCausalLM",
    "t5": "AutoModelForSeq2SeqLM",
    "bart": "AutoModelForSeq2SeqLM",
}


def write(
    directory: Path,
    model_type: str,
    *,
    dtype: str = "float32",
    head: str | None = None,
    **changes: Any,
) -> Any:
    """Write a random checkpoint with a tokenizer, and return its torch model.

    `head` names the class of transformers to use; `changes` are entries of the configuration.
    """
    import torch
    import transformers

    torch.manual_seed(7)
    config = transformers.AutoConfig.for_model(model_type, **{**SIZES[model_type], **changes})
    kind = getattr(transformers, head or _HEADS.get(model_type, "AutoModel"))
    make = getattr(kind, "_from_config", None) or kind.from_config
    model = make(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm.weight" in name.lower() else 0.0, 0.3)
        for name, values in model.named_buffers():
            if name == "final_logits_bias":
                values.normal_(0.0, 0.3)
    model = model.to(getattr(torch, dtype))
    model.save_pretrained(directory)
    write_tokenizer(directory)
    return model


def write_tokenizer(directory: Path) -> None:
    """Write a tokenizer of eleven words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.add_special_tokens(list(WORDS[:4]))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]"}))


#: By name: writes a complete directory and returns the torch model.
CHECKPOINTS: dict[str, Callable[[Path], Any]] = {
    name: functools.partial(write, model_type=name) for name in SIZES
}
