# SPDX-License-Identifier: Apache-2.0
"""Runs to report on: every status, every marker, and strings that mean harm."""

from __future__ import annotations

import random
import statistics
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from accelerate_core.errors import BackendUnavailable, ErrorInfo, NumericalError, WorkerLost
from accelerate_core.types import (
    AdapterInfo,
    Cell,
    CellStatus,
    Measurement,
    Phases,
    RunInfo,
    RunSummary,
    Target,
    WorkerInfo,
)

START = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)

HOSTILE = "</script><script>alert(1)</script>|`[bold]'\"&amp;]]>\x1b[31m\x00\n=1+1"


def worker(target: str, **changes: Any) -> WorkerInfo:
    """Describe a worker as the backend of `target` would."""
    known: dict[str, dict[str, Any]] = {
        "cpu": {"device_type": "cpu", "is_software": False, "engine_version": "onnxruntime 1.24.1"},
        "wasm": {
            "device_type": "cpu",
            "is_software": False,
            "engine_version": "onnxruntime-web 1.30.0",
        },
        "webgpu": {
            "device_type": "cpu",
            "is_software": True,
            "engine_version": "onnxruntime-web 1.30.0",
            "adapter": AdapterInfo(
                vendor="google", architecture="swiftshader", description="SwiftShader Device"
            ),
        },
        "webnn": {"device_type": "cpu", "is_software": True, "engine_version": "LiteRT"},
        "fake": {"is_simulated": True, "device_type": "cpu"},
    }
    parsed = Target.parse(target)
    if target == "webgpu:firefox":
        changes = {"adapter": AdapterInfo(description="llvmpipe (LLVM 19.1)"), **changes}
    version = {"chromium": "156.0.7300.12", "firefox": "153.2esr"}.get(parsed.browser or "")
    values = {"target": parsed, "browser_version": version, **known[parsed.backend], **changes}
    return WorkerInfo(**values)


def measurement(
    target: str = "cpu", latency_ms: float = 12.3, count: int = 20, **changes: Any
) -> Measurement:
    """Return an ok measurement with `count` samples spread around `latency_ms`."""
    spread = random.Random(f"{target}{latency_ms}")
    samples = tuple(latency_ms * spread.lognormvariate(0, 0.06) for _ in range(count))
    inside = tuple(0.93 * sample for sample in samples)
    median = statistics.median(samples) if samples else None
    is_browser = ":" in target
    values: dict[str, Any] = {
        "id": f"m-{target}-{latency_ms}",
        "run_id": "run-1",
        "cell": Cell(model="minilm", target=Target.parse(target), sequence_length=32),
        "status": CellStatus.OK,
        "started_at": START + timedelta(seconds=3),
        "series_key": f"series-{target}",
        "connection_id": f"{target}#1",
        "worker": worker(target) if count else None,
        "model_sha256": "ab" * 32,
        "model_family": "bert",
        "task": "text_embedding",
        "samples_ms": samples,
        "inference_samples_ms": inside,
        "latency_ms": median,
        "inference_time_ms": statistics.median(inside) if inside else None,
        "throughput_items_per_second": 1000 / median if median else None,
        "memory_bytes": 412_345_678 if is_browser and count else None,
        "relative_l2": 3.1e-6 if count else None,
        "tolerance": 1e-3,
        "is_cached": False if is_browser and count else None,
        "phases": Phases(
            launch_ms=640.0 if is_browser else None,
            fetch_ms=180.0 if is_browser else None,
            compile_ms=240.5,
            first_run_ms=2 * latency_ms,
            encode_ms=0.4,
            queue_ms=0.1,
            transfer_ms=0.9 if is_browser else None,
            in_page_ms=0.93 * latency_ms,
            decode_ms=0.2,
        )
        if count
        else Phases(),
    }
    return Measurement(**{**values, **changes})


