# SPDX-License-Identifier: Apache-2.0
"""`accel models quantize` from a checkpoint to a folder that runs, natively and on our kernels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from accelerate_core.blocking import Accelerator
from accelerate_core.cli import main
from accelerate_core.measuring.numbers import relative_l2

TEXTS = ["the cat sat on a mat .", "a mat sat .", "on the mat", "cat", "the mat sat on the cat ."]


CONFIG = {
    "model_type": "bert",
    "vocab_size": 11,
    "hidden_size": 24,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "intermediate_size": 36,
    "max_position_embeddings": 41,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "a", "mat", ".")
_MATRICES = {
    "attention.self.query": (24, 24),
    "attention.self.key": (24, 24),
    "attention.self.value": (24, 24),
    "attention.output.dense": (24, 24),
    "intermediate.dense": (36, 24),
    "output.dense": (24, 36),
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small random BERT, made without torch."""
    folder = tmp_path_factory.mktemp("checkpoint")
    rng = np.random.default_rng(7)
    sizes = {"word": 11, "position": 41, "token_type": 2}
    shapes = {f"embeddings.{name}_embeddings.weight": (n, 24) for name, n in sizes.items()}
    norms = ["embeddings.LayerNorm"]
    for layer in ("encoder.layer.0", "encoder.layer.1"):
        for name, shape in _MATRICES.items():
            shapes[f"{layer}.{name}.weight"] = shape
            shapes[f"{layer}.{name}.bias"] = shape[:1]
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    tensors = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    for name in norms:
        tensors |= {f"{name}.weight": np.ones(24, np.float32)}
        tensors |= {f"{name}.bias": np.zeros(24, np.float32)}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]"}))
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(f"{a} {b}" for a in TEXTS for b in TEXTS[:4]) + "\n\n")
    return path


@pytest.fixture
def quantize(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("ACCELERATE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("ACCELERATE_STATE_DIR", str(tmp_path / "state"))

    def run(*words: object, reference: str = f"dir:{checkpoint}") -> tuple[int, str, str]:
        base = ["models", "quantize", reference, "-o", str(tmp_path / "made")]
        code = main([*base, *map(str, words)])
        return code, *capsys.readouterr()

    return run


def outputs_of(reference: str, precision: str, platform: str, scratch: Path) -> dict[str, Any]:
    ids = np.array([[2, 4, 5, 3]])
    inputs = {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}
    with Accelerator(cache_dir=scratch / "cache", state_dir=scratch / "state") as accelerator:
        model = accelerator.accelerate_model(reference, platform=platform, precision=precision)
        return dict(model(inputs))


def test_a_calibrated_model_runs_natively_and_on_our_kernels(
    quantize: Any, texts: Path, tmp_path: Path
) -> None:
    code, shown, log = quantize("--calibrate", texts, "--budget", 5, "--json")
    assert code == 0, log
    facts = json.loads(shown)
    assert facts["method"] == "gptq" and 4 < facts["mean_bits"] <= 5
    assert {one["bits"] for one in facts["layers"]} == {4, 8}
    assert facts["errors_are_of"] == "outputs"
    assert facts["cosine"]["inputs"] == 4 and 0.5 < facts["cosine"]["least"] <= 1
    assert facts["size_bytes"] < facts["size_bytes_fp32"]
    assert "calibrating with 16 inputs" in log and "[12/12]" in log
    made = tmp_path / "made"
    assert {"config.json", "model.onnx", "model.onnx.data", "tokenizer.json"} <= {
        path.name for path in made.iterdir()
    }
    native, ours = (
        outputs_of(f"file:{made / 'model.onnx'}", "int4", platform, tmp_path)
        for platform in ("cpu", "wgpu")
    )
    assert relative_l2(ours, native) < 1e-5


def test_three_bits_run_on_our_kernels(quantize: Any, checkpoint: Path, tmp_path: Path) -> None:
    code, shown, log = quantize("--bits", 3, "--method", "rtn", "--json")
    assert code == 0, log
    facts = json.loads(shown)
    assert facts["mean_bits"] == 3 and facts["errors_are_of"] == "weights"
    assert facts["cosine"]["about"] == "the processor's samples"
    graph = onnx.load(tmp_path / "made" / "model.onnx", load_external_data=False).graph
    (bits,) = {a.i for n in graph.node for a in n.attribute if a.name == "bits"}
    assert bits == 3
    ours = outputs_of(f"file:{tmp_path / 'made' / 'model.onnx'}", "int3", "wgpu", tmp_path)
    full = outputs_of(f"dir:{checkpoint}", "fp32", "cpu", tmp_path)
    assert 0.01 < relative_l2(ours, full) < 0.6


def test_what_is_measured_is_what_is_written(quantize: Any, tmp_path: Path) -> None:
    code, shown, log = quantize("--bits", 8)
    assert code == 0, log
    assert "hqq, 8 bits a weight in groups of 32" in shown
    assert float(shown.partition("cosine mean ")[2].partition(",")[0]) > 0.999
    assert "relative error of weights, the largest:" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bits", 5], "5 is not possible"),
        (["--group", 48], "48 is not possible"),
        (["--method", "awq"], "awq is not possible"),
        (["--method", "gptq"], "this needs texts to calibrate with"),
        (["--budget", 4.5], "this needs texts to calibrate with"),
        (["--budget", 3.5], "a mean of 3.5 bits cannot be had from 4 bits on"),
        (["--calibrate", "nowhere.txt"], "the texts cannot be read"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    quantize: Any, tmp_path: Path, words: list[object], message: str
) -> None:
    code, _, log = quantize(*words)
    assert code == 2 and message in log
    assert not (tmp_path / "made").exists()


def test_too_few_texts_are_refused(quantize: Any, tmp_path: Path) -> None:
    path = tmp_path / "few.txt"
    path.write_text("one\n\n  \ntwo\n")
    code, _, log = quantize("--calibrate", path)
    assert code == 2 and "2 texts are too few to calibrate with" in log


def test_a_model_without_matrices_is_refused(quantize: Any, tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 20]>
    test (float[2] x) => (float[2] y) { y = Relu(x) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "relu.onnx")
    code, _, log = quantize(reference=f"file:{tmp_path / 'relu.onnx'}")
    assert code == 1 and "no products with constant matrices" in log
    assert not (tmp_path / "made").exists()


def test_a_folder_that_exists_is_not_touched(quantize: Any, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    code, _, log = quantize()
    assert code == 2 and "this folder exists" in log
