# SPDX-License-Identifier: Apache-2.0
"""`accel models inspect`, and how little the plugins cost to load."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from accelerate_models.commands import app
from accelerate_models.inspection import inspect
from accelerate_models.showing import sum_up
from typer.testing import CliRunner

from accelerate_core.errors import ModelError

from .conftest import checkpoints


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_CACHE_DIR", str(tmp_path / "command-cache"))
    monkeypatch.setenv("ACCELERATE_STATE_DIR", str(tmp_path / "command-state"))


def test_inspect_is_plain_data(checkpoint: Path, resolve: Any) -> None:
    spec = resolve(f"dir:{checkpoint}")
    facts = inspect(spec)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["parameters"] == sum(block["parameters"] for block in facts["blocks"])
    assert facts["size_bytes"] == sum(asset["size_bytes"] for asset in facts["assets"])
    assert facts["inputs"][0] == {
        "name": "input_ids",
        "dtype": "int64",
        "shape": ["batch", "sequence"],
    }
    assert "MatMul" in facts["operators"] and facts["family"] == "bert"


def test_the_command_prints_json(checkpoint: Path) -> None:
    result = CliRunner().invoke(app, ["inspect", f"dir:{checkpoint}", "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.output)
    assert facts["source"] == f"dir:{checkpoint}"
    names = [block["name"] for block in facts["blocks"]]
    assert names == ["embeddings", *(f"encoder.layer.{i}" for i in range(3)), "other"]
    costs = facts["costs"]
    assert costs["dimensions"] == {"batch": 1, "sequence": 32}
    assert costs["flops"] == sum(block["flops"] for block in facts["blocks"])
    assert costs["memory_bytes"] == costs["weights_bytes"] + costs["activations_bytes"]
    backends = {one["backend"]: one for one in facts["backends"]}
    assert backends["cpu"]["covers"] is True and "fake" not in backends
    for name in {"wasm", "webgpu", "webnn"} & set(backends):
        assert backends[name]["covers"] is None
        assert (f"{name}:*" in (facts["to_find_out"] or "")) == backends[name]["is_here"]


def test_sizes_are_those_asked_for(checkpoint: Path) -> None:
    words = ["inspect", f"dir:{checkpoint}", "--json", "--batch", "3"]
    short, long = (
        json.loads(CliRunner().invoke(app, [*words, "--sequence", length]).stdout)["costs"]
        for length in ("5", "10")
    )
    assert short["dimensions"] == {"batch": 3, "sequence": 5}
    assert 2 < long["flops"] / short["flops"] < 4
    result = CliRunner().invoke(app, [*words, "--sequence", "1000"])
    assert isinstance(result.exception, ModelError) and "tokens" in str(result.exception)


def test_texts_beside_images_are_as_long_as_they_may_be(tmp_path: Path) -> None:
    checkpoints("vision").CHECKPOINTS["clip"](tmp_path)
    result = CliRunner().invoke(app, ["inspect", f"dir:{tmp_path}", "--json"])
    costs = json.loads(result.stdout)["costs"]
    assert costs["dimensions"] == {"text_batch": 1, "sequence": 19, "batch": 1}
    assert costs["uncounted_operators"] == []


def test_operators_a_backend_lacks_are_named(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    node = helper.make_node("NobodyHasIt", ["x"], ["y"], domain="com.microsoft")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(
        helper.make_model(
            helper.make_graph([node], "g", [x], [y]), opset_imports=opsets, ir_version=8
        ),
        tmp_path / "odd.onnx",
    )
    result = CliRunner().invoke(app, ["inspect", f"file:{tmp_path / 'odd.onnx'}", "--json"])
    facts = json.loads(result.stdout)
    cpu = next(one for one in facts["backends"] if one["backend"] == "cpu")
    assert cpu["covers"] is False and cpu["lacking"] == ["com.microsoft.NobodyHasIt"]
    assert facts["costs"]["uncounted_operators"] == ["com.microsoft.NobodyHasIt"]


def test_numbered_blocks_that_follow_one_another_are_summed_up() -> None:
    names = ["a", "b.layer.0", "b.layer.1", "b.layer.3", "b.layer.4", "c.0", "c.1", "d.0"]
    blocks = [
        {"name": name, "parameters": 1, "size_bytes": 2, "flops": 3, "moved_bytes": 4}
        for name in names
    ]
    assert [(row["name"], row["flops"]) for row in sum_up(blocks)] == [
        ("a", 3),
        ("b.layer.0-1", 6),
        ("b.layer.3-4", 6),
        ("c.0-1", 6),
        ("d.0", 3),
    ]


def test_the_command_prints_tables(checkpoint: Path) -> None:
    result = CliRunner().invoke(app, ["inspect", f"dir:{checkpoint}", "--precision", "fp16"])
    assert result.exit_code == 0, result.output
    for text in ("encoder.layer.0-2", "int64[batch, sequence]", "fp16", "[PAD]", "LayerNorm"):
        assert text in result.output
    every = CliRunner().invoke(app, ["inspect", f"dir:{checkpoint}", "--all-blocks"])
    assert "encoder.layer.2 " in every.output


def test_the_command_leaves_errors_to_accel() -> None:
    result = CliRunner().invoke(app, ["inspect", "dir:nowhere"])
    assert isinstance(result.exception, ModelError)


def test_entry_points_lead_here() -> None:
    found = {
        (entry.group, entry.name): entry.load()
        for entry in metadata.distribution("accelerate-models").entry_points
    }
    assert found[("accelerate_core.commands", "models")] is app
    for scheme in ("file", "dir", "package"):
        plugin = found[("accelerate_core.models", scheme)]
        assert plugin.name == scheme and plugin().model_schemes() == (scheme,)


def test_loading_the_plugins_imports_nothing_heavy() -> None:
    code = (
        "import sys, accelerate_models, accelerate_models.commands\n"
        "heavy = {'onnx', 'numpy', 'tokenizers', 'safetensors', 'rich.table'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_cached_model_needs_no_onnx(checkpoint: Path) -> None:
    code = (
        "import sys\nfrom accelerate_core.host import Host\n"
        f"Host().resolve_model('dir:{checkpoint}')\n"
        "print('onnx' in sys.modules)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert [done.stdout.strip() for done in runs] == ["True", "False"]
