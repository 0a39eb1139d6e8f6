# SPDX-License-Identifier: Apache-2.0
"""Pictures and reports of many runs: what they say, that they hold everything, what they refuse."""

from __future__ import annotations

import json
import random
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from accelerate_duckdb.store import DuckDbStore
from accelerate_insights.facade import Insights
from accelerate_insights.picturing import drawing, plots, ratings
from accelerate_insights.picturing.drawing import create_performance_visualization, gather
from accelerate_insights.picturing.gathering import MAX_POINTS
from accelerate_insights.picturing.notes import run_notes
from accelerate_insights.picturing.ratings import Grade, Speed
from accelerate_insights.picturing.report import generate, generate_performance_report
from accelerate_insights.reading import Database
from accelerate_reports.pictures import to_svg

from accelerate_core.errors import ConfigError, StoreError
from accelerate_core.testing import samples

from .databases import filled

DAYS = 100_000
CHANGED_AT = 30


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A series that becomes 40% slower with its 31st run, and one that does not."""
    noise = random.Random(5)
    path = tmp_path_factory.mktemp("changed") / "r.duckdb"
    for target, factor in (("wasm/ort:chromium", 1.4), ("wasm/ort:firefox", 1.0)):
        values = [
            20 * noise.lognormvariate(0, 0.02) * (factor if day >= CHANGED_AT else 1)
            for day in range(50)
        ]
        filled(
            path,
            values,
            target=target,
            worker=samples.worker_info(target),
            commits=[f"{day // 10}" * 40 for day in range(50)],
        )
    return path


def test_a_report_says_what_changed_by_how_much_and_since_when(changed: Path) -> None:
    text = generate_performance_report(Database(changed), DAYS)
    assert isinstance(text, str)
    assert re.search(r"latency of `minilm on wasm/ort:chromium[^`]*`: .* ms, \+[34]\d% \(95%", text)
    assert "latency of `minilm on wasm/ort:firefox" not in text
    data = json.loads(generate(Database(changed), DAYS, "json"))
    (found,) = (one for one in data["changes"] if one["metric"]["name"] == "latency_ms")
    assert found["low"] < 0.4 < found["high"]
    began = datetime.fromisoformat(found["changed_at"])
    assert abs((began - samples.START).days - CHANGED_AT) <= 3


def test_a_run_is_told_what_changed_up_to_it(changed: Path) -> None:
    store = DuckDbStore.open(changed)
    try:
        last, before, steady = (
            run_notes(store.summary(f"minilm-{target}-1-0-{day}"), store)
            for target, day in (
                ("wasm/ort:chromium", 49),
                ("wasm/ort:chromium", 20),
                ("wasm/ort:firefox", 49),
            )
        )
    finally:
        store.close()
    (told,) = (note for note in last if "latency" in note)
    assert told.startswith("regression: latency of minilm on wasm/ort:chromium")
    assert before == steady == ()


def test_one_point_and_ten_thousand_are_pictures(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.duckdb", [10.0])
    gathered = gather(Database(path), DAYS, ("latency_ms",))
    (one, *_) = drawing.draw(Database(path), gathered, ("latency_ms",))
    assert [row["kind"] for row in one.data] == ["point"]
    # Where eval is forbidden, as on our pages, a domain of moments is not a number.
    assert '"domain"' not in json.dumps(one.views["over time"]["concat"][0]["encoding"]["x"])
    import duckdb

    with duckdb.connect(str(path)) as connection:
        names = [
            row[0]
            for row in connection.execute("DESCRIBE webnn_webgpu_performance").fetchall()
            if row[0] not in ("id", "timestamp", "measurement_id", "latency_ms")
        ]
        connection.execute(
            f"INSERT INTO webnn_webgpu_performance (timestamp, measurement_id, latency_ms,"
            f" {', '.join(names)}) SELECT timestamp + to_minutes(i), 'm' || i, 10 + i % 7,"
            f" {', '.join(names)} FROM webnn_webgpu_performance, range(1, 10000) t(i)"
        )
    gathered = gather(Database(path), DAYS, ("latency_ms",))
    (many, *_) = drawing.draw(Database(path), gathered, ("latency_ms",))
    assert 50 < len(many.data) <= MAX_POINTS
    assert sum(row["count"] for row in many.data) == 10_000
    assert all(row["low"] <= row["value"] <= row["high"] for row in many.data)
    assert to_svg([many], title="x").startswith("<svg")


@pytest.mark.parametrize("ending", ["png", "svg", "html"])
def test_a_picture_is_a_file_that_holds_everything(
    changed: Path, tmp_path: Path, ending: str
) -> None:
    path = create_performance_visualization(
        Database(changed), ("latency_ms",), DAYS, tmp_path / f"x.{ending}", cache_dir=tmp_path
    )
    data = path.read_bytes()
    if ending == "png":
        assert data.startswith(b"\x89PNG") and len(data) > 20_000
        return
    text = data.decode()
    assert "worse +" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text.split("<script")[0])


def test_text_of_users_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "r.duckdb"
    for number, text in enumerate(samples.HOSTILE):
        filled(path, [10.0], model=text, series_key=str(number), name=f"run{number}")
    page = generate(Database(path), DAYS, "html", tmp_path).decode()
    assert "<script>alert(1)</script>" not in page
    svg = create_performance_visualization(
        Database(path), days=DAYS, output_file=tmp_path / "x.svg"
    )
    assert "<script" not in svg.read_text()
    markdown = generate(Database(path), DAYS, "markdown").decode()
    assert "\x1b" not in markdown
    json.loads(generate(Database(path), DAYS, "json"))


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda i, p: i.generate_performance_report(30, "markdwn"), "Did you mean 'markdown'"),
        (lambda i, p: i.generate_performance_report(30, "pdf"), "a PDF is no text"),
        (lambda i, p: i.generate_performance_report(-1), "is no time"),
        (lambda i, p: i.create_performance_visualization(output_file=p / "x.gif"), "no format"),
        (lambda i, p: i.create_performance_visualization(["latncy_ms"]), "there is no metric"),
        (
            lambda i, p: i.create_performance_visualization(output_file=p / "no" / "x.png"),
            "no such directory",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(changed: Path, tmp_path: Path, ask: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ask(Insights(changed), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_has_an_empty_report_and_no_picture(tmp_path: Path) -> None:
    DuckDbStore.open(tmp_path / "r.duckdb").close()
    insights = Insights(tmp_path / "r.duckdb")
    assert "No change of level was found." in str(insights.generate_performance_report())
    with pytest.raises(StoreError, match="nothing was measured"):
        insights.create_performance_visualization(output_file=tmp_path / "x.png")


def speed(browser: str, ms: float | None, **changes: Any) -> Speed:
    values: dict[str, Any] = {
        "thing": ("m", "minilm"),
        "model_type": "bert",
        "backend": "wasm",
        "browser": browser,
        "is_software": False,
        "ok": int(ms is not None),
        "failed": 0,
        "latency_ms": ms,
    }
    return Speed(**{**values, **changes})


def test_grades_are_by_measurement() -> None:
    rated = ratings.matrix(
        [
            speed("native", 10.0),
            speed("chromium", 19.0),
            speed("firefox", 45.0),
            speed("edge", 60.0),
            speed("brave", None),
            speed("chrome", 11.0, failed=1),
            speed("vivaldi", 2.0, is_software=True),
        ]
    )["bert"]
    assert {name: one.grade for name, one in rated.items()} == {
        "native": Grade.EXCELLENT,
        "chromium": Grade.EXCELLENT,
        "firefox": Grade.GOOD,
        "edge": Grade.LIMITED,
        "brave": Grade.UNTESTED,
        "chrome": Grade.LIMITED,
        "vivaldi": Grade.EXCELLENT,
    }
    assert rated["firefox"].times == pytest.approx(4.5)


def test_a_comparison_tells_what_is_seen() -> None:
    rows = [
        plots.Compared(label="a", old=10, new=12, low=0.1, high=0.3),
        plots.Compared(label="b", old=10, new=10.1, low=-0.02, high=0.04),
        plots.Compared(label="c", old=10, new=12, low=0.1, high=0.3, is_lower_better=False),
    ]
    plot = plots.comparison(rows)
    assert plot is not None
    assert [row["verdict"] for row in plot.data] == ["worse", "no difference seen", "better"]
    assert to_svg([plot], title="x").count("+20.0%") >= 1
    assert plots.comparison([]) is None
