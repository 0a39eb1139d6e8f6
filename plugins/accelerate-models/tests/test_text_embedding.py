# SPDX-License-Identifier: Apache-2.0
"""Text to tensors and back, as the directory's own files say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate_models.processors.tokenizing import Tokenizing

from accelerate_core.errors import ModelError


def write_modules(directory: Path, pooling: dict[str, Any], *, kinds: str = "Pooling") -> None:
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    for kind in kinds.split():
        modules.append({"path": f"1_{kind}", "type": f"sentence_transformers.models.{kind}"})
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir(exist_ok=True)
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def test_texts_are_padded_to_the_longest(checkpoint: Path, processor_of: Any) -> None:
    encoded = processor_of(checkpoint).encode(["the cat", "the cat sat on a mat ."])
    assert encoded["input_ids"].tolist() == [
        [2, 4, 5, 3, 0, 0, 0, 0, 0],
        [2, 4, 5, 6, 7, 8, 9, 10, 3],
    ]
    assert encoded["attention_mask"].sum(axis=1).tolist() == [4, 9]
    assert {value.dtype.name for value in encoded.values()} == {"int64"}


def test_a_fixed_length_pads_and_cuts(checkpoint: Path, processor_of: Any) -> None:
    encoded = processor_of(checkpoint).encode(["the", "the cat sat on a mat"], sequence_length=5)
    assert encoded["input_ids"].tolist() == [[2, 4, 3, 0, 0], [2, 4, 5, 6, 3]]


def test_one_text_is_a_batch_of_one(checkpoint: Path, processor_of: Any) -> None:
    assert processor_of(checkpoint).encode("the cat")["input_ids"].shape == (1, 4)


def test_long_texts_are_cut_to_what_the_model_takes(checkpoint: Path, processor_of: Any) -> None:
    assert processor_of(checkpoint).encode("cat " * 99)["input_ids"].shape == (1, 41)
    (checkpoint / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    assert processor_of(checkpoint).encode("cat " * 99)["input_ids"].shape == (1, 9)


def test_lower_case_is_asked_by_the_directory(checkpoint: Path, processor_of: Any) -> None:
    assert processor_of(checkpoint).encode("CAT")["input_ids"].tolist() == [[2, 1, 3]]
    (checkpoint / "sentence_bert_config.json").write_text(
        '{"max_seq_length": 9, "do_lower_case": true}'
    )
    assert processor_of(checkpoint).encode("CAT")["input_ids"].tolist() == [[2, 5, 3]]


TOKENS = np.array([[[1.0, -9.0], [3.0, 5.0], [100.0, 100.0]]], np.float32)
MASK = {"attention_mask": np.array([[1, 1, 0]])}


@pytest.mark.parametrize(
    ("pooling", "wanted"),
    [
        ({"pooling_mode_mean_tokens": True}, [2.0, -2.0]),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, [1.0, -9.0]),
        ({"pooling_mode": "max"}, [3.0, 5.0]),
    ],
)
def test_pooling_follows_the_directory(
    checkpoint: Path, processor_of: Any, pooling: Any, wanted: list[float]
) -> None:
    write_modules(checkpoint, pooling)
    vectors = processor_of(checkpoint).decode({"last_hidden_state": TOKENS}, MASK)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [wanted])


def test_normalisation_follows_the_directory(checkpoint: Path, processor_of: Any) -> None:
    write_modules(checkpoint, {"pooling_mode": "mean"}, kinds="Pooling Normalize")
    vectors = processor_of(checkpoint).decode({"last_hidden_state": TOKENS}, MASK)
    np.testing.assert_allclose(vectors, [[0.5**0.5, -(0.5**0.5)]], rtol=1e-6)


def test_without_a_pipeline_pooling_is_mean_and_the_spec_says_so(
    checkpoint: Path, resolve: Any, processor_of: Any
) -> None:
    metadata = resolve(f"dir:{checkpoint}").metadata
    assert metadata["pooling"] == "mean" and metadata["normalize"] is False
    assert "default" in metadata["pooling_source"]
    vectors = processor_of(checkpoint).decode({"last_hidden_state": TOKENS}, MASK)
    np.testing.assert_allclose(vectors, [[2.0, -2.0]])


@pytest.mark.parametrize(
    ("pooling", "kinds", "word"),
    [
        ({"pooling_mode": "lasttoken"}, "Pooling", "lasttoken"),
        ({"pooling_mode": ["mean", "max"]}, "Pooling", "max"),
        ({"pooling_mode_weightedmean_tokens": True}, "Pooling", "weightedmean"),
        ({"pooling_mode": "mean"}, "Pooling Dense", "Dense"),
    ],
)
def test_a_pipeline_that_would_give_wrong_embeddings_is_refused(
    checkpoint: Path, resolve: Any, left_over: Any, pooling: Any, kinds: str, word: str
) -> None:
    write_modules(checkpoint, pooling, kinds=kinds)
    with pytest.raises(ModelError, match=word) as caught:
        resolve(f"dir:{checkpoint}")
    assert caught.value.info.accepted
    assert left_over() == []


@pytest.mark.parametrize("raw", [3, [], ["the", 4], None, {"text": "the"}])
def test_other_raw_inputs_are_refused(checkpoint: Path, processor_of: Any, raw: Any) -> None:
    with pytest.raises(ModelError) as caught:
        processor_of(checkpoint).encode(raw)
    assert "list of str" in caught.value.info.accepted


def test_unknown_options_and_outputs_are_refused(checkpoint: Path, processor_of: Any) -> None:
    processor = processor_of(checkpoint)
    with pytest.raises(ModelError, match="lenght"):
        processor.encode("the", lenght=4)
    with pytest.raises(ModelError, match="last_hidden_state"):
        processor.decode({"logits": TOKENS}, MASK)


@pytest.mark.parametrize("length", [0, 2, 42])
def test_a_length_the_model_cannot_take_is_refused(
    checkpoint: Path, processor_of: Any, length: int
) -> None:
    processor = processor_of(checkpoint)
    for call in (
        lambda: processor.encode("the", sequence_length=length),
        lambda: processor.sample(1, length),
    ):
        with pytest.raises(ModelError) as caught:
            call()
        assert caught.value.info.accepted == ("3 to 41 tokens",)


def test_samples_without_a_length_have_a_usual_one(checkpoint: Path, processor_of: Any) -> None:
    processor = processor_of(checkpoint)
    texts = processor.sample(10, None)
    assert processor.encode(texts)["attention_mask"].sum(axis=1).tolist() == [32] * 10
    (checkpoint / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    processor = processor_of(checkpoint)
    texts = processor.sample(2, None)
    assert processor.encode(texts)["attention_mask"].sum(axis=1).tolist() == [9, 9]


def test_sentences_are_samples_where_a_tokenizer_makes_no_exact_length(
    checkpoint: Path, processor_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = processor_of(checkpoint)
    monkeypatch.setattr(Tokenizing, "_count", lambda self, text: 2 * len(text.split()) + 1)
    assert all(text.endswith(".") for text in processor.sample(10, None))
    with pytest.raises(ModelError, match="exactly 8 tokens"):
        processor.sample(1, 8)


def test_threads_share_a_processor(checkpoint: Path, processor_of: Any) -> None:
    import sys
    from concurrent.futures import ThreadPoolExecutor

    processor = processor_of(checkpoint)
    lengths = [4, 9, None] * 500

    def width(length: int | None) -> int:
        encoded = processor.encode("the cat sat on a mat .", sequence_length=length)
        return int(encoded["input_ids"].shape[1])

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(width, lengths)) == [4, 9, 9] * 500
    finally:
        sys.setswitchinterval(interval)
