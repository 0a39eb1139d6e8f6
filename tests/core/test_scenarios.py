# SPDX-License-Identifier: Apache-2.0
"""Scenarios on the real CPU backend with a tiny model; and the search, with rates made up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from accelerate_core import config
from accelerate_core.assembly import make_host
from accelerate_core.assets import AssetStore
from accelerate_core.measuring import noise, pipeline, scenarios
from accelerate_core.measuring.numbers import series_key
from accelerate_core.serial import from_plain, to_plain
from accelerate_core.testing.models import tiny_matmul
from accelerate_core.types import Cell, CellStatus, Measurement, Scenario, Target


@pytest.fixture
def measured(tmp_path: Path) -> Any:
    """Return a function that measures a tiny model as a benchmark says; a row for each cell."""
    assets = AssetStore(tmp_path / "scratch")
    spec = tiny_matmul(assets)
    onnx = tmp_path / "tiny.onnx"
    onnx.write_bytes(assets.path(spec.assets[0].sha256).read_bytes())

    def measure(**benchmark: Any) -> tuple[Measurement, ...]:
        made = config.parse(
            {
                "models": [{"name": "tiny", "source": f"file:{onnx}"}],
                "benchmarks": [{"targets": ["cpu"], **benchmark}],
            }
        )
        host = make_host(made, cache_dir=tmp_path / "cache", state_dir=tmp_path / "state")
        rows = asyncio.run(pipeline.run(made, host)).summary.measurements
        for row in rows:
            assert row.status is CellStatus.OK and row.sampling is not None, row.error
            assert from_plain(to_plain(row), Measurement) == row
        return rows

    return measure


def test_each_scenario_is_a_cell_and_a_series_of_its_own(measured: Any) -> None:
    rows = measured(
        scenario=["single_stream", "multi_stream", "server", "offline"],
        streams=3,
        rate=200,
        latency_bound="50ms",
        repeats=30,
    )
    single, multi, server, offline = rows
    assert len({row.series_key for row in rows}) == len({row.cell for row in rows}) == 4
    assert [str(row.cell.scenario) for row in rows] == [
        "single_stream",
        "multi_stream 3",
        "server 200/s within 50 ms",
        "offline",
    ]
    assert single.throughput_items_per_second == pytest.approx(1e3 / single.latency_ms)
    assert multi.throughput_items_per_second == pytest.approx(3e3 / multi.latency_ms)
    # A group's latency is that of its last answer.
    # More than asked for, where what looked like a warm-up and was made good was none.
    assert len(multi.inference_samples_ms) == 3 * len(multi.samples_ms) >= 3 * 30
    # As many requests as arrive in ten bounds, where that is more than `repeats`.
    assert len(server.samples_ms) == server.sampling.trials[0].count == 100
    assert 0.3 <= server.sampling.duration_s <= 5 and server.sampling.rate == 200
    assert server.sampling.within.low <= server.sampling.within.value <= 1
    assert len(offline.samples_ms) == 30
    assert offline.throughput_items_per_second == pytest.approx(30 / offline.sampling.duration_s)
    for row in rows:
        assert row.sampling.percentiles["p50"].value == pytest.approx(row.latency_ms)
        assert row.sampling.workers >= 1 and row.sampling.noise.cores >= 1


def test_arrivals_are_counted_from_when_they_were_due(measured: Any) -> None:
    """A rate no machine keeps up with: a queue grows, and the row tells of it."""
    (row,) = measured(
        scenario="server", rate=50_000, latency_bound="1ms", repeats=400, budget="10s"
    )
    assert row.sampling.within.value < 0.99 and not row.sampling.trials[0].holds
    # Answers come one by one, so what came first waited least.
    assert row.samples_ms[-1] > row.samples_ms[0]
    assert row.throughput_items_per_second < 50_000


def test_the_highest_rate_is_looked_for_and_every_trial_kept(measured: Any) -> None:
    words = {"scenario": "server", "rate": "max", "latency_bound": "100ms", "repeats": 40}
    (row,) = measured(**words, budget="3s")
    tried = row.sampling.trials
    held = [one.rate for one in tried if one.holds]
    assert len(tried) >= 2
    if held:  # on a machine that stands still for longer than the bound none does
        # The last may be one that the end of the time cut short.
        assert row.sampling.rate == row.throughput_items_per_second
        assert row.sampling.rate in (max(held), max(held[:-1], default=None))
    assert row.cell.scenario.rate is None and "server max within 100 ms" in str(row.cell)


def test_a_bound_that_no_rate_keeps_is_a_row_without_a_speed(measured: Any) -> None:
    (row,) = measured(scenario="server", rate="max", latency_bound=1e-6, repeats=3, budget="2s")
    assert row.throughput_items_per_second is None
    assert row.sampling.trials and not any(one.holds for one in row.sampling.trials)
    assert row.sampling.rate == min(one.rate for one in row.sampling.trials)


async def test_a_rate_that_time_cut_short_beats_none_that_was_tried_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = SimpleNamespace(latency_ms=20.0, connection=SimpleNamespace(id="cpu"))
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)

    async def submit() -> Any:
        return answer

    async def sleep(delay_s: float) -> None:
        await asyncio.sleep(0)
        clock.now += delay_s

    monkeypatch.setattr(scenarios, "time", clock)
    monkeypatch.setattr(scenarios, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))

    # Alone it takes 20 ms: 50 a second are tried for 2 s, then 100, until the time is over.
    made = {
        "targets": ["cpu"],
        "scenario": "server",
        "rate": "max",
        "latency_bound": "200ms",
        "repeats": 20,
        "budget": "3s",
    }
    benchmark = config.parse({"benchmarks": [made]}).benchmarks[0]
    requests = scenarios.Requests(submit=submit, progress=lambda done, total: None)
    taken = await scenarios.take(benchmark.scenarios()[0], benchmark, requests)
    trials = taken.sampling.trials
    assert len(trials) > 1 and trials[-1].holds and taken.sampling.ended_by == "budget"
    whole = [one.rate for one in trials[:-1] if one.holds]
    assert taken.requests_per_second == max(whole) < trials[-1].rate


@pytest.mark.parametrize("capacity", [3.0, 90.0, 100.0, 7_000.0])
async def test_the_search_ends_close_below_what_holds(capacity: float) -> None:
    tried: list[float] = []

    async def holds(rate: float) -> bool:
        tried.append(rate)
        return rate <= capacity

    await scenarios.highest(holds, 100.0, lambda: False)
    assert 0.95 * capacity <= max(rate for rate in tried if rate <= capacity) <= capacity
    assert len(tried) <= 15


async def test_the_search_ends_with_the_time_and_where_nothing_holds() -> None:
    tried: list[float] = []

    async def never(rate: float) -> bool:
        tried.append(rate)
        return False

    await scenarios.highest(never, 100.0, lambda: len(tried) >= 2)
    assert len(tried) == 2
    await scenarios.highest(never, 100.0, lambda: False)
    assert min(tried) >= 100 / 64


def test_an_interval_asked_for_is_reached_or_what_stopped_it_is_said(measured: Any) -> None:
    (wide,) = measured(interval="40%", repeats=30)
    assert wide.sampling.ended_by == "interval" and wide.sampling.interval == 0.4
    assert wide.sampling.reached <= 0.4 and len(wide.samples_ms) >= 30
    (narrow,) = measured(interval="0.0001%", budget="300ms", scenario="multi_stream", streams=2)
    assert narrow.sampling.ended_by in ("budget", "count")
    assert narrow.sampling.reached is None or narrow.sampling.reached > 1e-6
    (bare,) = measured(interval="1%", budget=1e-9)
    assert len(bare.samples_ms) == 3 and bare.sampling.ended_by == "budget"
    assert bare.sampling.reached is None


class Slowly:
    """Submit answers whose latencies were made up."""

    def __init__(self, latencies: list[float]) -> None:
        self.latencies = iter(latencies)

    async def __call__(self) -> Any:
        @attrs.frozen
        class Made:
            latency_ms: float
            connection: Any = attrs.field(factory=lambda: type("C", (), {"id": "w"}))

        return Made(next(self.latencies))


async def test_a_warm_up_is_left_out_made_good_and_kept_in_the_row() -> None:
    benchmark = config.BenchmarkConfig(targets=(Target("cpu"),), repeats=20)
    latencies = [90.0, 40.0, *(10 + 0.01 * (index % 7) for index in range(30))]
    requests = scenarios.Requests(submit=Slowly(latencies), progress=lambda done, total: None)
    taken = await scenarios.take(Scenario(), benchmark, requests)
    assert taken.sampling.warmup_ms == (90.0, 40.0)
    assert taken.samples_ms == tuple(latencies[2:22]) and len(taken.answers) == 20
    assert taken.sampling.level_change is None


def test_a_series_of_older_versions_goes_on() -> None:
    """The key and the JSON of a cell measured as ever are those of version 0.1."""
    cell = Cell(model="m", target=Target("wasm", "ort", "firefox"), sequence_length=32)
    assert series_key(cell, "hash", None) == "032c66dc2bae9d44"
    plain = to_plain(cell)
    assert list(plain) == ["model", "target", "precision", "batch_size", "sequence_length"]
    assert from_plain(plain, Cell) == cell
    other = attrs.evolve(cell, scenario=Scenario(name="offline"))
    assert series_key(other, "hash", None) != series_key(cell, "hash", None)
    assert from_plain(to_plain(other), Cell) == other


def test_other_processes_are_seen_and_our_own_are_not() -> None:
    burn = "import time; e = time.monotonic() + {}\nwhile time.monotonic() < e: pass"
    before = noise.moment()
    # Its shell ends at once, so that nobody of our tree is its parent.
    subprocess.run(["sh", "-c", f"{sys.executable} -c '{burn.format(0.8)}' &"], check=True)
    time.sleep(0.9)
    foreign = noise.between(before, noise.moment())
    assert foreign.other_cores is not None and foreign.other_cores > 0.2
    before = noise.moment()
    subprocess.run(
        [sys.executable, "-c", burn.replace("monotonic", "process_time").format(0.5)], check=True
    )
    after = noise.moment()
    assert after.own_s - before.own_s > 0.1
    nobody = attrs.evolve(before, at_s=before.at_s + 2, busy_s=before.busy_s + 1.5)
    ours = attrs.evolve(nobody, own_s=before.own_s + 1.5)
    assert noise.between(before, nobody, 2).other_cores == pytest.approx(0.75)
    assert noise.between(before, ours, 2).other_cores == pytest.approx(0)  # rounded
    # In a moment, and from clocks that went back, nothing is concluded.
    assert noise.between(before, before).other_cores is None
    back = attrs.evolve(nobody, busy_s=0.0, stolen_s=0.0)
    assert noise.between(before, back, 2).other_cores == 0
