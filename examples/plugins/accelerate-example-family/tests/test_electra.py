# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models

from accelerate_core import Accelerator


@pytest.mark.parametrize("width", [12, 20])
def test_it_equals_transformers(tmp_path, width):
    torch.manual_seed(0)
    config = transformers.ElectraConfig(
        vocab_size=40,
        embedding_size=width,
        hidden_size=20,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=28,
        max_position_embeddings=16,
    )
    model = transformers.ElectraModel(config).eval()
    model.save_pretrained(tmp_path)
    words = {"[PAD]": 0, "[UNK]": 1, **{f"w{i}": i for i in range(2, 40)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    ids = np.array([[5, 9, 7, 0], [11, 3, 30, 2]])
    inputs = {"input_ids": ids, "attention_mask": (ids > 0) + 0, "token_type_ids": ids * 0}
    with Accelerator() as accelerator:
        runs = accelerator.accelerate_model(model_name=f"dir:{tmp_path}", platform="cpu")
        ours = runs(inputs)["last_hidden_state"]
    with torch.no_grad():
        theirs = model(**{name: torch.from_numpy(x) for name, x in inputs.items()})
    np.testing.assert_allclose(ours, theirs.last_hidden_state, atol=1e-4, rtol=1e-4)
