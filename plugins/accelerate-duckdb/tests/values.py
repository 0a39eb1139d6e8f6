# SPDX-License-Identifier: Apache-2.0
"""A realistic run, connection and measurement."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs

from accelerate_core.types import (
    AdapterInfo,
    Cell,
    CellStatus,
    Connection,
    Measurement,
    Phases,
    RunInfo,
    Target,
    WorkerInfo,
)

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)

RUN = RunInfo(id="run-1", started_at=NOW, name="quickstart.toml", host={"cores": 2})
WORKER = WorkerInfo(
    target=Target("webgpu", "ort", "chromium"),
    browser_version="156.0",
    engine_version="onnxruntime-web 1.30.0",
    adapter=AdapterInfo(vendor="google", architecture="swiftshader"),
    features=("timestamp-query",),
    limits={"maxBufferSize": 1 << 30},
    is_software=True,
    device_type="cpu",
    launch_ms=412.5,
    details={"user_agent": "Mozilla/5.0"},
)
CONNECTION = Connection(id="w1#1", run_id="run-1", started_at=NOW, info=WORKER)
MEASUREMENT = Measurement(
    id="m-1",
    run_id="run-1",
    cell=Cell(model="minilm", target=Target("webgpu", None, "chromium"), sequence_length=32),
    status=CellStatus.OK,
    started_at=NOW,
    series_key="ab12",
    connection_id="w1#1",
    worker=WORKER,
    model_sha256="cd34",
    model_family="bert",
    task="text_embedding",
    samples_ms=(10.5, 11.0, 12.25),
    inference_samples_ms=(9.0, 9.5, 10.0),
    phases=Phases(fetch_ms=100.0, compile_ms=50.0, first_run_ms=25.5, in_page_ms=9.5),
    latency_ms=11.0,
    inference_time_ms=9.5,
    throughput_items_per_second=90.9,
    memory_bytes=250_000_000,
    relative_l2=3e-6,
    tolerance=1e-3,
    provenance={"options": {"precompile_shaders": True}, "threads": 1},
)


def measurement(number: int, run_id: str = "run-1") -> Measurement:
    """Return the realistic one with another id."""
    return attrs.evolve(MEASUREMENT, id=f"m-{run_id}-{number}", run_id=run_id)
