# SPDX-License-Identifier: Apache-2.0
"""The server scenario on a real browser: arrivals, the bound, the row, the report."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from accelerate_core import config
from accelerate_core.assembly import make_host
from accelerate_core.assets import AssetStore
from accelerate_core.measuring import pipeline
from accelerate_core.testing.models import tiny_matmul
from accelerate_core.types import CellStatus


@pytest.mark.browser("chromium-headless-shell")
def test_a_server_scenario_on_a_browser(tmp_path: Path) -> None:
    assets = AssetStore(tmp_path / "scratch")
    onnx = tmp_path / "tiny.onnx"
    onnx.write_bytes(assets.path(tiny_matmul(assets).assets[0].sha256).read_bytes())
    made = config.parse(
        {
            "models": [{"name": "tiny", "source": f"file:{onnx}"}],
            "benchmarks": [
                {
                    "targets": ["wasm:chromium-headless-shell"],
                    "scenario": "server",
                    "rate": 40,
                    "latency_bound": "200ms",
                    "repeats": 40,
                }
            ],
            "store": {"use": "duckdb", "path": str(tmp_path / "r.duckdb")},
        }
    )
    host = make_host(made, state_dir=tmp_path / "state")
    (row,) = asyncio.run(pipeline.run(made, host)).summary.measurements
    assert row.status is CellStatus.OK and row.sampling is not None, row.error
    # As many as arrive in ten bounds: 40 a second for 2 seconds.
    assert len(row.samples_ms) == row.sampling.trials[0].count == 80
    assert 1.0 < row.sampling.duration_s < 10 and row.sampling.within is not None
    assert 8 < row.throughput_items_per_second <= 80
    # A latency holds the queue, the way to the page and back, and what is computed there.
    pairs = zip(row.samples_ms, row.inference_samples_ms, strict=True)
    assert all(whole > inside for whole, inside in pairs)
    assert row.sampling.noise is not None and row.sampling.noise.other_cores is not None
    store = host.create("stores", "duckdb", {"path": str(tmp_path / "r.duckdb")}, tables=())
    try:
        asked = "SELECT scenario, latency_low_ms <= latency_ms FROM webnn_webgpu_performance"
        assert store.query(asked).rows[0][0] == "server 40/s within 200 ms"
        assert store.summary(row.run_id).measurements == (row,)
    finally:
        store.close()
