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
from typer.testing import CliRunner

from accelerate_core.errors import ModelError


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
    assert [block["name"] for block in facts["blocks"]][-1] == "encoder.layer.2"


def test_the_command_prints_tables(checkpoint: Path) -> None:
    result = CliRunner().invoke(app, ["inspect", f"dir:{checkpoint}", "--precision", "fp16"])
    assert result.exit_code == 0, result.output
    for text in ("encoder.layer.2", "int64[batch, sequence]", "fp16", "[PAD]", "LayerNorm"):
        assert text in result.output


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
