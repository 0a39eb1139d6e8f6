# SPDX-License-Identifier: Apache-2.0
"""`accel db import`: older results and reports come in once, and what does not is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate_duckdb import older
from accelerate_duckdb.client import query
from accelerate_duckdb.db import app
from accelerate_reports import to_csv, to_json
from typer.testing import CliRunner

from accelerate_core.errors import ConfigError
from accelerate_core.testing import samples
from accelerate_core.types import RunSummary

OLD = {
    "timestamp": "2025-03-01T10:00:00",
    "session_id": "s1",
    "model_name": "bert-tiny",
    "model_type": "text_embedding",
    "platform": "WebGPU",
    "browser": "Firefox",
    "is_real_hardware": True,
    "precision_bits": 16,
    "inference_time_ms": 20.5,
    "latency_ms": 25.0,
    "memory_usage_mb": 120.0,
    "throughput_items_per_second": 40.0,
    "batch_size": 1,
    "initialization_time_ms": 300.0,
    "adapter_info": {"vendor": "nvidia", "architecture": "ampere"},
    "simulation_mode": False,
    "mixed_precision": True,
}
#: The same content: one imports as much as another.
Imports = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def imports(path: Path) -> Imports:
    def run(*files: Path) -> list[dict[str, Any]]:
        words = ["import", *map(str, files), "--db", str(path), "--json"]
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        told: list[dict[str, Any]] = json.loads(result.stdout)
        return told

    return run


def written(folder: Path, rows: Any, name: str = "old.json") -> Path:
    place = folder / name
    place.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return place


def test_an_older_row_keeps_what_it_says(imports: Imports, path: Path, tmp_path: Path) -> None:
    (told,) = imports(written(tmp_path, {"results": [OLD]}))
    assert (told["imported"], told["known"], told["skipped"]) == (1, 0, [])
    names = (*(set(OLD) - {"session_id", "adapter_info", "timestamp", "initialization_time_ms"}),)
    (row,) = query(path, f"SELECT {', '.join(names)} FROM webnn_webgpu_performance").rows
    expected = OLD | {"platform": "webgpu", "browser": "firefox"}
    assert dict(zip(names, row, strict=True)) == {name: expected[name] for name in names}
    (other,) = query(
        path,
        "SELECT run_id, adapter_info->>'vendor', initialization_time_ms, is_software, precision,"
        " status, CAST(timestamp AS VARCHAR) FROM webnn_webgpu_performance",
    ).rows
    assert other == ("import-s1", "nvidia", 300.0, False, "fp16", "ok", "2025-03-01 10:00:00")
    assert query(path, "SELECT count(*) FROM time_series_performance").rows[0][0] == 6


def test_the_same_rows_are_imported_once_whatever_file_they_are_in(
    imports: Imports, tmp_path: Path
) -> None:
    rows = [{**OLD, "latency_ms": float(number)} for number in range(1, 4)]
    first = written(tmp_path, [*rows, rows[0]])
    lines = "\n".join(json.dumps(row) for row in rows)
    second = written(tmp_path, lines, "again.jsonl")
    (told,) = imports(first)
    assert told["imported"] == 3
    assert told["skipped"] == [{"row": 4, "reason": "the same as row 1"}]
    assert [(one["imported"], one["known"]) for one in imports(first, second)] == [(0, 3), (0, 3)]


def test_what_was_simulated_stays_so(imports: Imports, path: Path, tmp_path: Path) -> None:
    pretended = [
        {**OLD, "simulation_mode": True, "latency_ms": 1.0},
        {**OLD, "simulation_mode": None, "is_real_hardware": False, "latency_ms": 2.0},
    ]
    software = {**OLD, "is_real_hardware": False, "latency_ms": 3.0}
    imports(written(tmp_path, [*pretended, software]))
    found = query(
        path,
        "SELECT latency_ms, simulation_mode, is_real_hardware, is_software"
        " FROM webnn_webgpu_performance ORDER BY latency_ms",
    ).rows
    assert found == ((1.0, True, False, None), (2.0, True, False, None), (3.0, False, False, True))
    counted = query(
        path, "SELECT DISTINCT value FROM time_series_performance WHERE metric = ?", ["latency_ms"]
    )
    assert counted.rows == ((3.0,),)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_name": ""}, "no model_name"),
        ({"platform": None}, "no platform"),
        ({"platform": "web gpu!"}, "no target"),
        ({"timestamp": None}, "no timestamp"),
        ({"timestamp": "yesterday"}, "not ISO 8601"),
        ({"latency_ms": "fast"}, "latency_ms is 'fast'"),
        ({"latency_ms": float("nan")}, "latency_ms is nan"),
        ({"latency_ms": -1}, "latency_ms is -1"),
        ({"batch_size": 0.5}, "batch_size is 0.5"),
        ({"precision_bits": 5}, "precision_bits is 5"),
        ({"simulation_mode": "perhaps"}, "simulation_mode is 'perhaps'"),
        ({"adapter_info": "{"}, "adapter_info is not JSON"),
        ({"status": "splendid"}, "splendid"),
        (dict.fromkeys([name for name in OLD if name in older._METRICS]), "nothing measured"),
    ],
)
def test_a_row_that_cannot_be_used_is_skipped_and_says_why(
    imports: Imports, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match="not an object"):
        older.measurement([])
    with pytest.raises(ValueError, match=reason.replace("(", ".")):
        older.measurement(OLD | change)


def test_skipped_rows_have_their_number(imports: Imports, tmp_path: Path) -> None:
    (told,) = imports(written(tmp_path, [OLD, OLD | {"model_name": ""}, "x"]))
    assert told["imported"] == 1
    assert told["skipped"] == [
        {"row": 2, "reason": "no model_name"},
        {"row": 3, "reason": "not an object with named values"},
    ]


def test_reports_come_back_as_the_run_they_are_of(
    imports: Imports, path: Path, tmp_path: Path
) -> None:
    summary = RunSummary(
        run=samples.run_info(), measurements=(samples.measurement(1), samples.missing(2))
    )
    as_json = written(tmp_path, to_json.render(summary), "report.json")
    as_csv = written(tmp_path, to_csv.render(summary), "report.csv")
    assert [one["imported"] for one in imports(as_json, as_json)] == [2, 0]
    (told,) = imports(as_csv)
    assert (told["imported"], told["known"], told["skipped"]) == (0, 2, [])
    from accelerate_duckdb.store import DuckDbStore

    store = DuckDbStore.open(path)
    assert store.summary("run-1") == summary
    store.close()


def test_a_csv_report_alone_is_imported(imports: Imports, path: Path, tmp_path: Path) -> None:
    summary = RunSummary(run=samples.run_info(), measurements=(samples.measurement(1),))
    (told,) = imports(written(tmp_path, to_csv.render(summary), "report.csv"))
    assert (told["imported"], told["skipped"]) == (1, [])
    found = query(
        path,
        "SELECT run_id, measurement_id, series_key, latency_ms, engine, browser,"
        " is_software, simulation_mode, compile_ms FROM webnn_webgpu_performance",
    )
    assert found.rows == (
        ("run-1", "run-1-1", "ab" * 32, 12.5, "ort", "chromium", True, False, 80.0),
    )


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("half.json", json.dumps([OLD])[:-20], "half-written"),
        ("half.jsonl", json.dumps(OLD) + "\n" + json.dumps(OLD)[:-9], "half-written"),
        ("half.csv", "model_name,platform,latency_ms\nbert,wasm", "has 2 of 3 values"),
        ("half.csv", 'model_name,platform,latency_ms\nbert,"wasm', "half-written"),
        ("foreign.json", '{"weather": "rain"}', "no row has a model"),
        ("foreign.csv", "name,age\nann,5\n", "no row has a model"),
        ("empty.json", "", "no JSON"),
        ("empty.csv", "", "no CSV"),
        ("number.json", "7", "no results"),
        ("report.json", '{"format_version": 9}', "format version 9"),
        ("report.json", '{"format_version": 1, "run": {}}', "misses parts"),
    ],
)
def test_a_foreign_or_half_written_file_is_refused_and_nothing_is_imported(
    imports: Imports, path: Path, tmp_path: Path, name: str, text: str, why: str
) -> None:
    good, bad = written(tmp_path, [OLD], "good.json"), written(tmp_path, text, name)
    with pytest.raises(ConfigError, match=why) as caught:
        imports(good, bad)
    assert caught.value.info.where == str(bad)
    assert caught.value.info.accepted
    assert not path.exists()


def test_a_missing_or_binary_file_is_refused(imports: Imports, tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for name, why in (("binary.json", "it is no text"), ("missing.json", "read: No such file or")):
        with pytest.raises(ConfigError, match=why):
            imports(tmp_path / name)
