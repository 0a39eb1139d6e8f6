# SPDX-License-Identifier: Apache-2.0
"""History, trends and recommendations out of databases."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from accelerate_duckdb.store import DuckDbStore
from accelerate_insights import Insights, detecting
from accelerate_insights.advising import slopes
from accelerate_insights.advising.asking import since
from accelerate_insights.advising.candidates import Estimate
from accelerate_insights.advising.ranking import Answer, wilson
from accelerate_insights.advising.recommending import keep
from accelerate_insights.advising.sparkline import MARK, sparkline
from accelerate_insights.advising.trends import trends
from accelerate_insights.reading import Database, read_series
from accelerate_insights.testing.detectors import series
from accelerate_insights.watching import keeping

from accelerate_core.errors import ConfigError
from accelerate_core.testing import samples
from accelerate_core.types import AdapterInfo, CellStatus

from .databases import filled

SEVEN = (10.0, 10.2, 9.9, 10.1, 9.8, 10.3, 10.0)
#: Failed before a worker was there: nobody knows engine and adapter then.
LOST: dict[str, Any] = {"status": CellStatus.FAILED, "worker": None, "latency_ms": None}


def worker(target: str, **changes: Any) -> Any:
    return attrs.evolve(samples.worker_info(target), **changes)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a laboratory has after a week, with all that must not be mixed or recommended."""
    path = tmp_path_factory.mktemp("lab") / "results.duckdb"

    def add(target: str, factor: float, **changes: Any) -> None:
        filled(path, [value * factor for value in SEVEN], target=target, **changes)

    add("webgpu/ort:chromium", 1.0)
    add("webgpu/ort:firefox", 1.01)
    add("webgpu/ort:edge", 2.0)
    # Faster, and none of it may be recommended.
    add("webgpu/plan:chromium", 0.1, relative_l2=0.5)
    add("webgpu/plan:edge", 0.1, status=CellStatus.MISMATCH)
    add("webgpu/plan:firefox", 0.1, host={"processor": "y"}, name="elsewhere")
    old = worker("webgpu/ort:safari", browser_version="1")
    add("webgpu/ort:safari", 0.1, worker=old)
    filled(path, [20.0], target="webgpu/ort:safari", first=7)
    # What runs on hardware is another question.
    real = worker("webgpu/ort:chrome", is_software=False, adapter=AdapterInfo(vendor="nvidia"))
    add("webgpu/ort:chrome", 0.2, worker=real)
    # Three tries that failed before a worker was there: nobody knows engine and adapter then.
    for number in range(3):
        filled(
            path,
            [1.0],
            target="webgpu/ort:edge",
            first=20 + number,
            status=CellStatus.FAILED,
            worker=None,
            latency_ms=None,
        )
    return path


def answer(db: Path, **asked: Any) -> Answer:
    """Return the answer about software adapters on this machine."""
    found = Insights(db).get_browser_recommendations(**{"time_range": "all", **asked})
    machine = (
        Insights(db)
        .results.query("SELECT machine FROM machines WHERE run_id LIKE 'minilm-webgpu/ort:edge%'")
        .rows[0][0]
    )
    return next(
        one for one in found.answers if one.question.is_software and one.question.machine == machine
    )


def test_candidates_are_ranked_with_what_cannot_be_told_apart(db: Path) -> None:
    found = answer(db, model="minilm")
    assert [(str(one.candidate), one.is_as_good) for one in found.choices] == [
        ("webgpu/ort:chromium fp32 batch 1", True),
        ("webgpu/ort:firefox fp32 batch 1", True),
        ("webgpu/ort:edge fp32 batch 1", False),
    ]
    best = found.choices[0]
    # With 7 runs the smallest and the largest are an interval of the median at 98 %.
    assert attrs.astuple(best.score) == (10.0, 9.8, 10.3)
    assert (best.candidate.runs, best.candidate.measurements) == (7, 7)
    assert best.candidate.browser_version == "156.0.1"


