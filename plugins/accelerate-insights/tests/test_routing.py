# SPDX-License-Identifier: Apache-2.0
"""What schedulers are told of the past: medians of this machine, of what runs today."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from accelerate_duckdb.store import DuckDbStore
from accelerate_insights.routing import DAYS, read_history

from accelerate_core.api import AsyncAccelerator
from accelerate_core.host import Host
from accelerate_core.measuring import provenance
from accelerate_core.memory_store import MemoryStore
from accelerate_core.testing import samples
from accelerate_core.types import CellStatus, Phases

from .databases import filled

SHA = "a" * 64
NOW = "minilm-webgpu/ort:chromium-1-0-2"  # the third day's run


def test_medians_are_by_model_and_target_with_and_without_its_engine(tmp_path: Path) -> None:
    phases = Phases(fetch_ms=30.0, compile_ms=70.0)
    path = filled(tmp_path / "r.duckdb", [10.0, 30.0, 12.0], model_sha256=SHA, phases=phases)
    filled(path, [5.0, 5.0], target="wasm/ort:firefox", model_sha256=SHA, phases=Phases())
    filled(path, [99.0], batch_size=8, model_sha256=SHA)  # other sizes do not compare
    with_store = DuckDbStore.open(path)
    found = read_history(with_store, NOW)
    with_store.close()
    assert set(found) == {SHA}
    assert set(found[SHA]) == {
        *("webgpu:chromium", "webgpu/ort:chromium"),
        *("wasm:firefox", "wasm/ort:firefox"),
    }
    known = found[SHA]["webgpu:chromium"]
    assert (known["run_ns"], known["load_ns"], known["count"]) == (12_000_000, 100_000_000, 3)
    assert found[SHA]["wasm:firefox"]["load_ns"] is None


def test_numbers_are_of_the_size_that_most_targets_share(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.duckdb", [1.0], model_sha256=SHA)
    for target, latency in (("webgpu/ort:chromium", 10.0), ("wasm/ort:firefox", 20.0)):
        filled(path, [latency], target=target, batch_size=8, model_sha256=SHA)
    with_store = DuckDbStore.open(path)
    found = read_history(with_store, NOW.replace("-1-0-2", "-1-0-0"))[SHA]
    with_store.close()
    assert found["webgpu:chromium"]["run_ns"] == 10_000_000
    assert found["wasm:firefox"]["run_ns"] == 20_000_000


def test_only_what_was_measured_well_with_what_is_installed_counts(tmp_path: Path) -> None:
    now = samples.worker_info("webgpu/ort:chromium")
    before = attrs.evolve(now, browser_version="1")
    path = filled(tmp_path / "r.duckdb", [90.0] * 3, worker=before, model_sha256=SHA)
    filled(path, [10.0], first=3, name="now", model_sha256=SHA)
    filled(path, [1.0], first=4, name="wrong", status=CellStatus.MISMATCH, model_sha256=SHA)
    simulated = attrs.evolve(now, is_simulated=True)
    filled(path, [1.0], first=5, name="fake", worker=simulated, model_sha256=SHA)
    store = DuckDbStore.open(path)
    known = read_history(store, "fake-5")[SHA]["webgpu:chromium"]
    store.close()
    assert (known["run_ns"], known["count"]) == (10_000_000, 1)
    assert known["browser_version"] == now.browser_version


def test_other_machines_and_what_is_old_say_nothing(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.duckdb", [10.0], first=2, model_sha256=SHA)
    filled(path, [1.0], first=1, name="other", host={"processor": "y"}, model_sha256=SHA)
    filled(path, [1.0], first=-DAYS, name="old", model_sha256=SHA)
    store = DuckDbStore.open(path)
    (run,) = (run.id for run in store.runs() if run.started_at == samples.START + timedelta(days=2))
    found = read_history(store, run)
    store.close()
    assert found[SHA]["webgpu:chromium"]["run_ns"] == 10_000_000
    assert found[SHA]["webgpu:chromium"]["count"] == 1


class Wanting:
    reads_history = True


def test_the_host_asks_for_a_scheduler_that_wants_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = Host(cache_dir=tmp_path / "cache", state_dir=tmp_path / "state")
    path = filled(tmp_path / "r.duckdb", [10.0, 11.0, 12.0], model_sha256=SHA)
    store = DuckDbStore.open(path)
    assert SHA in host.scheduler_history(Wanting(), store, NOW)
    assert host.scheduler_history(object(), store, NOW) == {}
    assert host.scheduler_history(Wanting(), MemoryStore(), NOW) == {}
    store.close()
    with caplog.at_level(logging.WARNING):
        assert host.scheduler_history(Wanting(), store, NOW) == {}
    assert "no history for the scheduler" in caplog.text


async def test_an_accelerator_begins_with_the_history_of_its_machine(tmp_path: Path) -> None:
    today = (datetime.now(UTC) - samples.START).days
    path = filled(
        tmp_path / "r.duckdb", [10.0], first=today, model_sha256=SHA, host=provenance.machine()
    )
    folders = {"cache_dir": tmp_path / "cache", "state_dir": tmp_path / "state"}
    for scheduler, known in (("performance", {SHA}), ("affinity", set())):
        async with AsyncAccelerator(db_path=str(path), scheduler=scheduler, **folders) as it:
            assert it._runner is not None
            assert set(it._runner._machine.fleet.history) == known
