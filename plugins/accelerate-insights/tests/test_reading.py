# SPDX-License-Identifier: Apache-2.0
"""Series come out of a database as they were stored: apart by metric, series and machine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from accelerate_duckdb.store import DuckDbStore
from accelerate_insights.picturing.gathering import lines
from accelerate_insights.reading import Database, Where, read_series

from accelerate_core.errors import ConfigError
from accelerate_core.sampled import Scenario
from accelerate_core.testing.samples import START
from accelerate_core.types import CellStatus

from .databases import filled


def test_points_of_a_series_are_oldest_first_with_what_they_were_measured_on(
    tmp_path: Path,
) -> None:
    path = filled(tmp_path / "r.duckdb", [10.0, 11.0], first=5, commits=["b", "c"])
    filled(path, [9.0], first=1, commits=["a"])
    (series,) = read_series(Database(path), with_samples=True)
    assert [point.value for point in series.points] == [9.0, 10.0, 11.0]
    assert [point.commit for point in series.points] == ["a", "b", "c"]
    assert series.points[0].samples == (9.0 * 0.99, 9.0, 9.0 * 1.01)
    assert series.label.where == "webgpu/ort:chromium"
    assert series.label.adapter == "google swiftshader"
    assert series.metric.unit == "ms"


def test_machines_and_metrics_are_series_of_their_own(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.duckdb", [10.0])
    filled(path, [20.0], host={"processor": "y"}, name="other")
    found = read_series(Database(path), metrics=("latency_ms", "throughput_items_per_second"))
    assert len({series.machine for series in found}) == 2
    assert sorted((series.metric.name, series.points[0].value) for series in found) == [
        ("latency_ms", 10.0),
        ("latency_ms", 20.0),
        ("throughput_items_per_second", 80.0),
        ("throughput_items_per_second", 80.0),
    ]


def test_what_failed_or_was_simulated_is_no_point(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.duckdb", [10.0], status=CellStatus.MISMATCH)
    assert read_series(Database(path)) == []


def test_pictures_and_series_say_the_same_of_what_was_measured(tmp_path: Path) -> None:
    path = filled(
        tmp_path / "r.duckdb", [10.0], scenario=Scenario(name="offline"), precision="fp16"
    )
    (series,) = read_series(Database(path))
    (line,) = lines(Database(path), START.replace(tzinfo=None), ["latency_ms"])
    assert line.label == series.label
    assert "offline" in str(line.label)


def test_a_choice_is_made_by_any_of_its_parts(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.duckdb", [10.0, 11.0, 12.0])
    filled(path, [5.0], target="wasm/ort:firefox", model="vit", task="image_classification")
    later = Where(since=(START + timedelta(days=1)).replace(tzinfo=None), model="minilm")
    (series,) = read_series(Database(path), later)
    assert [point.value for point in series.points] == [11.0, 12.0]
    (series,) = read_series(Database(path), Where(until=later.since, model="minilm"))
    assert [point.value for point in series.points] == [10.0]
    (series,) = read_series(Database(path), Where(model="minilm"), latest=2)
    assert [point.value for point in series.points] == [11.0, 12.0]
    image = Where(task="image_classification")
    for where in (image, Where(browser="firefox"), Where(backend="wasm"), Where(model="vit")):
        assert [one.label.model for one in read_series(Database(path), where)] == ["vit"]
    assert read_series(Database(path), Where(series_keys=("none",))) == []


def test_an_unknown_metric_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no metric"):
        read_series(Database(tmp_path / "r.duckdb"), metrics=("latencyms",))
    with pytest.raises(ConfigError, match="no such database"):
        read_series(Database(tmp_path / "r.duckdb"))


def test_a_cell_that_was_measured_again_is_one_point_of_its_run(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.duckdb", [10.0, 14.0], name="run")
    store = DuckDbStore.open(path)
    (first,) = store.summary("run-1").measurements
    later = first.started_at + timedelta(minutes=1)
    store.save_measurement(
        attrs.evolve(
            first,
            id="again",
            again_of=first.id,
            started_at=later,
            latency_ms=12.0,
            samples_ms=(12,),
        )
    )
    (oldest,) = store.summary("run-0").measurements
    begun = oldest.started_at + timedelta(minutes=1)
    store.save_measurement(attrs.evolve(oldest, id="again-0", again_of=oldest.id, started_at=begun))
    store.close()
    (series,) = read_series(Database(path), with_samples=True)
    assert [point.value for point in series.points] == [10.0, 13.0]
    (latest,) = read_series(Database(path), with_samples=True, latest=1)
    assert latest.points == series.points[1:]
    assert series.points[1].measurement_id == first.id
    assert series.points[1].samples == (*first.samples_ms, 12.0)