def test_what_is_fast_and_wrong_old_or_elsewhere_is_not_recommended(db: Path) -> None:
    refused = {one.candidate.where: one.reason for one in answer(db).refused}
    assert refused == {
        "webgpu/plan:chromium": "wrong outputs in 7 measurements",
        "webgpu/plan:edge": "wrong outputs in 7 measurements",
        "webgpu/ort:safari": "1 runs of what is installed now, 7 older rows",
    }


def test_only_the_level_since_a_change_is_recommended(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.duckdb", [10.0] * 12 + [20.0] * 8)
    (series,) = read_series(Database(path))
    (finding,) = detecting.find([series])
    before = answer_of(path).best
    with contextlib.closing(DuckDbStore.open(path)) as store, store.transaction() as transaction:
        keeping.save(transaction, finding)
    now = answer_of(path).best
    assert before is not None and now is not None
    assert (before.score.value, now.score.value) == (10.0, 20.0)
    assert (now.candidate.runs, now.candidate.old) == (8, 12)


def test_software_hardware_and_machines_are_answered_apart(db: Path) -> None:
    found = Insights(db).get_browser_recommendations("text_embedding", time_range="all")
    best = {
        (one.question.is_software, one.best.candidate.where) for one in found.answers if one.best
    }
    assert best == {
        (True, "webgpu/ort:chromium"),
        (True, "webgpu/plan:firefox"),
        (False, "webgpu/ort:chrome"),
    }
    assert len({one.question.machine for one in found.answers}) == 2


def test_reliability_counts_tries_that_found_no_worker(db: Path) -> None:
    found = answer(db, objective="reliability")
    edge = next(one for one in found.choices if one.candidate.browser == "edge")
    assert (edge.candidate.successes, edge.candidate.tries) == (7, 10)
    assert edge.score.value == 0.7
    assert found.choices[-1] is edge


def test_reliability_is_of_right_answers_also_where_no_browser_is(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.duckdb", SEVEN, target="cpu")
    filled(path, [1.0] * 2, target="cpu", first=7, **LOST)
    before = worker("cpu", engine_version="1")
    filled(path, [1.0], target="cpu", first=-9, worker=before, relative_l2=0.5)
    (found,) = answer_of(path, objective="reliability").choices
    assert (found.candidate.successes, found.candidate.tries) == (7, 10)


def test_a_version_that_has_run_another_model_only_makes_this_one_s_rows_old(
    tmp_path: Path,
) -> None:
    path = filled(tmp_path / "a.duckdb", SEVEN, target="cpu")
    filled(
        path, [1.0], target="cpu", model="bert", first=7, worker=worker("cpu", engine_version="2")
    )
    everything = Insights(path).get_browser_recommendations(time_range="all").answers
    of_all = next(one for one in everything if one.question.model == "minilm")
    for found in (answer_of(path, model="minilm"), of_all):
        (refused,) = found.refused
        assert refused.reason == "0 runs of what is installed now, 7 older rows"


def test_throughput_is_better_when_it_is_higher(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    filled(path, SEVEN, batch_size=1, throughput_items_per_second=100.0)
    filled(path, SEVEN, batch_size=8, throughput_items_per_second=300.0)
    found = answer_of(path, objective="throughput")
    assert [one.candidate.batch_size for one in found.choices] == [8, 1]
    assert found.choices[1].is_as_good is False


def answer_of(path: Path, **asked: Any) -> Answer:
    (found,) = Insights(path).get_browser_recommendations(**{"time_range": "all", **asked}).answers
    return found


def test_balance_is_the_geometric_mean_of_times_the_best(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    for target, latency, memory in (("wasm:chrome", 10.0, 200), ("wasm:firefox", 20.0, 100)):
        filled(
            path,
            [latency] * 7,
            target=target,
            worker=samples.worker_info(target),
            memory_bytes=memory,
            throughput_items_per_second=1e3 / latency,
        )
    # Half of what Firefox was asked for failed.
    filled(path, [1.0] * 7, target="wasm:firefox", first=7, **LOST)
    found = answer_of(path, objective="balanced")
    scores = [one.score.value for one in found.choices]
    # Chrome: 1, 1 and 2 times the best; Firefox: 2, 2 and 1 times.
    assert scores == pytest.approx([2 ** (1 / 3), 2 * 4 ** (1 / 3)])
    assert all(one.score.low <= one.score.value <= one.score.high for one in found.choices)


def test_a_lower_precision_comes_with_its_error_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    filled(path, SEVEN)
    connection = DuckDbStore.open(path)
    with connection.transaction() as transaction:
        transaction.execute("UPDATE webnn_webgpu_performance SET precision = 'int8'")
    connection.close()
    assert answer_of(path).best is not None
    connection = DuckDbStore.open(path)
    with connection.transaction() as transaction:
        transaction.execute("UPDATE webnn_webgpu_performance SET relative_l2 = NULL")
    connection.close()
    assert answer_of(path).refused[0].reason == "nobody knows what int8 does to its outputs"


def test_recommendations_are_kept_also_when_there_is_not_enough_data(
    db: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.duckdb"
    copy.write_bytes(db.read_bytes())
    filled(copy, [1.0], model="young")
    found = Insights(copy).get_browser_recommendations(time_range="all")
    store = DuckDbStore.open(copy)
    assert keep(store, found) == 4
    store.close()
    rows = (
        Insights(copy)
        .results.query(
            "SELECT model_name, is_software, browser, value, sample_size,"
            " len(alternatives->'$[*]'), conditions->>'browser_version'"
            " FROM browser_recommendations"
            " WHERE is_software ORDER BY ALL"
        )
        .rows
    )
    assert ("minilm", True, "chromium", 10.0, 7, 2, "156.0.1") in rows
    assert ("young", True, None, None, 0, 0, None) in rows


def test_values_print_well_and_are_json(db: Path) -> None:
    found = Insights(db).get_browser_recommendations(model="minilm", time_range="all")
    assert "webgpu/ort:chromium fp32 batch 1, 10 [9.8, 10.3] ms; as good: webgpu/ort:firefox" in (
        str(found)
    )
    data = json.loads(found.to_json())
    assert {one["is_enough_data"] for one in data["answers"]} == {True}
    history = Insights(db).get_performance_history(browser="edge", time_range="all")
    assert "webgpu/ort:edge fp32 batch 1: latency, 7 points, last 20 ms" in str(history)
    points = json.loads(history.to_json())["series"][0]["points"]
    assert points[0]["at"] == "2026-11-21T12:30:15.123456Z"


def test_nothing_measured_is_an_answer(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.duckdb", [])
    insights = Insights(path)
    assert insights.get_performance_history().series == ()
    assert "not enough data" in str(insights.get_browser_recommendations())
    assert "not enough data" in str(insights.analyze_performance_trends())
    filled(path, [1.0, 2.0])
    assert "not enough data on 1 way" in str(answers_text(path))
    trend = insights.analyze_performance_trends(time_range="all").trends[0]
    assert trend.per_week is None and trend.is_moving is None
    assert (trend.level.value, trend.level.low) == (1.5, None)


def answers_text(path: Path) -> str:
    return str(Insights(path).get_browser_recommendations(time_range="all"))


def test_values_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.duckdb", [*SEVEN, float("nan"), float("inf")])
    assert answer_of(path).choices[0].score.high == 10.3
    trend = Insights(path).analyze_performance_trends(time_range="all").trends[0]
    assert len(trend.series.points) == 7


def test_unknown_names_are_refused(db: Path, tmp_path: Path) -> None:
    insights = Insights(db)
    for asked, message in (
        ({"model": "minlm"}, "Did you mean 'minilm'"),
        ({"browser": "netscape"}, "nothing is stored of a browser"),
        ({"model_type": "vision"}, "nothing is stored of a task"),
        ({"metrics": ["latency"]}, "Did you mean 'latency_ms'"),
        ({"time_range": "a week"}, "no range of time"),
        ({"time_range": "0d"}, "no range of time"),
    ):
        with pytest.raises(ConfigError, match=message):
            insights.get_performance_history(**asked)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Did you mean 'latency'"):
        insights.get_browser_recommendations(objective="latancy")
    with pytest.raises(ConfigError, match="no such database"):
        Insights(tmp_path / "nowhere.duckdb").get_performance_history()


def test_ranges_of_time() -> None:
    now = datetime(2026, 11, 22)
    assert since("24h", now=now) == since("1d", now=now) == datetime(2026, 11, 21)
    assert since("1.5w", now=now) == datetime(2026, 11, 11, 12)
    assert since("30m", now=now) == datetime(2026, 11, 21, 23, 30)
    assert since("all") == since("99999999w") == datetime.min


def test_a_change_of_level_is_no_slope(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    values = np.where(np.arange(60) < 40, 10.0, 13.0) * rng.normal(1, 0.01, 60)
    path = filled(tmp_path / "a.duckdb", list(values))
    trend = Insights(path).analyze_performance_trends(time_range="all").trends[0]
    assert [one.change.index for one in trend.findings] == [40]
    assert trend.points == 20
    assert trend.level.value == pytest.approx(13.0, rel=0.01)
    assert trend.is_moving is False
    assert "since 2026-12-31, +31%" in str(trend) and str(trend).endswith("steady")


@pytest.mark.parametrize(
    ("ends", "is_moving"),
    [((0.1, 2.0), True), ((-2.0, -0.1), True), ((-1.0, 1.0), False), ((None, None), None)],
)
def test_what_rises_or_falls_for_sure_is_moving(
    ends: tuple[float | None, float | None], is_moving: bool | None
) -> None:
    (steady,) = trends([series([10.0, 10.1])])
    slope = Estimate(value=0.0, low=ends[0], high=ends[1])
    assert attrs.evolve(steady, per_week=slope).is_moving is is_moving


@pytest.mark.parametrize(("likeness", "least"), [(0.0, 0.94), (0.5, 0.88)])
def test_the_interval_of_a_slope_holds_the_slope(likeness: float, least: float) -> None:
    rng = np.random.default_rng(1)
    times, held, tries = np.arange(40) / 7, 0, 300
    for _ in range(tries):
        noise = rng.standard_t(4, 90)
        for index in range(1, 90):
            noise[index] += likeness * noise[index - 1]
        found = slopes.slope(times, 100 + 0.5 * times + noise[50:])
        assert found is not None and found.low is not None and found.high is not None
        held += found.low <= 0.5 <= found.high
    assert held / tries >= least


def test_slopes_of_what_has_none() -> None:
    ten = np.arange(10.0)
    assert slopes.slope(ten[:9], ten[:9]) is None
    assert slopes.slope(np.zeros(10), ten) is None
    flat = slopes.slope(ten, np.ones(10))
    assert flat is not None and attrs.astuple(flat) == (0.0, 0.0, 0.0)
    long = slopes.slope(np.arange(10_000.0), np.arange(10_000.0) * 2)
    assert long is not None and long.value == pytest.approx(2.0)


def test_wilson_intervals_as_published() -> None:
    # Agresti and Coull (1998): 0 of 10 and 5 of 10.
    assert attrs.astuple(wilson(0, 10)) == pytest.approx((0, 0, 0.2775), abs=1e-4)
    assert attrs.astuple(wilson(5, 10)) == pytest.approx((0.5, 0.2366, 0.7634), abs=1e-4)


def test_sparklines() -> None:
    assert sparkline([], 10) == ""
    assert sparkline([5.0], 10) == sparkline([5.0] * 10_000, 1) == "▅"
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([1, 1, 8, 8], 10, [2]) == f"▁▁{MARK}██"
    many = sparkline([float(index) for index in range(10_000)], 20, [5_000, 5_001])
    assert len(many) <= 20 and many.count(MARK) == 1
