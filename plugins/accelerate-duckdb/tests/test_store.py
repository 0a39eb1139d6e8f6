# SPDX-License-Identifier: Apache-2.0
"""What goes in comes out; the columns are what was promised; unknown is NULL."""

from __future__ import annotations

import json
import math
import uuid
from pathlib import Path
from typing import Any

import attrs
import pytest
from accelerate_duckdb.store import DuckDbStore
from hypothesis import HealthCheck, given, settings

from accelerate_core.errors import NumericalError, StoreError
from accelerate_core.types import (
    CellStatus,
    Estimate,
    Measurement,
    Phases,
    RunSummary,
    Sampling,
    Scenario,
    Target,
)

from . import strategies, values

CONNECTIONS_COLUMNS = (
    "id, timestamp, connection_id, session_id, browser, platform, startup_time_seconds, "
    "connection_duration_seconds, is_simulation, adapter_info, browser_info, features"
)
PERFORMANCE_COLUMNS = (
    "id, timestamp, connection_id, session_id, model_name, model_type, platform, browser, "
    "is_real_hardware, compute_shader_optimized, precompile_shaders, parallel_loading, "
    "mixed_precision, precision_bits, initialization_time_ms, inference_time_ms, "
    "memory_usage_mb, throughput_items_per_second, latency_ms, batch_size, adapter_info, "
    "model_info, simulation_mode"
)


def one_row(store: DuckDbStore, sql: str) -> dict[str, Any]:
    table = store.query(sql)
    assert len(table.rows) == 1
    return dict(zip(table.columns, table.rows[0], strict=True))


def test_promised_columns_come_first_in_order(store: DuckDbStore) -> None:
    for table, columns in (
        ("browser_connections", CONNECTIONS_COLUMNS),
        ("webnn_webgpu_performance", PERFORMANCE_COLUMNS),
    ):
        promised = columns.split(", ")
        assert list(store.query(f"FROM {table}").columns[: len(promised)]) == promised


def test_a_measurement_fills_its_columns(store: DuckDbStore) -> None:
    row_id = store.save_measurement(values.MEASUREMENT)
    row = one_row(store, "FROM webnn_webgpu_performance")
    expected = {
        "id": row_id,
        "timestamp": values.NOW.replace(tzinfo=None),
        "connection_id": "w1#1",
        "session_id": "run-1",
        "run_id": "run-1",
        "model_name": "minilm",
        "model_type": "text_embedding",
        "platform": "webgpu",
        "browser": "chromium",
        "engine": "ort",
        "is_real_hardware": False,
        "compute_shader_optimized": None,
        "precompile_shaders": True,
        "parallel_loading": None,
        "mixed_precision": None,
        "precision_bits": 32,
        "initialization_time_ms": 175.5,
        "inference_time_ms": 9.5,
        "memory_usage_mb": 250.0,
        "throughput_items_per_second": 90.9,
        "latency_ms": 11.0,
        "batch_size": 1,
        "simulation_mode": False,
        "samples_ms": [10.5, 11.0, 12.25],
        "status": "ok",
        "fell_back_from": None,
        "launch_ms": None,
        "in_page_ms": 9.5,
    }
    assert {name: row[name] for name in expected} == expected
    assert json.loads(row["adapter_info"])["architecture"] == "swiftshader"
    assert json.loads(row["model_info"])["family"] == "bert"
    assert one_row(store, "FROM cells")["id"] == row["cell_id"]


def test_unknown_is_null(store: DuckDbStore) -> None:
    missing = attrs.evolve(
        values.MEASUREMENT,
        status=CellStatus.MISSING,
        worker=None,
        memory_bytes=None,
        phases=Phases(),
        provenance={},
    )
    store.save_measurement(missing)
    row = one_row(store, "FROM webnn_webgpu_performance")
    unknown = (
        "is_real_hardware",
        "simulation_mode",
        "is_software",
        "adapter_info",
        "memory_usage_mb",
        "initialization_time_ms",
        "precompile_shaders",
        "error",
    )
    assert {name: row[name] for name in unknown} == dict.fromkeys(unknown)
    assert (row["platform"], row["browser"]) == ("webgpu", "chromium")


def test_real_hardware_is_neither_software_nor_simulated(store: DuckDbStore) -> None:
    for is_software, is_simulated, is_real in (
        (False, False, True),
        (True, False, False),
        (None, False, None),
        (None, True, False),
    ):
        worker = attrs.evolve(values.WORKER, is_software=is_software, is_simulated=is_simulated)
        number = store.save_measurement(
            attrs.evolve(values.MEASUREMENT, id=str(uuid.uuid4()), worker=worker)
        )
        row = one_row(store, f"FROM webnn_webgpu_performance WHERE id = {number}")
        assert (row["is_real_hardware"], row["simulation_mode"]) == (is_real, is_simulated)


def test_an_option_may_stand_beside_the_options(store: DuckDbStore) -> None:
    provenance = {"mixed_precision": False, "parallel_loading": "no", "options": "none"}
    store.save_measurement(attrs.evolve(values.MEASUREMENT, provenance=provenance))
    row = one_row(store, "FROM webnn_webgpu_performance")
    assert (row["mixed_precision"], row["parallel_loading"]) == (False, None)


def test_a_fallback_says_what_was_asked_and_what_ran(store: DuckDbStore) -> None:
    store.save_measurement(
        attrs.evolve(values.MEASUREMENT, fell_back_from=Target("webnn", None, "edge"))
    )
    row = one_row(store, "FROM webnn_webgpu_performance")
    assert (row["fell_back_from"], row["platform"]) == ("webnn:edge", "webgpu")


