# SPDX-License-Identifier: Apache-2.0
"""Pictures and reports of many runs: what they say, that they hold everything, what they refuse."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import random
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from accelerate_duckdb.store import DuckDbStore
from accelerate_insights.commands.compare import app
from accelerate_insights.facade import Insights
from accelerate_insights.picturing import drawing, plots, ratings
from accelerate_insights.picturing.drawing import create_performance_visualization, gather
from accelerate_insights.picturing.gathering import MAX_POINTS
from accelerate_insights.picturing.notes import run_notes
from accelerate_insights.picturing.ratings import Grade, Speed
from accelerate_insights.picturing.report import generate, generate_performance_report
from accelerate_insights.reading import Database
from accelerate_reports.pictures import to_svg
from typer.testing import CliRunner

from accelerate_core.errors import ConfigError, StoreError
from accelerate_core.testing import samples

from .databases import filled

DAYS = 100_000
CHANGED_AT = 30


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plot library is bundled once: that takes seconds."""
    return tmp_path_factory.mktemp("cache")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[DuckDbStore]:
    """Keep a database open: to open it for each of a report's questions takes half of the time."""
    store = DuckDbStore.open(path)
    try:
        yield store
    finally:
        store.close()


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDbStore]:
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
    with opened(path) as store:
        yield store


def test_a_report_says_what_changed_by_how_much_and_since_when(changed: DuckDbStore) -> None:
    text = generate_performance_report(changed, DAYS)
    assert isinstance(text, str)
    assert re.search(r"latency of `minilm on wasm/ort:chromium[^`]*`: .* ms, \+[34]\d% \(95%", text)
    assert "latency of `minilm on wasm/ort:firefox" not in text
    data = json.loads(generate(changed, DAYS, "json"))
    (found,) = (one for one in data["changes"] if one["metric"]["name"] == "latency_ms")
    assert found["low"] < 0.4 < found["high"]
    began = datetime.fromisoformat(found["changed_at"])
    assert abs((began - samples.START).days - CHANGED_AT) <= 3


def test_a_run_is_told_what_changed_up_to_it(changed: DuckDbStore) -> None:
    last, before, steady = (
        run_notes(changed.summary(f"minilm-{target}-1-0-{day}"), changed)
        for target, day in (
            ("wasm/ort:chromium", 49),
            ("wasm/ort:chromium", 20),
            ("wasm/ort:firefox", 49),
        )
    )
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
    changed: DuckDbStore, cache_dir: Path, tmp_path: Path, ending: str
) -> None:
    path = create_performance_visualization(
        changed, ("latency_ms",), DAYS, tmp_path / f"x.{ending}", cache_dir=cache_dir
    )
    data = path.read_bytes()
    if ending == "png":
        assert data.startswith(b"\x89PNG") and len(data) > 20_000
        return
    text = data.decode()
    assert "worse +" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text.split("<script")[0])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDbStore]:
    """Thirty runs of a model, and one of each whose name wants to be more than text."""
    path = filled(
        tmp_path_factory.mktemp("hostile") / "r.duckdb", [10 + day % 3 for day in range(30)]
    )
    with opened(path) as store:
        with store.transaction() as transaction:
            for number, text in enumerate(samples.HOSTILE):
                transaction.execute(
                    "INSERT INTO webnn_webgpu_performance BY NAME SELECT * EXCLUDE (id)"
                    " REPLACE (? AS model_name, ? AS measurement_id, ? AS series_key)"
                    " FROM webnn_webgpu_performance ORDER BY id LIMIT 1",
                    [text, f"hostile-{number}", f"hostile-{number}"],
                )
        yield store


@pytest.fixture(scope="module")
def page(hostile: DuckDbStore, cache_dir: Path) -> bytes:
    return generate(hostile, DAYS, "html", cache_dir)


def test_text_of_users_stays_text(hostile: DuckDbStore, page: bytes, tmp_path: Path) -> None:
    assert b"<script>alert(1)</script>" not in page
    svg = create_performance_visualization(hostile, days=DAYS, output_file=tmp_path / "x.svg")
    assert "<script" not in svg.read_text()
    markdown = generate(hostile, DAYS, "markdown").decode()
    assert "\x1b" not in markdown and "alert" in markdown
    json.loads(generate(hostile, DAYS, "json"))


def chromium() -> Any:
    """Return the class that opens pages in a Chromium, out of the tests of accelerate-reports."""
    path = Path(__file__).parents[2] / "accelerate-reports" / "tests" / "chromium.py"
    spec = importlib.util.spec_from_file_location("chromium_of_reports", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Chromium


def test_a_browser_draws_a_report_and_runs_nothing_of_a_users(page: bytes, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(page)
    with chromium()(tmp_path) as browser:
        browser.open(file)
        assert browser.complaints() == []
        dots = browser.value(
            "[...document.querySelectorAll('figure[data-plot=time-latency_ms] .mark-symbol path')]"
            ".map(mark => mark.getAttribute('transform'))"
        )
        places = [re.fullmatch(r"translate\(([^,]+),([^)]+)\)", dot) for dot in dots]
        across = [float(place[1]) for place in places if place]
        assert len(across) == len(dots) >= 30 and all(map(math.isfinite, across))
        assert len(set(across)) >= 30
        labels = browser.value(
            "[...document.querySelectorAll('figure[data-plot=time-latency_ms] .role-axis-label"
            " text')].map(text => text.textContent)"
        )
        assert any(re.fullmatch(r"\d+ \w{3}", label) for label in labels), labels
        assert browser.value("document.querySelectorAll('h1 script, main script').length") == 0
        assert "alert(1)" in browser.value("document.body.textContent")


def test_a_pdf_is_the_page_with_its_pictures(tmp_path: Path, cache_dir: Path) -> None:
    path = filled(tmp_path / "r.duckdb", [10.0])
    pdf = generate(Database(path), DAYS, "pdf", cache_dir)
    assert pdf.startswith(b"%PDF") and pdf.rstrip().endswith(b"%%EOF")
    # Text in the pictures needs fonts of its own; an unfinished page has none of them.
    assert len(pdf) > 20_000


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
def test_what_makes_no_sense_is_refused(
    changed: DuckDbStore, tmp_path: Path, ask: Any, told: str
) -> None:
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


def test_a_comparison_is_drawn_with_its_intervals(tmp_path: Path) -> None:
    noise = random.Random(1)
    for first, level in enumerate((10, 10, 10, 10, 12)):
        measured = tuple(noise.gauss(level, 0.2) for _ in range(60))
        path = filled(tmp_path / "r.duckdb", [level], samples_ms=measured, first=first)
    words = ["--db", str(path), "--picture"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "x.svg")])
    svg = (tmp_path / "x.svg").read_text()
    assert done.exit_code == 1 and "minilm" in svg
    assert re.search(r">\+(19|20)\.\d%<", svg) and ">worse<" in svg
    with pytest.raises(ConfigError, match="names no format"):
        CliRunner().invoke(app, [*words, "x.gif"], catch_exceptions=False)
    assert plots.comparison([]) is None
