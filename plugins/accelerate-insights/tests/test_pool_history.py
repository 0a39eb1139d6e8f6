# SPDX-License-Identifier: Apache-2.0
"""What events say of a pool is in the database afterwards, one row every few seconds."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any

from accelerate_duckdb.store import DuckDbStore
from accelerate_insights.reading import Database
from accelerate_insights.watching.pool import PoolHistory

from accelerate_core import config, events
from accelerate_core.assembly import make_host
from accelerate_core.errors import ErrorInfo
from accelerate_core.fleet.metric import Point
from accelerate_core.measuring import pipeline
from accelerate_core.testing import samples
from accelerate_core.types import Target


def test_events_become_rows_a_few_seconds_apart(tmp_path: Path) -> None:
    store = DuckDbStore.open(tmp_path / "r.duckdb")
    keepers = PoolHistory(store).keepers()

    def send(kind: type[events.Event], second: float, **values: Any) -> None:
        at = samples.START + timedelta(seconds=second)
        keepers[kind.kind](kind(run_id="run-1", at=at, **values))

    def points(second: float, name: str, value: float) -> None:
        one = Point(name, "counter", "s", value)
        send(events.MetricsRecorded, second, points=(one,))

    for worker in ("a", "b"):
        link = samples.connection(info=samples.worker_info("webgpu/ort:chromium"))
        send(events.WorkerStarted, 0, worker_id=worker, epoch=1, connection=link)
    points(1, "accelerate.job.pending", 3)
    points(1, "accelerate.worker.memory", 900)
    points(1, "accelerate.worker.memory", -200)
    for second in range(4):
        points(second, "accelerate.worker.busy_time", 0.5)
        points(second, "accelerate.attempt.duration", 0.5)
        send(
            events.JobFinished,
            second,
            job_id=str(second),
            model="minilm",
            worker_id="a",
            latency_ms=500.0,
            attempts=1,
            error=ErrorInfo(kind="ModelError", message="no") if second == 3 else None,
        )
    points(8, "accelerate.job.pending", -1)
    target = Target.parse("webgpu/ort:chromium")
    error = ErrorInfo(kind="WorkerLost", message="crashed")
    send(events.WorkerGone, 9, worker_id="a", epoch=1, target=target, error=error)
    send(events.WorkerStarted, 10, worker_id="a", epoch=2, connection=link)
    send(events.WorkerGone, 11, worker_id="a", epoch=2, target=target)
    send(events.WorkerGone, 12, worker_id="b", epoch=1, target=target)
    first, last = store.query(
        "SELECT size, active, utilisation, queued, by_browser, by_platform, by_model, jobs, errors,"
        " attempts, memory_bytes FROM resource_pool_metrics ORDER BY timestamp"
    ).rows
    assert first[:4] == (2, 1, 2.0 / 8 / 2, 3)
    assert [json.loads(one) for one in first[4:7]] == [
        {"chromium": 2},
        {"webgpu": 2},
        {"minilm": 4},
    ]
    assert first[7:] == (4, 1, 4, 900)
    assert last[:4] == (0, 0, None, 2) and last[7:] == (0, 0, 0, 700)
    told = store.query(
        "SELECT event, worker_id, platform, browser, detail FROM resource_pool_events"
        " ORDER BY timestamp, worker_id NULLS FIRST"
    ).rows
    # A worker that was lost and came again is no scaling, nor are the first and the last one.
    assert [row[:2] for row in told] == [
        ("scaled", None),
        ("started", "a"),
        ("started", "b"),
        ("lost", "a"),
        ("started", "a"),
        ("scaled", None),
        ("stopped", "a"),
        ("stopped", "b"),
    ]
    assert told[0][2:] == ("webgpu", "chromium", "1 to 2 workers, 0 jobs waiting")
    assert told[3][2:] == ("webgpu", "chromium", "WorkerLost: crashed")
    assert told[5][2:] == ("webgpu", "chromium", "2 to 1 workers, 2 jobs waiting")
    store.close()


def test_no_pool_is_more_than_fully_used(tmp_path: Path) -> None:
    store = DuckDbStore.open(tmp_path / "r.duckdb")
    history = PoolHistory(store)
    link = samples.connection(info=samples.worker_info("webgpu/ort:chromium"))
    about = {"run_id": "run-1", "at": samples.START}
    history.started(events.WorkerStarted(**about, worker_id="a", epoch=1, connection=link))
    # Two runs at once on two slots, and one that began before.
    busy = Point("accelerate.worker.busy_time", "counter", "s", 12.0)
    at = samples.START + timedelta(seconds=6)
    history.recorded(events.MetricsRecorded(**about, points=(busy,)))
    history.recorded(events.MetricsRecorded(**{**about, "at": at}, points=()))
    query = "SELECT size, active, utilisation FROM resource_pool_metrics"
    assert store.query(query).rows == ((1, 1, 1.0),)
    store.close()


def test_a_real_run_leaves_the_history_of_its_pool(tmp_path: Path) -> None:
    tiny = Path(str(resources.files("accelerate_core"))) / "data/tiny_mlp.onnx"
    made = config.parse(
        {
            "models": [{"name": "tiny", "source": f"file:{tiny}"}],
            "benchmarks": [{"targets": ["cpu"], "repeats": 3}],
            "store": {"use": "duckdb", "path": str(tmp_path / "r.duckdb")},
        }
    )
    host = make_host(made, cache_dir=tmp_path / "cache", state_dir=tmp_path / "state")
    outcome = asyncio.run(pipeline.run(made, host))
    assert outcome.problems == ()
    results = Database(tmp_path / "r.duckdb")
    ((run, jobs, models, errors, attempts, memory),) = results.query(
        "SELECT session_id, sum(jobs), last(by_model), sum(errors), sum(attempts),"
        " max(memory_bytes) FROM resource_pool_metrics GROUP BY session_id"
    ).rows
    assert run == outcome.summary.run.id and jobs >= 5 and errors == 0 and attempts >= jobs
    assert memory == outcome.summary.measurements[0].memory_bytes > 0
    assert "tiny" in models
    told = results.query("SELECT event, platform FROM resource_pool_events ORDER BY timestamp").rows
    assert told == (("started", "cpu"), ("stopped", "cpu"))
