# SPDX-License-Identifier: Apache-2.0
"""Runs, measurements and events to test stores, reports and connectors with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from .. import events
from ..errors import ErrorInfo
from ..fleet.metric import ERROR, MODEL, Point
from ..types import (
    AdapterInfo,
    Cell,
    CellStatus,
    Connection,
    Measurement,
    Phases,
    RunInfo,
    RunSummary,
    Target,
    WorkerInfo,
)

START = datetime(2026, 11, 21, 12, 30, 15, 123456, tzinfo=UTC)

#: What breaks SQL, HTML, Markdown tables, CSV, XML and terminals when it is not escaped.
HOSTILE = (
    "<script>alert(1)</script>",
    "]]></failure><b>&amp;",
    "Robert'); DROP TABLE runs; --",
    "| a | b |\n| - |",
    '=HYPERLINK("x","y"), "quoted"\r\n',
    "\x1b[31mred\x07",
    "naïve 模型 🙂 \u202egnp",
    "{{7*7}} ${x} %s %(a)s \\",
)


def run_info(run_id: str = "run-1", **changes: Any) -> RunInfo:
    """Return a run that knows everything about itself."""
    values: dict[str, Any] = {
        "id": run_id,
        "started_at": START,
        "name": "quickstart.toml",
        "finished_at": START + timedelta(seconds=42),
        "project_commit": "0" * 40,
        "host": {"os": "Linux", "cpu": "a processor", "cores": 2, "python": "3.11.2"},
    }
    return RunInfo(**{**values, **changes})


def worker_info(target: str = "webgpu/ort:chromium") -> WorkerInfo:
    """Return a worker that knows everything about itself."""
    return WorkerInfo(
        target=Target.parse(target),
        browser_version="156.0.1",
        engine_version="onnxruntime-web 1.30.0",
        adapter=AdapterInfo(vendor="google", architecture="swiftshader"),
        features=("timestamp-query",),
        limits={"maxBufferSize": 1 << 30},
        is_software=True,
        device_type="cpu",
        threads=2,
        memory_bytes=123 << 20,
        launch_ms=612.5,
        details={"launcher": "process"},
    )


def connection(run_id: str = "run-1", **changes: Any) -> Connection:
    """Return a worker's life."""
    values: dict[str, Any] = {
        "id": f"{run_id}-webgpu-1.1",
        "run_id": run_id,
        "started_at": START,
        "info": worker_info(),
        "duration_s": 12.25,
    }
    return Connection(**{**values, **changes})


def measurement(
    number: int = 1, run_id: str = "run-1", text: str = "minilm", **changes: Any
) -> Measurement:
    """Return a measurement with every field set; `text` is wherever users' words go."""
    values: dict[str, Any] = {
        "id": f"{run_id}-{number}",
        "run_id": run_id,
        "cell": Cell(
            model=text,
            target=Target.parse("webgpu/ort:chromium"),
            batch_size=number,
            sequence_length=32,
        ),
        "status": CellStatus.OK,
        "started_at": START + timedelta(seconds=number),
        "series_key": "ab" * 32,
        "connection_id": f"{run_id}-webgpu-1.1",
        "worker": worker_info(),
        "model_sha256": "cd" * 32,
        "model_family": "bert",
        "task": "text_embedding",
        "is_required": True,
        "samples_ms": (12.5, 11.25, 13.0),
        "inference_samples_ms": (10.0, 9.5, 11.0),
        "phases": Phases(launch_ms=612.5, compile_ms=80.0, first_run_ms=20.0, in_page_ms=10.0),
        "latency_ms": 12.5,
        "inference_time_ms": 10.0,
        "throughput_items_per_second": 80.0 * number,
        "memory_bytes": 123 << 20,
        "relative_l2": 3e-6,
        "tolerance": 1e-3,
        "is_cached": False,
        "provenance": {"options": {"precompile": True}, "note": text},
    }
    return Measurement(**{**values, **changes})


