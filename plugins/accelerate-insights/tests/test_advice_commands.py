# SPDX-License-Identifier: Apache-2.0
"""`accel history`, `accel recommend`, `accel optimize`; and what a real run makes of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from accelerate_duckdb.store import DuckDbStore
from accelerate_insights import Insights

from accelerate_core import data
from accelerate_core.cli import main
from accelerate_core.config import load
from accelerate_core.host import Host
from accelerate_core.measuring import pipeline

from .databases import filled

SEVEN = (10.0, 10.2, 9.9, 10.1, 9.8, 10.3, 10.0)
BROWSER = "wasm:chromium-headless-shell"
THROUGHPUT = "throughput_items_per_second"


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """Return what a command prints in 80 columns."""
    assert main([*words]) == code
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines()), default=0) <= 80 or "--json" in words
    return text


def test_with_nothing_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = ("--db", str(filled(tmp_path / "a.duckdb", [])))
    assert "Nothing was measured within 30d" in said(capsys, "history", *db)
    assert "Not enough data" in said(capsys, "recommend", *db)
    assert json.loads(said(capsys, "history", "--json", *db))["series"] == []
    assert json.loads(said(capsys, "recommend", "--json", *db))["answers"] == []
    assert main(["history", "minilm", *db]) == 2
    assert "nothing is stored yet" in capsys.readouterr().err


def test_errors_name_what_was_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = ("--db", str(filled(tmp_path / "a.duckdb", SEVEN)))
    for words, where in (
        (("history", "--since", "7"), "--since"),
        (("history", "--metric", "speed"), "--metric"),
        (("history", "nobody"), "MODEL"),
        (("history", "--browser", "lynx"), "--browser"),
        (("recommend", "--objective", "fun"), "--objective"),
        (("recommend", "--task", "fun"), "--task"),
        (("recommend", "--since", "0d"), "--since"),
    ):
        assert main([*words, *db]) == 2
        assert f"where: {where}\n" in capsys.readouterr().err, words


def test_with_one_point_and_with_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = filled(tmp_path / "a.duckdb", [5.0])
    words = ("minilm", "--since", "all", "--db", str(path))
    line = next(one for one in said(capsys, "history", *words).splitlines() if "▅" in one)
    assert line.split()[-3:] == ["-", "few", "points"]
    assert "not enough data" in said(capsys, "recommend", *words)

    filled(path, SEVEN, first=1, target="webgpu/ort:firefox")
    told = json.loads(
        said(capsys, "history", "--json", "--browser", "firefox", "--metric", THROUGHPUT, *words)
    )
    assert [(one["browser"], one["metric"]) for one in told["series"]] == [("firefox", THROUGHPUT)]
    asked = json.loads(said(capsys, "recommend", "--json", "--objective", "throughput", *words))
    assert asked["objective"] == "throughput" and asked["answers"][0]["unit"] == "items/s"
    text = said(capsys, "recommend", "--save", *words)
    assert "best  webgpu/ort:firefox fp32 batch 1  10  9.8 to 10.3     7  7/7" in text
    assert "not webgpu/ort:chromium fp32 batch 1: 1 of at least 6 runs" in text
    kept = Insights(path).results.query("SELECT browser, value FROM browser_recommendations")
    assert kept.rows == (("firefox", 10.0),)


def test_with_ten_thousand_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = filled(tmp_path / "a.duckdb", [5.0])
    store = DuckDbStore.open(path)
    with store.transaction() as transaction:
        transaction.execute(
            "INSERT INTO webnn_webgpu_performance BY NAME SELECT * EXCLUDE (i, id, latency_ms,"
            " timestamp, measurement_id), 5 + (i % 7) / 10 AS latency_ms, i::VARCHAR AS"
            " measurement_id, timestamp + to_minutes(i) AS timestamp"
            " FROM webnn_webgpu_performance, range(1, 10_000) t(i)"
        )
    store.close()
    text = said(capsys, "history", "--since", "all", "--db", str(path))
    assert "10,000" in text and "steady" in text


def test_optimize_and_its_undo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = {"name": "r", "first": -60}  # longer ago than is looked at where nobody says
    path = filled(tmp_path / "a.duckdb", SEVEN, target="webgpu/plan:chromium", **ran)
    slow = [2 * value for value in SEVEN]
    filled(path, slow, target="webgpu/ort:chromium", id="slow", **ran)
    file = tmp_path / "p.toml"
    text = '[[models]]\nname = "minilm"\nsource = "file:x"\n[[benchmarks]]\ntargets = '
    file.write_text(f'{text}["webgpu:chromium"] # one\n')
    words = ("optimize", str(file), "--since", "all", "--db", str(path))
    assert '+engine = "plan"' in capture(capsys, *words, "--dry-run")
    assert "Written. To take it back" in capture(capsys, *words)
    assert "nothing to change" in capture(capsys, *words)
    assert '-engine = "plan"' in capture(capsys, "optimize", str(file), "--undo")
    assert file.read_text() == f'{text}["webgpu:chromium"] # one\n'
    assert main([*words, "--dry-run", "--undo"]) == 2


def capture(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 0
    return capsys.readouterr().out


def test_real_runs_are_ranked_and_nothing_is_made_up(tmp_path: Path) -> None:
    model = Path(data.__path__[0], "tiny_mlp.onnx")
    file, db = tmp_path / "tiny.toml", tmp_path / "results.duckdb"

    def write(targets: str) -> None:
        file.write_text(
            f'[store]\nuse = "duckdb"\npath = "{db}"\n'
            f'[[models]]\nname = "mlp"\nsource = "file:{model}"\n'
            f"[[benchmarks]]\ntargets = [{targets}]\nrepeats = 3\n"
        )

    for number in range(6):
        write(f'"{BROWSER}", "cpu"' if number == 0 else '"cpu"')
        outcome = asyncio.run(pipeline.run(load(file), Host()))
        assert not outcome.summary.is_failed

    insights = Insights(db)
    history = insights.get_performance_history(model="mlp", time_range="1h")
    assert {(one.label.backend, len(one.points)) for one in history.series} == {
        ("cpu", 6),
        ("wasm", 1),
    }
    (answer,) = insights.get_browser_recommendations(model="mlp").answers
    assert [one.candidate.where for one in answer.choices] == ["cpu"]
    assert answer.choices[0].score.value > 0
    (refused,) = answer.refused
    assert (refused.candidate.browser, refused.reason) == (
        "chromium-headless-shell",
        "1 of at least 6 runs",
    )
    write(f'"{BROWSER}", "cpu"')
    found = insights.apply_performance_optimizations(file)
    assert (found.proposals, found.is_written) == ((), False)