def test_a_connection_is_updated_when_it_ends(store: DuckDbStore) -> None:
    store.save_connection(values.CONNECTION)
    first = one_row(store, "FROM browser_connections")
    store.save_connection(attrs.evolve(values.CONNECTION, duration_s=12.5))
    ended = one_row(store, "FROM browser_connections")
    assert first["connection_duration_seconds"] is None
    assert ended["connection_duration_seconds"] == 12.5
    assert ended["id"] == first["id"]
    assert ended["startup_time_seconds"] == 0.4125
    assert ended["features"] == ["timestamp-query"]
    assert (ended["session_id"], ended["is_simulation"]) == ("run-1", False)


def test_workers_of_two_runs_may_share_an_id(store: DuckDbStore) -> None:
    store.save_connection(values.CONNECTION)
    store.save_connection(attrs.evolve(values.CONNECTION, run_id="run-2"))
    assert store.query("SELECT count(*) FROM browser_connections").rows == ((2,),)


def test_runs_come_newest_first_and_updated(store: DuckDbStore) -> None:
    later = values.NOW.replace(day=22)
    store.save_run(values.RUN)
    store.save_run(attrs.evolve(values.RUN, id="run-2", started_at=later))
    finished = attrs.evolve(values.RUN, finished_at=later, is_interrupted=True)
    store.save_run(finished)
    assert [run.id for run in store.runs()] == ["run-2", "run-1"]
    assert store.runs()[1] == finished
    assert [run.id for run in store.runs(limit=1)] == ["run-2"]


def test_a_summary_of_an_unknown_run_names_known_ones(store: DuckDbStore) -> None:
    store.save_run(values.RUN)
    with pytest.raises(StoreError, match="no run 'run-9'") as caught:
        store.summary("run-9")
    assert caught.value.info.accepted == ("run-1",)


def test_a_measurement_id_is_taken_once(store: DuckDbStore) -> None:
    store.save_measurement(values.MEASUREMENT)
    with pytest.raises(StoreError, match="m-1"):
        store.save_measurement(values.MEASUREMENT)


def test_everything_survives_reopening(path: Path) -> None:
    store = DuckDbStore.open(path)
    store.save_run(values.RUN)
    first = store.save_measurement(values.MEASUREMENT)
    store.close()
    again = DuckDbStore.open(path)
    try:
        assert again.summary("run-1").measurements == (values.MEASUREMENT,)
        assert again.save_measurement(values.measurement(2)) > first
    finally:
        again.close()


def test_not_a_number_survives(store: DuckDbStore) -> None:
    wrong = attrs.evolve(
        values.MEASUREMENT,
        status=CellStatus.MISMATCH,
        relative_l2=math.nan,
        error=NumericalError("outputs are NaN").info,
    )
    store.save_run(values.RUN)
    store.save_measurement(wrong)
    (stored,) = store.summary("run-1").measurements
    assert stored.relative_l2 is not None and math.isnan(stored.relative_l2)
    assert attrs.evolve(stored, relative_l2=None) == attrs.evolve(wrong, relative_l2=None)
    row = one_row(store, "FROM webnn_webgpu_performance")
    assert math.isnan(row["relative_l2"])
    assert json.loads(row["record"], parse_constant=pytest.fail)["relative_l2"] == "NaN"


def test_a_lone_surrogate_is_escaped(store: DuckDbStore) -> None:
    # What a file name that is not UTF-8 looks like in Python.
    store.save_run(attrs.evolve(values.RUN, name="pipe\udcffline.toml"))
    assert store.runs()[0].name == r"pipe\udcffline.toml"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(measurement=strategies.measurements)
def test_any_measurement_comes_back_equal(store: DuckDbStore, measurement: Measurement) -> None:
    run = attrs.evolve(values.RUN, id=str(uuid.uuid4()))
    measurement = attrs.evolve(measurement, run_id=run.id)
    store.save_run(run)
    store.save_measurement(measurement)
    assert store.summary(run.id) == RunSummary(run=run, measurements=(measurement,))


def test_a_closed_store_says_so(path: Path) -> None:
    store = DuckDbStore.open(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.save_run(values.RUN)
    with pytest.raises(StoreError, match="closed"):
        store.runs()


def test_how_requests_arrived_and_how_sure_the_latency_is_are_columns(
    store: DuckDbStore,
) -> None:
    cell = values.MEASUREMENT.cell
    offline = attrs.evolve(
        values.MEASUREMENT,
        id="offline",
        cell=attrs.evolve(cell, scenario=Scenario(name="offline")),
        sampling=Sampling(percentiles={"p50": Estimate(value=11.0, low=10.5, high=12.0)}),
    )
    store.save_run(values.RUN)
    store.save_measurement(values.MEASUREMENT)
    store.save_measurement(offline)
    asked = "SELECT scenario, latency_low_ms, latency_high_ms FROM webnn_webgpu_performance"
    assert store.query(f"{asked} ORDER BY id").rows == (
        ("single_stream", None, None),
        ("offline", 10.5, 12.0),
    )
    # A cell measured as ever has the key that older versions gave it.
    keys = dict(store.query("SELECT scenario, key FROM cells").rows)
    assert "scenario" not in keys["single_stream"] and "offline" in keys["offline"]
    series = store.query("SELECT DISTINCT scenario FROM time_series_performance ORDER BY 1")
    assert series.rows == (("offline",), ("single_stream",))