def missing(number: int = 2, run_id: str = "run-1", text: str = "minilm") -> Measurement:
    """Return a measurement that knows as little as possible: its backend was not there."""
    return Measurement(
        id=f"{run_id}-{number}",
        run_id=run_id,
        cell=Cell(model=text, target=Target.parse("webnn:chromium")),
        status=CellStatus.MISSING,
        started_at=START,
        series_key="ef" * 32,
        error=ErrorInfo(
            kind="BackendUnavailable",
            message=f"no context for {text}",
            where=text,
            accepted=("cpu", "wasm:chromium"),
            hint=f"accel browsers install {text}",
        ),
    )


def mismatch(number: int = 3, run_id: str = "run-1", text: str = "minilm") -> Measurement:
    """Return a measurement whose numbers are wrong: it fails its run."""
    error = ErrorInfo(kind="NumericalError", message=f"{text} is off by 0.5", where=text)
    return measurement(
        number, run_id, text, status=CellStatus.MISMATCH, relative_l2=0.5, error=error
    )


def summaries() -> dict[str, RunSummary]:
    """Return summaries of all kinds: ok, failed, empty, interrupted, hostile."""
    hostile = tuple(
        make(3 * index + offset, "run-1", text)
        for index, text in enumerate(HOSTILE)
        for offset, make in enumerate((measurement, missing, mismatch))
    )
    return {
        "ok": RunSummary(run=run_info(), measurements=(measurement(1), measurement(2))),
        "failed": RunSummary(run=run_info(), measurements=(measurement(1), missing(), mismatch())),
        "empty": RunSummary(run=run_info(name=None, host={}), measurements=()),
        "interrupted": RunSummary(
            run=run_info(finished_at=None, is_interrupted=True),
            measurements=(measurement(1), attrs.evolve(missing(), status=CellStatus.SKIPPED)),
        ),
        "hostile": RunSummary(run=run_info(name=HOSTILE[0]), measurements=hostile),
    }


def every_event(text: str = "minilm") -> list[events.Event]:
    """Return one event of every type; `text` is wherever users' words go."""
    one = measurement(text=text)
    failed = mismatch(text=text)
    summary = RunSummary(run=run_info(), measurements=(one, failed))
    error = ErrorInfo(kind="WorkerLost", message=f"{text}: the page is gone", hint="Try again.")
    base: dict[str, Any] = {"run_id": "run-1", "at": START}
    return [
        events.RunStarted(**base, run=run_info(finished_at=None), cells=(one.cell, failed.cell)),
        events.RunFinished(**base, summary=summary),
        events.RunFailed(**base, summary=summary, error=error),
        events.CellStarted(**base, cell=one.cell),
        events.CellProgress(**base, cell=one.cell, phase="measure", done=3, total=20),
        events.MeasurementStored(**base, measurement=one),
        events.JobFinished(
            **base, job_id="job-1", model=text, worker_id="cpu-1", latency_ms=12.5, attempts=1
        ),
        events.WorkerStarted(**base, worker_id="cpu-1", epoch=1, connection=connection()),
        events.WorkerGone(**base, worker_id="cpu-1", epoch=1, target=Target("cpu"), error=error),
        events.MetricsRecorded(
            **base,
            points=(
                Point("accelerate.job.duration", "histogram", "s", 0.0125, {MODEL: text}),
                Point("accelerate.worker.losses", "counter", "{worker}", 1, {ERROR: "crash"}),
            ),
        ),
        events.Regression(
            **base,
            series_key="ab" * 32,
            metric="latency_ms",
            before=10.0,
            after=15.0,
            severity="high",
            evidence={"model": text},
        ),
        events.Notification(
            **base,
            id="digest-1",
            to=("slack",),
            title=f"2 regressions of {text}",
            severity="major",
            text=text,
            facts=(("Cause", text),),
            header=("Metric", "Before", "After"),
            rows=((text, "10 ms", "15 ms"),),
        ),
    ]
