# SPDX-License-Identifier: Apache-2.0
"""Directories and packages that cannot be used: a typed error that helps, and nothing written."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from accelerate_core.errors import ModelError
from accelerate_core.types import PRECISIONS


@pytest.fixture
def refusal(checkpoint: Path, resolve: Any, left_over: Any) -> Callable[..., ModelError]:
    """Resolve the checkpoint, which must fail and leave nothing; return the error."""

    def call(precision: str = "fp32") -> ModelError:
        with pytest.raises(ModelError) as caught:
            resolve(f"dir:{checkpoint}", precision=precision)
        assert left_over() == []
        return caught.value

    return call


def change_config(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: v for key, v in values.items() if v is not None}))


def change_weights(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    weights = load_file(directory / "model.safetensors")
    change(weights)
    save_file(weights, directory / "model.safetensors")


def write_safetensors(
    directory: Path, header: bytes, body: bytes, length: int | None = None
) -> None:
    size = struct.pack("<Q", len(header) if length is None else length)
    (directory / "model.safetensors").write_bytes(size + header + body)


@pytest.mark.parametrize(
    ("reference", "word", "help_"),
    [
        ("dir:nowhere", "no such directory", "dir:PATH"),
        ("dir:", "names no path", "dir:PATH"),
        ("file:", "names no path", "file:PATH/model.onnx"),
        ("file:a\0b", "names no path", "file:PATH/model.onnx"),
        ("file:nowhere.onnx", "no such file", "file:PATH/model.onnx"),
        ("package:no_such_package/model", "no package", "pip install no-such-package"),
        ("package:json/no_such_folder", "no_such_folder", ""),
        ("package:json/../os.py", "does not name", "package:PACKAGE/FOLDER"),
        ("package:json//etc", "does not name", "package:PACKAGE/FOLDER"),
        ("package:../json", "does not name", "package:PACKAGE/FOLDER"),
        ("package:os.path/x", "does not name", "package:PACKAGE/FOLDER"),
    ],
)
def test_a_reference_to_nothing(
    resolve: Any, left_over: Any, reference: str, word: str, help_: str
) -> None:
    with pytest.raises(ModelError, match=word) as caught:
        resolve(reference)
    assert help_ in str(caught.value)
    assert left_over() == []


def test_the_wrong_scheme_names_the_right_one(checkpoint: Path, resolve: Any) -> None:
    with pytest.raises(ModelError, match=f"Use dir:{checkpoint}"):
        resolve(f"file:{checkpoint}")
    config = checkpoint / "config.json"
    with pytest.raises(ModelError, match=f"Use file:{config}"):
        resolve(f"dir:{config}")


def test_a_precision_nobody_knows(refusal: Any) -> None:
    assert refusal("fp33").info.accepted == PRECISIONS


def test_no_config(checkpoint: Path, refusal: Any) -> None:
    (checkpoint / "config.json").unlink()
    error = refusal()
    assert "config.json is missing" in str(error) and "file:PATH" in str(error)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"bert"', "[" * 100_000])
def test_a_broken_config(checkpoint: Path, refusal: Any, text: str) -> None:
    (checkpoint / "config.json").write_text(text)
    assert "JSON" in str(refusal())


def test_a_huge_config(checkpoint: Path, refusal: Any) -> None:
    with (checkpoint / "config.json").open("r+b") as file:
        file.truncate(5 << 20)
    assert "larger than the 4 MiB" in str(refusal())


@pytest.mark.parametrize("model_type", ["mamba", None, 7, ["bert"]])
def test_an_unknown_architecture(checkpoint: Path, refusal: Any, model_type: Any) -> None:
    change_config(checkpoint, model_type=model_type)
    error = refusal()
    assert {"bert", "distilbert", "roberta", "xlm-roberta"} <= set(error.info.accepted)
    assert list(error.info.accepted) == sorted(error.info.accepted)
    assert "file:PATH/model.onnx" in str(error.info.hint)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", 22),  # no multiple of the heads
        ("hidden_size", None),
        ("hidden_size", "21"),
        ("hidden_size", -21),
        ("hidden_size", 1 << 40),
        ("hidden_size", 21.0),
        ("num_attention_heads", 0),
        ("num_attention_heads", True),
        ("num_hidden_layers", 0),
        ("hidden_act", "swiglu"),
        ("hidden_act", 3),
        ("layer_norm_eps", "small"),
        ("layer_norm_eps", 0),
        ("position_embedding_type", "relative_key"),
        ("is_decoder", True),
    ],
)
def test_a_config_with_an_impossible_value(
    checkpoint: Path, refusal: Any, key: str, value: Any
) -> None:
    change_config(checkpoint, **{key: value})
    error = refusal()
    assert error.info.accepted
    assert str(error.info.where).endswith("config.json")


@pytest.mark.parametrize(
    ("key", "value", "tensor"),
    [
        ("vocab_size", 54, "word_embeddings"),
        ("intermediate_size", 38, "intermediate"),
        ("num_hidden_layers", 4, "encoder.layer.3"),
        ("hidden_size", 24, "word_embeddings"),
    ],
)
def test_a_config_that_contradicts_the_weights(
    checkpoint: Path, refusal: Any, key: str, value: int, tensor: str
) -> None:
    change_config(checkpoint, **{key: value})
    error = refusal()
    assert tensor in error.info.message
    assert "do not belong together" in str(error.info.hint)


def test_a_missing_tensor(checkpoint: Path, refusal: Any) -> None:
    name = "encoder.layer.1.output.dense.bias"
    change_weights(checkpoint, lambda weights: weights.pop(name))
    assert f"{name!r} is missing" in str(refusal())


def test_a_tensor_of_a_wrong_dtype(checkpoint: Path, refusal: Any) -> None:
    name = "encoder.layer.1.output.dense.bias"
    change_weights(checkpoint, lambda w: w.update({name: w[name].astype(np.int8)}))
    error = refusal()
    assert "I8" in error.info.message and error.info.accepted == ("F32", "F16", "BF16")


def test_values_float16_cannot_hold(checkpoint: Path, refusal: Any) -> None:
    name = "encoder.layer.1.output.dense.bias"
    change_weights(checkpoint, lambda weights: weights.update({name: weights[name] + 1e6}))
    error = refusal("fp16")
    assert name in error.info.message and error.info.accepted == ("fp32",)


def test_pickled_weights(checkpoint: Path, refusal: Any) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    error = refusal()
    assert "pytorch_model.bin" in error.info.message and "run code" in error.info.message
    assert "safe_serialization" in str(error.info.hint)


def test_no_weights(checkpoint: Path, refusal: Any) -> None:
    (checkpoint / "model.safetensors").unlink()
    error = refusal()
    assert "no weights" in error.info.message and "model.safetensors" in error.info.accepted


def header(**entry: Any) -> bytes:
    base = {"dtype": "F32", "shape": [53, 21], "data_offsets": [0, 4452]}
    return json.dumps({"embeddings.word_embeddings.weight": {**base, **entry}}).encode()


@pytest.mark.parametrize(
    ("head", "body", "length"),
    [
        (b"", b"", None),
        (b"{}", b"", 1 << 60),
        (b"not json", b"", None),
        (header(), b"\0" * 100, None),  # more promised than there is
        (header(data_offsets=[0, 100]), b"\0" * 100, None),  # fewer bytes than the shape needs
        (header(data_offsets=[4, 4456]), b"\0" * 4456, None),  # a hole
        (header(data_offsets=[4452, 0]), b"\0" * 4452, None),
        (header(shape=[1 << 62, 4]), b"\0" * 4452, None),
        (header(dtype="F99"), b"\0" * 4452, None),
    ],
)
def test_a_safetensors_header_that_lies(
    checkpoint: Path, refusal: Any, head: bytes, body: bytes, length: int | None
) -> None:
    write_safetensors(checkpoint, head, body, length)
    error = refusal()
    assert "not a sound safetensors file" in error.info.message
    assert "truncated" in str(error.info.hint)


def test_truncated_weights(checkpoint: Path, refusal: Any) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    assert "not a sound safetensors file" in str(refusal())


@pytest.mark.parametrize("name", ["../stolen.safetensors", "/etc/passwd", "a\\b", "c:x", ""])
def test_a_shard_outside_the_directory(checkpoint: Path, refusal: Any, name: str) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint.parent / "stolen.safetensors")
    index = {"weight_map": {"embeddings.word_embeddings.weight": name}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "outside its own folder" in str(refusal())


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {"a": 1}}])
def test_a_shard_index_without_a_map(checkpoint: Path, refusal: Any, index: Any) -> None:
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "weight_map" in str(refusal())


def test_a_missing_shard(checkpoint: Path, refusal: Any) -> None:
    (checkpoint / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00001-of-00002.safetensors is missing" in str(refusal())


def test_no_tokenizer(checkpoint: Path, refusal: Any) -> None:
    (checkpoint / "tokenizer.json").unlink()
    error = refusal()
    assert "tokenizer.json is missing" in error.info.message
    assert "AutoTokenizer" in str(error.info.hint)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b'{"model": {"type": "BPE"}}',
        b'{"normalizer": ' * 100_000,
        b'{"normalizer": {"type": "Sequence", "normalizers": ['
        + b'{"type": "Sequence", "normalizers": [' * 10_000,
    ],
)
def test_a_broken_tokenizer(checkpoint: Path, refusal: Any, data: bytes) -> None:
    (checkpoint / "tokenizer.json").write_bytes(data)
    assert "not a tokenizer" in str(refusal())


def test_an_absurdly_large_tokenizer(
    checkpoint: Path, refusal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million added tokens and more: refused by their bytes, before anything is parsed."""
    from tokenizers import Tokenizer

    def parsed(_: str) -> None:
        raise AssertionError("it was parsed")

    monkeypatch.setattr(Tokenizer, "from_str", parsed)
    token = b'{"id": 1, "content": "a", "single_word": false, "lstrip": false, "rstrip": false},'
    with (checkpoint / "tokenizer.json").open("wb") as file:
        file.write(b'{"added_tokens": [')
        for _ in range(90):
            file.write(token * 10_000)
    assert "larger than the 64 MiB" in str(refusal())


def test_a_tokenizer_without_padding(checkpoint: Path, refusal: Any) -> None:
    (checkpoint / "tokenizer_config.json").write_text('{"pad_token": "<nothing>"}')
    assert "no padding token" in str(refusal())


def test_a_pooling_folder_outside_the_directory(checkpoint: Path, refusal: Any) -> None:
    modules = [{"path": "../1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    (checkpoint / "modules.json").write_text(json.dumps(modules))
    assert "outside its own folder" in str(refusal())


def test_a_maximum_length_that_leaves_no_room(checkpoint: Path, refusal: Any) -> None:
    (checkpoint / "sentence_bert_config.json").write_text('{"max_seq_length": 2}')
    assert "how long a text may be" in str(refusal())
