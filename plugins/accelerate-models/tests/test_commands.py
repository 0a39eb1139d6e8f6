# SPDX-License-Identifier: Apache-2.0
"""`accel models list`, `pull`, `build` and `prune`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate_models import exporting
from accelerate_models.commands import app
from typer.testing import CliRunner, Result

from accelerate_core.errors import ConfigError, ModelError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACCELERATE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("ACCELERATE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path / "cache"


def call(*words: str | Path) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


def data(*words: str | Path) -> Any:
    return json.loads(call(*words, "--json").stdout)


def make_old(cache: Path, days: float = 60) -> None:
    """Let all that the cache has be as old as that."""
    then = time.time() - days * 86400
    for path in cache.rglob("*"):
        os.utime(path, (then, then))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_empty_cache_says_how_to_fill_it() -> None:
    assert "accel models pull" in call("list").stdout
    assert data("list")["models"] == []


def test_pull_keeps_and_list_shows(checkpoint: Path, cache: Path) -> None:
    pulled = data("pull", checkpoint)  # a path, as for `accel bench`
    assert (
        pulled["source"] == f"dir:{checkpoint}"
        and pulled["family"] == "bert"
        and pulled["parameters"] > 10_000
    )
    line = call("pull", f"dir:{checkpoint}", "--precision", "fp16").stdout
    assert line.count("\n") == 1 and "bert in fp16" in line
    listed = data("list")
    # The tokenizer is the same for both.
    assert listed["size_bytes"] < sum(one["size_bytes"] for one in listed["models"])
    assert [one["precision"] for one in listed["models"]] == ["fp16", "fp32"]
    for one in listed["models"]:
        assert one["source"] == f"dir:{checkpoint}" and one["part"] == "model"
        assert one["is_current"] and time.time() - one["used_at"] < 60
    assert all(len(text) <= 80 for text in call("list").stdout.splitlines())


def test_asking_for_a_model_is_using_it(checkpoint: Path, cache: Path) -> None:
    call("pull", f"dir:{checkpoint}")
    (entry,) = (cache / "models").glob("*.json")
    os.utime(entry, (1, 1))
    call("pull", f"dir:{checkpoint}")
    assert time.time() - entry.stat().st_mtime < 60


def test_list_says_what_is_built_again(checkpoint: Path) -> None:
    call("pull", f"dir:{checkpoint}")
    os.utime(checkpoint / "config.json", (1, 1))
    assert data("list")["models"][0]["is_current"] is False
    assert "built again" in " ".join(call("list").stdout.split())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_build_writes_runs_in_plain_onnxruntime(
    checkpoint: Path, tmp_path: Path, resolve: Any, run: Any, precision: str
) -> None:
    import onnxruntime

    folder = tmp_path / "out"
    made = data("build", f"dir:{checkpoint}", "-o", folder, "--precision", precision)
    assert files(folder) == made["files"]
    assert {"model.onnx", "model.onnx.data", "tokenizer.json", "config.json"} <= {*made["files"]}
    assert not any("safetensors" in name for name in made["files"])
    inputs = {
        name: np.ones((2, 5), np.int64)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    }
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    wanted = run(resolve(f"dir:{checkpoint}", precision=precision), inputs)
    np.testing.assert_array_equal(session.run(None, inputs)[0], wanted["last_hidden_state"])
    # And it is a model again, with its processor.
    assert resolve(f"file:{folder}/model.onnx", precision=precision).processor is not None
    assert files(tmp_path / "out") == sorted(made["files"])
    assert [path.name for path in tmp_path.glob(".out*")] == []


def test_build_replaces_only_what_build_wrote(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for words in ((), ("--force",)):
        (folder / "letter.txt").write_text("mine")
        result = CliRunner().invoke(app, ["build", f"dir:{checkpoint}", "-o", str(folder), *words])
        assert isinstance(result.exception, ConfigError)
        assert files(folder) == ["letter.txt"]
    (folder / "letter.txt").unlink()
    call("build", f"dir:{checkpoint}", "-o", folder, "--force")
    (folder / "model.onnx.data").write_bytes(b"")
    call("build", f"dir:{checkpoint}", "-o", folder, "--force")
    assert (folder / "model.onnx.data").stat().st_size > 0


@pytest.mark.parametrize("name", ["a file", "nowhere/below"])
def test_build_refuses_before_it_resolves(tmp_path: Path, cache: Path, name: str) -> None:
    (tmp_path / "a file").write_text("")
    result = CliRunner().invoke(app, ["build", "dir:no-model", "-o", str(tmp_path / name)])
    assert isinstance(result.exception, ConfigError)
    assert not cache.exists()


@pytest.mark.parametrize("step", ["copy", "rename"])
def test_a_build_that_fails_leaves_what_was_there(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder = tmp_path / "out"
    call("build", f"dir:{checkpoint}", "-o", folder)
    before = files(folder)
    rename = Path.rename

    def full(*paths: Any) -> Any:
        if step == "copy" or paths[0].name == "new":
            raise OSError(28, "No space left on device")
        return rename(*paths)

    if step == "copy":
        monkeypatch.setattr(exporting.shutil, "copyfile", full)
    else:
        monkeypatch.setattr(Path, "rename", full)
    result = CliRunner().invoke(app, ["build", f"dir:{checkpoint}", "-o", str(folder), "--force"])
    assert isinstance(result.exception, ModelError) and "free space" in str(result.exception)
    assert files(folder) == before
    assert not list(tmp_path.glob(".out*"))


def test_prune_removes_a_model_and_its_files(checkpoint: Path, cache: Path) -> None:
    call("pull", f"dir:{checkpoint}")
    make_old(cache)
    before = files(cache)
    dry = data("prune", "--older-than", "30d", "--dry-run")
    assert files(cache) == before and dry["models"] == [f"dir:{checkpoint}"]
    done = data("prune", "--older-than", "30d")
    assert done == {**dry, "is_dry_run": False}
    assert done["freed_bytes"] > 50_000 and done["left_bytes"] == 0
    assert files(cache) == []


def test_prune_keeps_what_another_model_needs(checkpoint: Path, cache: Path) -> None:
    for precision in ("fp32", "fp16"):
        call("pull", f"dir:{checkpoint}", "--precision", precision)
    make_old(cache)
    call("pull", f"dir:{checkpoint}", "--precision", "fp16")
    assert data("prune", "--older-than", "30d")["files"] == 2  # the tokenizer stays
    (left,) = data("list")["models"]
    assert left["precision"] == "fp16" and left["is_current"]


def test_prune_spares_the_last_hour_unless_all(checkpoint: Path, cache: Path) -> None:
    call("pull", f"dir:{checkpoint}")
    before = files(cache)
    for words in ((), ("--older-than", "1s"), ("--keep", "0B")):
        assert data("prune", *words)["freed_bytes"] == 0
    assert files(cache) == before
    assert data("prune", "--all")["left_bytes"] == 0
    assert files(cache) == []


def test_prune_removes_what_is_of_no_use(checkpoint: Path, cache: Path) -> None:
    call("pull", f"dir:{checkpoint}")
    (cache / "models" / "broken.json").write_text("{")
    (cache / "assets" / ".part-1").write_text("cut off")
    make_old(cache)
    call("prune")
    assert len(data("list")["models"]) == 1
    assert not (cache / "models" / "broken.json").exists()
    assert not (cache / "assets" / ".part-1").exists()
    (checkpoint / "config.json").unlink()
    call("prune")
    assert files(cache) == []


def test_prune_leaves_what_was_used_meanwhile(checkpoint: Path, cache: Path) -> None:
    from accelerate_models import kept

    from accelerate_core.host import Host

    call("pull", f"dir:{checkpoint}")
    ctx = Host().context
    entries, stored = kept.read_entries(ctx), kept.read_files(ctx)
    before = files(cache)
    make_old(cache, days=1)
    assert kept.remove(entries, stored, ()) == 0
    assert files(cache) == before


def test_all_excludes_what_asks_for_less() -> None:
    result = CliRunner().invoke(app, ["prune", "--all", "--keep", "5GB"])
    assert isinstance(result.exception, ConfigError)
