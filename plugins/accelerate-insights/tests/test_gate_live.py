# SPDX-License-Identifier: Apache-2.0
"""`accel compare` of pipelines that are run now: real models, in this process and in a browser."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from accelerate_browser.browsers import HEADLESS_SHELL, variable
from accelerate_browser.testing.shell import ensure_headless_shell
from accelerate_insights.reading import Database

from accelerate_core.cli import main

WIDTH = 256
#: On a busy machine what comes one after the other is alike: many repeats count as few.
SURE = ("--repeats", "60", "--alpha", "0.1")


def chain(path: Path, layers: int) -> Path:
    """Write a model of matrix products one after another: layers say how long it takes."""
    from onnx import TensorProto, helper, numpy_helper, save

    weights = numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32), "w")
    names = ["x", *(f"h{number}" for number in range(1, layers)), "y"]
    nodes = [helper.make_node("MatMul", [names[i], "w"], [names[i + 1]]) for i in range(layers)]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH]) for name in "xy"
    ]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], [weights])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that writes a pipeline of a chain, in a folder with a database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("ACCELERATE_STATE_DIR", str(tmp_path / "state"))

    def write(name: str, layers: int, target: str = "cpu", batch: int = 64) -> Path:
        model = chain(tmp_path / f"{name}.onnx", layers)
        path = tmp_path / f"{name}.toml"
        path.write_text(
            '[store]\nuse = "duckdb"\npath = "results.duckdb"\n'
            f'[[models]]\nname = "chain"\nsource = "file:{model}"\n'
            f'[[benchmarks]]\ntargets = ["{target}"]\nbatch_sizes = [{batch}]\nrepeats = 20\n'
        )
        return path

    return write


def test_a_slower_model_is_found_in_turns_and_again_in_what_was_stored(
    pipeline: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = pipeline("main", 1), pipeline("branch", 300)
    comment = tmp_path / "comment.md"
    words = ["compare", str(old), str(new), *SURE, "--markdown", str(comment)]
    assert main(words) == 1
    shown = capsys.readouterr()
    assert "WORSE: 1 worse" in shown.out and "A B B A" in shown.out
    assert comment.read_text().startswith("**WORSE: 1 worse**")
    table = Database(tmp_path / "results.duckdb").query(
        "SELECT r.name, c.platform, len(p.samples_ms), r.id"
        " FROM webnn_webgpu_performance AS p JOIN runs AS r ON r.id = p.run_id"
        " JOIN browser_connections AS c USING (connection_id) ORDER BY r.name"
    )
    assert [row[:2] for row in table.rows] == [("branch", "cpu"), ("main", "cpu")]
    assert all(row[2] >= 15 for row in table.rows)
    # What is stored of the branch against a fresh run of main: never worse.
    branch = table.rows[0][3]
    assert main(["compare", branch, str(old), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert not found["is_interleaved"] and found["rows"][0]["change"] < -0.2


def test_a_model_is_not_slower_than_itself(
    pipeline: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(pipeline("main", 8))
    # The noise of a busy machine may leave it undecided; it must not be worse.
    words = ["compare", path, path, "--min-effect", "0.3", "--repeats", "30", "--json"]
    assert main(words) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["verdict"] in ("same", "undecided")


def test_a_slower_model_is_found_in_a_browser(
    pipeline: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable(HEADLESS_SHELL), str(ensure_headless_shell()))
    target = "wasm:chromium-headless-shell"
    old, new = pipeline("main", 1, target, 16), pipeline("branch", 300, target, 16)
    assert main(["compare", str(old), str(new), *SURE, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    (row,) = found["rows"]
    assert row["verdict"] == "worse" and row["low"] > 0.05
    assert row["samples"] >= 15 and found["is_interleaved"]


def test_pipelines_that_measure_other_things_are_refused(
    pipeline: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = pipeline("main", 1), pipeline("branch", 1, batch=8)
    assert main(["compare", str(old), str(new)]) == 2
    assert "do not measure the same cells" in capsys.readouterr().err
    assert not (tmp_path / "results.duckdb").exists()


def test_a_setting_is_compared_with_the_same_file_without_it(
    pipeline: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, slower = pipeline("main", 1, batch=16), chain(tmp_path / "slower.onnx", 100)
    setting = f"models.0.source=file:{slower}"
    words = ["compare", str(old), "--with", setting, *SURE, "--json"]
    assert main(words) == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "worse"


def test_a_model_that_no_longer_runs_is_worse(
    pipeline: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = pipeline("main", 1)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    setting = f"models.0.source=file:{tmp_path / 'broken.onnx'}"
    assert main(["compare", str(old), "--with", setting, "--repeats", "2", "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["metric"], row["verdict"]) == ("status", "worse")


def test_ctrl_c_ends_both_and_keeps_what_is_whole(
    pipeline: Callable[..., Path], tmp_path: Path
) -> None:
    path = str(pipeline("main", 20))
    accel = Path(sys.executable).with_name("accel")
    words = [str(accel), "compare", path, path, "--repeats", "100000"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("B [1/1]"):
                break
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "Interrupted" in rest
