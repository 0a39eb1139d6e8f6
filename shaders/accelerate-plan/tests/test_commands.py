# SPDX-License-Identifier: Apache-2.0
"""`accel kernels`, `accel plan` and `accel models compile`, as users run them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from accelerate_plan import measuring
from accelerate_plan.plan import read_plan

from accelerate_core.cli import main

TINY = Path(str(resources.files("accelerate_core") / "data/tiny_mlp.onnx"))
UNKNOWN = TINY.with_name("unknown_operator.onnx")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    base = tmp_path_factory.mktemp("accel")
    kinds = ("cache", "state")
    return {f"ACCELERATE_{one.upper()}_DIR": str(base / one) for one in kinds}


@pytest.fixture
def accel(
    folders: Mapping[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Return a function that runs the command here; code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for name, value in {**folders, "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    # Short runs: what is measured is of no interest here.
    monkeypatch.setattr(measuring, "_RUN_MS", 1.0)

    def run(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def _json(accel: Run, *words: object) -> Any:
    code, out, err = accel(*words, "--json")
    assert code == 0, err
    return json.loads(out)


def test_kernels_are_listed_with_whose_they_are(accel: Run) -> None:
    rows = _json(accel, "kernels", "list")
    assert len({one["operation"] for one in rows}) >= 15
    assert {one["distribution"] for one in rows} == {"accelerate-shaders"}
    linear = next(one for one in rows if one["variant"] == "registers16")
    assert "k % 4 == 0" in linear["when"] and linear["suits"] == "software"
    assert all(one["chosen"] is None for one in rows)
    code, out, _ = accel("kernels", "list", "softmax")
    assert code == 0 and "rows" in out and "linear" not in out


def test_tuning_makes_a_measurement_of_a_guess(accel: Run, tmp_path: Path) -> None:
    def reasons() -> str:
        rows = _json(accel, "kernels", "list", "fill", "--on", "wgpu")
        (reason,) = (one["chosen"] for one in rows if one["chosen"])
        return str(reason)

    assert "guessed" in reasons()
    said = _json(accel, "kernels", "tune", "fill", "--on", "wgpu", "--db", "kernels.duckdb")
    book = json.loads(Path(said["book"]).read_text())
    assert "llvmpipe" in said["adapter"] and book["adapter"] == said["adapter"]
    assert said["measured"] == len(book["entries"]) >= 2
    assert {one["operation"] for one in book["entries"]} == {"fill"}
    assert all(one["median_ms"] > 0 and one["samples"] for one in book["entries"])
    assert reasons().count("measured") == 1
    sql = "SELECT operation, variant, median_ms FROM kernels_measured"
    kept = _json(accel, "query", sql, "--db", "kernels.duckdb")
    assert sorted(one["median_ms"] for one in kept) == sorted(
        one["median_ms"] for one in book["entries"]
    )
    # Nothing else is left: neither plans nor weights that were only measured.
    assert [*Path(os.environ["ACCELERATE_CACHE_DIR"]).rglob("*.plan")] == []
    assert not (Path(os.environ["ACCELERATE_CACHE_DIR"]) / "assets").exists()


def test_bench_gives_rates(accel: Run) -> None:
    rows = _json(accel, "kernels", "bench", "rms_norm", "--on", "wgpu", "--rounds", 1)
    assert {one["operation"] for one in rows} == {"rms_norm"}
    by_case: dict[str, list[dict[str, Any]]] = {}
    for one in rows:
        by_case.setdefault(one["case"], []).append(one)
    for group in by_case.values():
        times = [one["best_ms"] for one in group]
        assert times == sorted(times) and len(times) > 1
        assert [one["is_fastest"] for one in group] == [True, *[False] * (len(group) - 1)]
        for one in group:
            assert one["gbytes"] > 0 and one["method"] in ("timestamps", "wall")


def test_the_steps_of_a_model_are_measured_and_its_plan_is_made_with_that(accel: Run) -> None:
    def kernels() -> set[str]:
        shown = _json(accel, "plan", "show", TINY, "--batch", 2)
        return {one["kernel"] for one in shown["dispatches"] if "linear" in one["kernel"]}

    said = _json(accel, "kernels", "tune", "--on", "wgpu", "--model", TINY, "--batch", 2)
    path = Path(said["book"])
    book = json.loads(path.read_text())
    linear = [one for one in book["entries"] if one["operation"] == "linear"]
    assert {one["sizes"]["m"] for one in linear} == {2}
    for wanted in sorted({one["variant"] for one in linear}):
        for one in linear:
            one["best_ms"] = 0.5 if one["variant"] == wanted else 1.0
        path.write_text(json.dumps(book))
        assert kernels() == {f"linear/{wanted}"}


def test_a_model_is_compiled_shown_and_drawn(accel: Run, tmp_path: Path) -> None:
    made = _json(accel, "models", "compile", TINY, "--on", "wgpu", "--batch", 3, "-o", "tiny.plan")
    plan = read_plan(Path("tiny.plan").read_bytes())
    assert made["files"] == ["tiny.plan", "tiny.plan.weights"]
    assert Path("tiny.plan.weights").stat().st_size == plan.weights_bytes > 0
    assert made["totals"]["dispatches"] == len(plan.dispatches) >= 2

    facts = _json(accel, "plan", "show", "tiny.plan", "--picture", "arena.svg")
    assert [one["label"] for one in facts["dispatches"]] == [one.label for one in plan.dispatches]
    assert facts["totals"]["flops"] == sum(one.flops for one in plan.dispatches) > 0
    assert facts["totals"]["arena_ratio"] >= 1
    assert facts["inputs"][0]["shape"][0] == 3
    picture = ElementTree.parse("arena.svg")
    titles = [one.text or "" for one in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == len(facts["tensors"]) >= 3
    for one in facts["tensors"]:
        assert any(text.startswith(f"{one['name']}: ") for text in titles)

    # A model itself is shown too, and its table ends with the sums.
    code, out, _ = accel("plan", "show", TINY, "--batch", 3)
    assert code == 0 and "pipelines" in out and f"{len(plan.dispatches)} dispatches" in out


@pytest.mark.parametrize(
    ("words", "says", "accepts"),
    [
        (("kernels", "bench", "fill", "--on", "cpu"), "cpu replays no plans", "wgpu"),
        (("kernels", "tune", "--on", "webgpu/plan:*"), "replays no plans", "wgpu"),
        (("plan", "show", TINY, "--on", "webgpu/ort:firefox"), "replays no plans", "wgpu"),
        (("plan", "show", "x.plan", "--picture", "x.png"), ".png is no picture", ".svg"),
        (("models", "compile", TINY, "--on", "wgpu", "-o", "no/x"), "no such folder", ""),
        (("plan", "show", "x.plan", "--picture", "no/x.svg"), "no such folder", ""),
    ],
)
def test_bad_words_are_refused_before_anything_starts(
    accel: Run, monkeypatch: pytest.MonkeyPatch, words: Any, says: str, accepts: str
) -> None:
    from accelerate_core.host import Host

    def started(*_: object, **__: object) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(Host, "create", started)
    code, out, err = accel(*words)
    assert code == 2 and not out
    assert says in err and accepts in err


def test_what_is_not_there_is_named(accel: Run) -> None:
    code, _, err = accel("kernels", "bench", "linaer", "--on", "wgpu")
    assert code == 1 and "no kernel does 'linaer'" in err and "linear" in err
    code, _, err = accel("plan", "show", "nowhere.plan")
    assert code == 2 and "nowhere.plan" in err


def test_a_damaged_plan_is_refused(accel: Run, tmp_path: Path) -> None:
    Path("damaged.plan").write_bytes(b"ACPLAN01" + bytes(100))
    code, _, err = accel("plan", "show", "damaged.plan")
    assert code == 1 and "damaged" in err and "accel models compile" in err
    Path("other.plan").write_bytes(b"ACPLAN07" + bytes(100))
    code, _, err = accel("plan", "show", "other.plan")
    assert code == 1 and "another version" in err


def test_an_operator_no_kernel_does_is_named(accel: Run) -> None:
    code, _, err = accel("models", "compile", UNKNOWN, "--on", "wgpu")
    assert code == 1 and "unknown" in err.lower()
