# SPDX-License-Identifier: Apache-2.0
"""Text to tensors and back, against transformers' tokenizers and models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate_models.processors.next_token import next_tokens

from accelerate_core.errors import ModelError
from accelerate_core.inputs import check_inputs

TEXTS = ["the cat sat on a mat .", "the", "a cat sat"]
CHAT = [{"role": "user", "content": "the cat sat"}]


@pytest.fixture
def llama(tmp_path: Path, make_checkpoint: Any) -> Path:
    directory = tmp_path / "llama"
    make_checkpoint(directory, "llama", num_hidden_layers=1)
    return directory


def change(path: Path, **entries: Any) -> None:
    values = {**(json.loads(path.read_text()) if path.exists() else {}), **entries}
    path.write_text(json.dumps({key: v for key, v in values.items() if v is not None}))


def torch_outputs(model: Any, **inputs: np.ndarray) -> Any:
    import torch

    with torch.no_grad():
        return model(**{name: torch.from_numpy(value) for name, value in inputs.items()})


def theirs(directory: Path, **options: Any) -> Any:
    import transformers

    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(directory / "tokenizer.json"), pad_token="[PAD]", **options
    )


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("length", [None, 4, 12])
def test_encoding_equals_transformers(
    llama: Path, processor_of: Any, side: str, length: int | None
) -> None:
    change(llama / "tokenizer_config.json", truncation_side=side, padding_side="right")
    wanted = theirs(llama, padding_side="left", truncation_side=side)(
        TEXTS,
        padding="max_length" if length else True,
        truncation=length is not None,
        max_length=length,
        return_tensors="np",
    )
    actual = processor_of(llama).encode(TEXTS, sequence_length=length)
    assert list(actual) == ["input_ids", "attention_mask"]
    for name, value in actual.items():
        assert value.dtype == np.int64
        np.testing.assert_array_equal(value, wanted[name])


def test_texts_are_cut_to_what_the_model_and_the_tokenizer_take(
    llama: Path, processor_of: Any
) -> None:
    assert processor_of(llama).encode("cat " * 99)["input_ids"].shape == (1, 61)
    change(llama / "tokenizer_config.json", model_max_length=9)
    assert processor_of(llama).encode("cat " * 99)["input_ids"].shape == (1, 9)
    change(llama / "tokenizer_config.json", model_max_length=int(1e30))
    assert processor_of(llama).encode("cat " * 99)["input_ids"].shape == (1, 61)


@pytest.mark.parametrize("part", ["prefill", "decode"])
def test_the_next_token_is_that_of_each_text_alone(
    part: str, tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any, processor_of: Any
) -> None:
    """Texts of different lengths in one batch, through the graph, against torch one by one."""
    model = make_checkpoint(tmp_path / "m", "llama")
    spec = resolve(f"dir:{tmp_path / 'm'}#{part}")
    processor = processor_of(tmp_path / "m", part)
    encoded = processor.encode(TEXTS)
    check_inputs(spec, encoded)
    answers = processor.decode(run(spec, encoded), encoded)
    tokenizer = theirs(tmp_path / "m")
    for text, answer in zip(TEXTS, answers, strict=True):
        ids = tokenizer(text, return_tensors="np")["input_ids"]
        logits = torch_outputs(model, input_ids=ids).logits[0, -1].double()
        assert answer.id == int(logits.argmax())
        assert answer.log_probability == pytest.approx(
            float(logits.log_softmax(-1).max()), abs=1e-4
        )


@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_the_first_token_of_an_answer_is_that_of_each_text_alone(
    model_type: str,
    tmp_path: Path,
    make_checkpoint: Any,
    resolve: Any,
    run: Any,
    processor_of: Any,
) -> None:
    model = make_checkpoint(tmp_path / "m", model_type)
    spec = resolve(f"dir:{tmp_path / 'm'}")
    processor = processor_of(tmp_path / "m")
    encoded = processor.encode(TEXTS)
    check_inputs(spec, encoded)
    assert encoded["attention_mask"][1].tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0]
    answers = processor.decode(run(spec, encoded), encoded)
    start = model.config.decoder_start_token_id
    tokenizer = theirs(tmp_path / "m")
    for text, answer in zip(TEXTS, answers, strict=True):
        inputs = {
            "input_ids": tokenizer(text, return_tensors="np")["input_ids"],
            "decoder_input_ids": np.array([[start]]),
        }
        logits = torch_outputs(model, **inputs).logits[0, -1].double()
        assert answer.id == int(logits.argmax())
        assert answer.log_probability == pytest.approx(
            float(logits.log_softmax(-1).max()), abs=1e-4
        )


def test_what_was_asked_decides_where_an_answer_begins(
    tmp_path: Path, make_checkpoint: Any, processor_of: Any, resolve: Any, left_over: Any
) -> None:
    directory = tmp_path / "m"
    make_checkpoint(directory, "t5")
    files = [directory / "generation_config.json", directory / "config.json"]
    for path in files:
        change(path, decoder_start_token_id=None, bos_token_id=None)
    with pytest.raises(ModelError, match="which token an answer begins with"):
        resolve(f"dir:{directory}")
    assert left_over() == []
    change(files[1], bos_token_id=2)
    assert processor_of(directory).encode("the")["decoder_input_ids"].tolist() == [[2]]
    change(files[1], decoder_start_token_id=5)
    assert processor_of(directory).encode("the")["decoder_input_ids"].tolist() == [[5]]
    change(files[0], decoder_start_token_id=6)
    assert processor_of(directory).encode("the")["decoder_input_ids"].tolist() == [[6]]


def test_a_callers_own_padding_is_looked_through(llama: Path, processor_of: Any) -> None:
    logits = np.zeros((2, 4, 11), np.float32)
    logits[0, 1, 7] = logits[1, 3, 5] = 3.0
    encoded = {
        "input_ids": np.array([[4, 5, 0, 0], [0, 0, 4, 5]]),
        "attention_mask": np.array([[1, 1, 0, 0], [0, 0, 1, 1]]),
    }
    answers = processor_of(llama).decode({"logits": logits}, encoded)
    assert [answer.id for answer in answers] == [7, 5]
    # After a past the mask is longer than the ids.
    later = {"input_ids": np.array([[5], [5]]), "attention_mask": np.ones((2, 9), np.int64)}
    answers = processor_of(llama).decode({"logits": logits[:, 1:2]}, later)
    assert answers[0].id == 7 and answers[0].log_probability == pytest.approx(
        3 - np.log(np.exp(3) + 10)
    )


def test_a_token_has_the_text_that_it_adds() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    logits = np.eye(400, dtype=np.float32) * 1e4
    for pre, decoder in (
        (pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()),
        (pre_tokenizers.Metaspace(), decoders.Metaspace()),
    ):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre, decoder
        trainer = trainers.BpeTrainer(
            vocab_size=390, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
        tokenizer.train_from_iterator(["the cat sat on the cat"] * 9, trainer)
        ids = tokenizer.encode("the cat sat").ids
        answers = next_tokens(tokenizer, logits[ids[1:]], np.array(ids[:-1]))
        assert [answer.text for answer in answers] == [" cat", " sat"]
        assert [answer.id for answer in answers] == ids[1:]
        assert all(answer.log_probability == 0 for answer in answers)
        # A model's vocabulary is often rounded up: such an id has no text.
        assert next_tokens(tokenizer, logits[399:], np.array(ids[:1]))[0].text == ""


def test_a_model_without_a_head_gives_the_last_tokens_vector(
    tmp_path: Path, make_checkpoint: Any, resolve: Any, run: Any, processor_of: Any
) -> None:
    model = make_checkpoint(tmp_path / "m", "qwen2", head="AutoModel", tie_word_embeddings=False)
    processor, spec = processor_of(tmp_path / "m"), resolve(f"dir:{tmp_path / 'm'}")
    encoded = processor.encode(TEXTS)
    vectors = processor.decode(run(spec, encoded), encoded)
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = theirs(tmp_path / "m")(text, return_tensors="np")["input_ids"]
        wanted = torch_outputs(model, input_ids=ids).last_hidden_state[0, -1]
        np.testing.assert_allclose(vector, wanted, atol=1e-4, rtol=1e-4)


def test_padding_needs_no_padding_token(llama: Path, processor_of: Any) -> None:
    def padded() -> int:
        return int(processor_of(llama).encode(["the cat", "the"])["input_ids"][1, 0])

    assert padded() == 0
    change(llama / "config.json", pad_token_id=None)
    (llama / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": {"content": "[SEP]", "special": True}})
    )
    assert padded() == 3
    (llama / "tokenizer_config.json").write_text("{}")
    assert padded() == 0
    (llama / "special_tokens_map.json").write_text('{"pad_token": "[UNK]"}')
    assert padded() == 1


@pytest.mark.parametrize("model_type", ["llama", "bart"])
def test_samples_have_exactly_the_asked_length(
    model_type: str, tmp_path: Path, make_checkpoint: Any, processor_of: Any
) -> None:
    make_checkpoint(tmp_path / "m", model_type, decoder_layers=1)
    processor = processor_of(tmp_path / "m")
    texts = processor.sample(3, 20)
    assert processor.encode(texts)["attention_mask"].sum(axis=1).tolist() == [20, 20, 20]
    assert texts == processor.sample(3, 20) and len(set(texts)) == 3
    assert len(processor.sample(10, None)) == 10
    with pytest.raises(ModelError) as caught:
        processor.sample(1, 62)
    assert "tokens" in caught.value.info.accepted[0]


@pytest.mark.parametrize(
    "raw",
    [3, [], None, {"role": "user", "content": "the"}, ["the", 4], [["the"]], [[], []]],
)
def test_other_raw_inputs_are_refused(llama: Path, processor_of: Any, raw: Any) -> None:
    (llama / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(ModelError) as caught:
        processor_of(llama).encode(raw)
    assert caught.value.info.accepted


def test_what_cannot_be_answered_is_refused(
    llama: Path, tmp_path: Path, make_checkpoint: Any, processor_of: Any
) -> None:
    processor = processor_of(llama)
    with pytest.raises(ModelError, match="no chat template") as caught:
        processor.encode(CHAT)
    assert caught.value.info.accepted == ("str", "list of str")
    with pytest.raises(ModelError, match="lenght"):
        processor.encode("the", lenght=4)
    with pytest.raises(ModelError, match="logits"):
        processor.decode({}, processor.encode("the"))
    with pytest.raises(ModelError) as caught:
        processor.encode("the", sequence_length=2)
    assert caught.value.info.accepted == ("3 to 61 tokens",)
    (llama / "chat_template.jinja").write_text("")
    with pytest.raises(ModelError, match="no tokens"):
        processor_of(llama).encode([CHAT])
    make_checkpoint(tmp_path / "t5", "t5", num_layers=1)
    processor = processor_of(tmp_path / "t5")
    with pytest.raises(ModelError, match="lenght"):
        processor.encode("the", lenght=4)
    with pytest.raises(ModelError, match="logits"):
        processor.decode({}, processor.encode("the"))
    with pytest.raises(ModelError, match="text to text cannot take int"):
        processor.encode(["the", 3])


@pytest.mark.parametrize("key", ["truncation_side", "padding_side"])
def test_a_side_that_is_none_is_refused(
    tmp_path: Path, make_checkpoint: Any, resolve: Any, left_over: Any, key: str
) -> None:
    make_checkpoint(tmp_path / "m", "bart", encoder_layers=1, decoder_layers=1)
    change(tmp_path / "m" / "tokenizer_config.json", **{key: "middle"})
    with pytest.raises(ModelError, match=key) as caught:
        resolve(f"dir:{tmp_path / 'm'}")
    assert caught.value.info.accepted == ("right", "left") and left_over() == []
