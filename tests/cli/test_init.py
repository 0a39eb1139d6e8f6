# SPDX-License-Identifier: Apache-2.0
"""`accel init`: what it writes runs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from accelerate_core.cli.init import pipeline_text
from accelerate_core.config import load

Accel = Callable[..., subprocess.CompletedProcess[str]]

TINY = Path(str(resources.files("accelerate_core") / "data")) / "tiny_mlp.onnx"


def test_what_it_writes_runs(accel: Accel, tmp_path: Path) -> None:
    shutil.copy(TINY, tmp_path / 'my "own".onnx')
    done = accel("init", 'my "own".onnx')
    assert done.returncode == 0, done.stderr
    assert "accel run accelerate.toml" in done.stdout
    done = accel("run", "accelerate.toml", "--only", "cpu")
    assert done.returncode == 0, done.stderr
    assert "PASSED 1 ok" in done.stdout
    assert (tmp_path / "report.html").is_file() and (tmp_path / "results.duckdb").is_file()


def test_it_replaces_nothing_unasked(accel: Accel, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("")
    done = accel("init", TINY, "-o", "mine.toml")
    assert done.returncode == 2 and "--force" in done.stderr
    assert (tmp_path / "mine.toml").read_text() == ""
    assert accel("init", TINY, "-o", "mine.toml", "--force").returncode == 0
    assert load(tmp_path / "mine.toml").models[0].name == "tiny_mlp"


def test_a_model_that_is_none_is_refused(accel: Accel, tmp_path: Path) -> None:
    done = accel("init", "nothing.onnx")
    assert done.returncode == 2 and "there is no file or directory" in done.stderr
    assert list(tmp_path.iterdir()) == []
    done = accel("init", TINY, "-o", "no/folder.toml")
    assert done.returncode == 2 and "cannot be written" in done.stderr


def test_it_names_only_what_is_installed(tmp_path: Path) -> None:
    text = pipeline_text("file:m.onnx", "m", backends=("cpu", "fake"), stores=(), reports=())
    (tmp_path / "p.toml").write_text(text)
    config = load(tmp_path / "p.toml")
    assert [str(one) for one in config.benchmarks[0].targets] == ["cpu"]
    assert config.store is None and not config.reports