def missing(target: str, *, is_required: bool = False) -> Measurement:
    """Return what stands for a target that is not here."""
    error = BackendUnavailable(
        "no such browser here",
        where="accelerate-browser",
        hint=f"accel browsers install {target.partition(':')[2]}",
    )
    return measurement(
        target, count=0, status=CellStatus.MISSING, error=error.info, is_required=is_required
    )


def mismatch() -> Measurement:
    """Return a row that ran and answered wrongly."""
    error = NumericalError("relative L2 0.24 is over the tolerance 0.001", where="webgpu:firefox")
    return measurement(
        "webgpu:firefox",
        791,
        8,
        status=CellStatus.MISMATCH,
        relative_l2=0.24,
        error=error.info,
    )


def failed() -> Measurement:
    """Return a row that began and broke."""
    error = WorkerLost("the page did not answer for 10 s", where="webnn:chromium#2")
    return measurement(
        "webnn:chromium", count=0, status=CellStatus.FAILED, error=error.info, relative_l2=None
    )


def simulated() -> Measurement:
    """Return a row of the fake backend."""
    return measurement("fake", 5.0, worker=worker("fake"))


def fallback() -> Measurement:
    """Return a row that ran on the CPU because WebGPU was not there."""
    return measurement("cpu", 13.0, id="m-fallback", fell_back_from=Target.parse("webgpu:edge"))


def skipped() -> Measurement:
    """Return a row that never began."""
    return measurement("wasm:webkitgtk", count=0, status=CellStatus.SKIPPED, tolerance=None)


def hostile() -> Measurement:
    """Return a row whose every free text tries to break out."""
    error = ErrorInfo(
        kind="ModelError", message=HOSTILE, where=HOSTILE, accepted=(HOSTILE,), hint=HOSTILE
    )
    info = worker("wasm:firefox", adapter=AdapterInfo(description=HOSTILE), browser_version=HOSTILE)
    return measurement(
        "wasm:firefox",
        88,
        id=HOSTILE,
        cell=Cell(model=HOSTILE, target=Target.parse("wasm:firefox")),
        status=CellStatus.FAILED,
        error=error,
        worker=info,
        task=HOSTILE,
    )


def good() -> list[Measurement]:
    """Return the rows of a demo where everything is there."""
    return [
        measurement("cpu", 12.3),
        measurement("wasm:chromium", 61.0),
        measurement("wasm:firefox", 74.0),
        measurement("wasm:webkitgtk", 110.0, 12),
        measurement("webgpu:chromium", 5400.0, 3),
        measurement("webgpu:firefox", 791.0, 8),
        measurement("webnn:chromium-headless-shell", 40.0),
    ]


def summary(*measurements: Measurement, **run: Any) -> RunSummary:
    """Return a finished run of these measurements."""
    values: dict[str, Any] = {
        "id": "run-1",
        "name": "examples/quickstart.toml",
        "started_at": START,
        "finished_at": START + timedelta(seconds=34.1),
        "project_commit": "0123abcd" * 5,
        "host": {"os": "Linux 6.1", "cpu": "x86-64", "cores": 2, "python": "3.11.7"},
    }
    return RunSummary(run=RunInfo(**{**values, **run}), measurements=measurements)


def everything() -> RunSummary:
    """Return a run that holds every kind of row."""
    return summary(
        *good(),
        mismatch(),
        failed(),
        missing("webgpu:edge"),
        missing("webgpu:chrome", is_required=True),
        skipped(),
        simulated(),
        fallback(),
        hostile(),
        is_interrupted=True,
    )


def large(count: int = 100) -> RunSummary:
    """Return a run of `count` cells that differ in batch size and target."""
    rows = []
    for index in range(count):
        template = good()[index % 7]
        batch = 2 ** (index // 7 % 8)
        model = "minilm" if index < 56 else "distilbert-base"
        cell = attrs.evolve(template.cell, batch_size=batch, model=model)
        rows.append(attrs.evolve(template, id=f"m{index}", cell=cell))
    return summary(*rows)
