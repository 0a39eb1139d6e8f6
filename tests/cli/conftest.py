# SPDX-License-Identifier: Apache-2.0
"""The command as users run it, in this process or, where that matters, in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from accelerate_core.cli import main

ACCEL = Path(sys.executable).with_name("accel")
#: Variables that change what is shown.
DROPPED = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONPATH", "TERM")
DATA = Path(str(resources.files("accelerate_core") / "data"))
TINY = DATA / "tiny_mlp.onnx"


Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Return the variables of every command here: own folders, no terminal settings."""
    base = tmp_path_factory.mktemp("accel")
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
    return kept | {
        "ACCELERATE_CACHE_DIR": str(base / "cache"),
        "ACCELERATE_STATE_DIR": str(base / "state"),
    }


@pytest.fixture
def accel(
    environment: Mapping[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Done]:
    """Return a function that runs the command in this process, in a folder of its own."""
    for name in DROPPED:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def run(*words: object, **variables: str) -> Done:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        code = main([str(word) for word in words])
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(list(map(str, words)), code, shown.out, shown.err)

    return run


@pytest.fixture
def start(
    environment: Mapping[str, str], tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts `accel` and does not wait; it is killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start_(*words: object, **options: Any) -> subprocess.Popen[str]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        variables = {**environment, **options.pop("variables", {})}
        process = subprocess.Popen(
            [str(ACCEL), *map(str, words)], cwd=tmp_path, env=variables, **options
        )
        started.append(process)
        return process

    yield start_
    for process in started:
        with process:
            if process.poll() is None:
                process.kill()


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that installs a distribution of one module; put its folder on the path."""

    def install_(
        name: str, code: str, entry_points: str, summary: str = "For tests.", module: str = ""
    ) -> Path:
        site = tmp_path / "site"
        info = site / f"{name.replace('-', '_')}-0.1.dist-info"
        info.mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\nSummary: {summary}\n"
        (info / "METADATA").write_text(metadata)
        (info / "entry_points.txt").write_text(textwrap.dedent(entry_points))
        (site / f"{module or name.replace('-', '_')}.py").write_text(textwrap.dedent(code))
        return site

    return install_


@pytest.fixture
def pipeline(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a pipeline file with the tiny model on the CPU."""

    def write(benchmarks: str = 'targets = ["cpu"]\nrepeats = 3', head: str = "") -> Path:
        path = tmp_path / "pipeline.toml"
        path.write_text(
            f'{head}\n[[models]]\nname = "tiny"\nsource = "file:{TINY}"\n'
            f"[[benchmarks]]\n{benchmarks}\n"
        )
        return path

    return write
